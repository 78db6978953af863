"""Faults of sources: further clocks, other sources that tell an end, variables, days."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from forecastle.contract.source import Source, Variable
from forecastle.contract.source_check import source_faults
from forecastle.contract.system import Partition, Retention

TIME = {"dtype": "timestamp", "unit": "utc"}
COLUMNS: dict[str, Any] = {
    "game": {"dtype": "string", "unit": "id"},
    "at": TIME,
    "stored": TIME,
    "price": {"dtype": "float64", "unit": "usd"},
}


def source(**changes: Any) -> Source:
    declared = {
        "kind": "csv",
        "path": "${DATA}/x.csv",
        "event_at": "at",
        "known_at": {"delay": "0s"},
        "key": ["game", "at"],
        "columns": COLUMNS,
    }
    return Source.model_validate({**declared, **changes})


def told(games: Source | None = None, **changes: Any) -> list[tuple[tuple[str | int, ...], str]]:
    sources = {"lines": source(**changes), "games": games or source()}
    return [(place, text) for place, text, _ in source_faults("lines", sources)]


ENDS = {"source": "games", "at": "at", "on": ["game"]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ingested_at": "stored", "closes": ENDS}, []),
        ({"ingested_at": "storde"}, [(("ingested_at", 0), "ingested_at names unknown column 'storde'")]),
        ({"ingested_at": "price"}, [(("ingested_at",), "ingested_at column 'price' is float64")]),
        (
            {"closes": {**ENDS, "source": "gmaes"}},
            [(("closes", "source", 0), "source names unknown source 'gmaes'")],
        ),
        ({"closes": {**ENDS, "at": "price"}}, [(("closes", "at"), "at column 'price' is float64")]),
        ({"closes": {**ENDS, "on": ["match"]}}, [
            (("closes", "on", 0), "on names unknown column 'match'"),
            (("closes", "on", 0), "on names column 'match', which 'games' has not"),
        ]),
        (
            {"closes": {**ENDS, "source": "lines"}},
            [(("closes", "source"), "closes names 'lines', which waits for a source itself")],
        ),
    ],
)  # fmt: skip
def test_further_clocks_must_be_there(changes: dict[str, Any], expected: list[Any]) -> None:
    """An ingestion clock is a time column; an end is told by another source, over columns of both."""
    assert told(**changes) == expected


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        ({"stored": "Africa/Lagos"}, []),
        ({"stored": "Africa/Lagoss"}, [(("time_zones", "stored"), "time_zone is 'Africa/Lagoss'")]),
        ({"sotred": "UTC"}, [(("time_zones", "sotred"), "time_zones names unknown column 'sotred'")]),
        ({"price": "UTC"}, [(("time_zones", "price"), "column 'price' is float64")]),
    ],
)
def test_zones_of_single_columns_are_zones_of_times(zones: dict[str, str], expected: list[Any]) -> None:
    """A zone that there is, of a column that is declared and holds times."""
    assert told(time_zones=zones) == expected


@pytest.mark.parametrize("path", ["/data/x.csv", "x.csv", "${DATA}", "${DATA}/", "${DATA}/../x.csv", "${DATA}//etc/x"])
def test_a_path_that_no_run_would_read_is_told_at_once(path: str) -> None:
    """Files lie below the data folder; the check says so before a run fails."""
    assert (("path",), f"path is {path!r}") in told(path=path)


@pytest.mark.parametrize("path", ["${DATA}/x.csv", "${DATA}/a/b/*.parquet", "${DATA}/a..b.csv"])
def test_a_path_below_the_data_folder_is_fine(path: str) -> None:
    """Files, globs and folders, also with dots in their names."""
    assert told(path=path) == []


def test_sources_that_tell_an_end_wait_for_nobody() -> None:
    """Two sources that wait for each other would never be read."""
    waiting = source(closes={**ENDS, "source": "lines"})
    assert [place for place, _ in told(games=waiting, closes=ENDS)] == [("closes", "source")]


@pytest.mark.parametrize("name", ["loans_url", "1URL", "", "URL;X", "A" * 200])
def test_a_variable_is_named_and_never_given(name: str) -> None:
    """Names of environment variables only: an address written into the declaration is refused."""
    with pytest.raises(ValidationError):
        Variable.model_validate({"env": name})
    with pytest.raises(ValidationError):
        source(kind="sql", url="postgresql://user:secret@host/db", table="loans")


@pytest.mark.parametrize("table", ["loans; DROP TABLE x", 'loans"', "a.b.c", "", "1loans"])
def test_a_table_is_a_name(table: str) -> None:
    """No SQL hides in the name of a table."""
    with pytest.raises(ValidationError):
        source(kind="sql", table=table)
    assert source(kind="sql", table="public.Loans").table == "public.Loans"


@pytest.mark.parametrize("day", ["2026-02-30", "2026-1-1", "20260101", "yesterday", "2026-01-01T00:00:00"])
def test_a_first_day_is_a_day_of_the_calendar(day: str) -> None:
    """Year-month-day, and it must have been."""
    with pytest.raises(ValidationError, match="year-month-day"):
        Partition.model_validate({"daily_since": day})
    assert Partition.model_validate({"daily_since": "2024-02-29"}).lookback.total_seconds() == 0


def test_retention_keeps_at_least_one() -> None:
    """The newest version is never removed; the defaults are five versions and thirty days."""
    with pytest.raises(ValidationError):
        Retention.model_validate({"keep": 0})
    assert (Retention().keep, Retention().older_than.days) == (5, 30)
