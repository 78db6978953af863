"""Durations, schedules and names: the words of declarations, read and written."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from forecastle.contract.types import (
    NAME_PATTERN,
    PATTERN_HINTS,
    Cron,
    Duration,
    Name,
    PositiveDuration,
    check_cron,
    format_duration,
    parse_duration,
)


@settings(max_examples=80)
@given(st.integers(0, 99_999_999))
def test_every_whole_number_of_seconds_survives_a_round_trip(seconds: int):
    """What `format_duration` writes, `parse_duration` reads as the same span."""
    span = timedelta(seconds=seconds)
    assert parse_duration(format_duration(span)) == span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("20m", 20 * 60), ("36h", 36 * 3600), ("7d", 7 * 86400), ("2w", 14 * 86400), ("5 m", 300)],
)
def test_durations_are_a_number_and_a_unit(text: str, seconds: int):
    """Each unit counts the seconds that it says."""
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize(
    ("span", "text"),
    [(3600, "1h"), (90, "90s"), (86400 * 14, "2w"), (86400 * 8, "8d"), (0, "0s"), (120, "2m")],
)
def test_the_largest_unit_that_fits_is_written(span: int, text: str):
    """A week is 1w and not 168h; nothing is lost to rounding."""
    assert format_duration(timedelta(seconds=span)) == text


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "1",
        "h",
        "1.5h",
        "-1h",
        "1h30m",
        "36h\n",
        "٣h",
        "1 year",
        "999999999w",
        "9" * 5000 + "s",
        60,
        None,
        True,
    ],
)
def test_anything_else_is_refused_with_an_example(bad: object):
    """A duration without a unit, with a fraction, with other digits or too long to hold is refused in words."""
    with pytest.raises(ValueError, match="such as 36h"):
        parse_duration(bad)


@pytest.mark.parametrize("bad", [timedelta(seconds=-1), timedelta(microseconds=1)])
def test_a_span_that_could_not_be_written_is_refused(bad: timedelta):
    """A negative or sub-second span has no text, so it is no duration."""
    with pytest.raises(ValueError, match="whole seconds"):
        parse_duration(bad)


def test_the_json_of_a_duration_is_its_text():
    """A duration leaves a model as the text a person would write."""
    assert TypeAdapter(Duration).dump_python(timedelta(hours=36), mode="json") == "36h"


def test_a_positive_duration_is_not_nothing():
    """A time to live of 0s would make every row too old."""
    with pytest.raises(ValidationError, match="longer than nothing"):
        TypeAdapter(PositiveDuration).validate_python("0s")


@pytest.mark.parametrize(
    "good", ["0 6 * * *", "*/15 0-6,18 1 jan-mar MON", "59 23 31 12 7", "0 0 * * sun,wed", "5 4 */2 * *"]
)
def test_five_cron_fields_are_a_schedule(good: str):
    """Numbers, ranges, steps, lists and the names of months and days are what cron takes."""
    assert TypeAdapter(Cron).validate_python(good) == good


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ("0 25 * * *", "hour"),
        ("60 6 * * *", "minute"),
        ("0 6 0 * *", "day"),
        ("0 6 * 13 *", "month"),
        ("0 6 * * 8", "weekday"),
        ("0 6 * * mondays", "weekday"),
        ("5-1 6 * * *", "minute"),
        ("*/0 6 * * *", "minute"),
        ("a b c d e", "minute"),
        ("0 6 * *", "minute, hour, day, month, weekday"),
        ("@daily", "minute, hour, day, month, weekday"),
    ],
)
def test_a_wrong_cron_field_is_named(bad: str, named: str):
    """The message says which of the five fields is wrong."""
    with pytest.raises(ValueError, match=named):
        check_cron(bad)


@pytest.mark.parametrize("bad", ["", "A", "1a", "a-b", "a.b", ".a", "../a", "a" * 64, "a\n", "ä"])
def test_names_are_one_allow_list(bad: str):
    """A name never holds a dot, a slash, an upper-case letter or a line end, and has at most 63 characters."""
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(bad)


def test_the_longest_name_is_allowed():
    """63 letters, as PostgreSQL allows for an identifier, are a name."""
    assert TypeAdapter(Name).validate_python("a" * 63) == "a" * 63


def test_every_pattern_has_words():
    """No pattern is ever shown to a reader: each has a sentence in its place."""
    assert NAME_PATTERN in PATTERN_HINTS
    assert all(hint and "^" not in hint for hint in PATTERN_HINTS.values())
