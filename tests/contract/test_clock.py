"""Clocks: the system's, a replayed one, and the text that chooses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from forecastle.contract.clock import clock_from, replay_clock, system_clock

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_system_clock_has_the_zone_utc():
    """Every time here carries its zone."""
    assert system_clock().tzinfo is UTC


def test_a_replay_begins_at_its_start_and_never_goes_back():
    """Readings of a replay clock rise from its start, whatever today is."""
    clock = replay_clock(START)
    readings = [clock() for _ in range(100)]
    assert readings == sorted(readings)
    assert START <= readings[0] < START + timedelta(minutes=10)


def test_two_replays_are_apart_by_their_starts():
    """Clocks of two starts differ by the difference of the starts, up to the moment between the readings."""
    first, second = replay_clock(START), replay_clock(START + timedelta(days=1))
    assert timedelta(hours=23) < second() - first() < timedelta(hours=25)


def test_a_replay_without_a_zone_is_refused():
    """A clock that told times without a zone would break every comparison."""
    with pytest.raises(ValueError, match="zone"):
        replay_clock(datetime(2026, 3, 1))  # noqa: DTZ001  the fault under test


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_text_is_the_system_clock(nothing: str | None):
    """An unset variable means this moment."""
    assert clock_from(nothing) is system_clock


@pytest.mark.parametrize("text", ["2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00", "2026-03-01 12:00+00:00"])
def test_an_instant_is_a_replay_in_utc(text: str):
    """Any zone may be written; the clock tells UTC."""
    reading = clock_from(text)()
    assert reading.tzinfo is UTC
    assert START <= reading < START + timedelta(minutes=10)


@pytest.mark.parametrize("bad", ["2026-03-01T12:00:00", "2026-03-01", "yesterday", "1772366400"])
def test_what_is_no_instant_says_what_one_is(bad: str):
    """A text without a zone, or no time at all, is refused with an example."""
    with pytest.raises(ValueError, match="such as 2026-08-21T12:00:00"):
        clock_from(bad)


def test_replay_keeps_the_instant_of_another_zone():
    """The start may stand in any zone: the instant is what counts."""
    there = START.astimezone(timezone(timedelta(hours=-7)))
    assert replay_clock(there)().tzinfo is UTC
