"""Aggregates that another order of rows would change are refused when definitions load, with their line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from forecastle.contract.errors import ContractError
from forecastle.contract.load import load_system

Edit = Callable[[str, str, str], int]

WINDOW = "AVG(readings.pressure) OVER (PARTITION BY readings.station ORDER BY readings.read_at)"
HEAD = "WITH shaped AS (\n  SELECT\n"
PLAIN = "FROM readings\n)"
GROUPED = "FROM readings\n  GROUP BY readings.station, readings.read_at, readings.known_at\n)"


def problems(folder: Path) -> list[tuple[str, int, str, str]]:
    try:
        load_system(folder)
    except ContractError as error:
        return [(Path(p.file).name, p.line, p.text, p.hint) for p in error.problems]
    return []


@pytest.mark.parametrize(
    ("aggregate", "word"),
    [
        ("SUM(readings.pressure)", "SUM"),
        ("AVG(readings.pressure * 2)", "AVG"),
        ("STDDEV_SAMP(readings.pressure)", "STDDEV_SAMP"),
        ("SUM(readings.pressure) FILTER (WHERE readings.pressure > 1000)", "SUM"),
        ("FIRST(readings.pressure)", "FIRST"),
        ("LAST(readings.pressure)", "LAST"),
        ("ANY_VALUE(readings.pressure)", "ANY_VALUE"),
        ("ARBITRARY(readings.pressure)", "ARBITRARY"),
        ("FSUM(readings.pressure)", "FSUM"),
        ("MEAN(readings.pressure)", "MEAN"),
    ],
)
def test_floats_that_are_added_in_any_order_are_refused(rain: Path, edit: Edit, aggregate: str, word: str) -> None:
    """File, line, what depends on the order, and the word that mends it; with ORDER BY inside it loads."""
    edit("weather.sql", PLAIN, GROUPED)
    line = edit("weather.sql", WINDOW, aggregate)
    ((file, at, text, hint),) = problems(rain)
    assert (file, at) == ("weather.sql", line)
    assert text.endswith("depends on the order in which rows are read")
    assert hint.startswith(f"write {word}(… ORDER BY …) with columns that tell its rows apart")
    inside = aggregate.replace(")", " ORDER BY readings.known_at)", 1)
    edit("weather.sql", aggregate, inside)
    assert problems(rain) == []


@pytest.mark.parametrize(
    "aggregate",
    [
        "MAX(readings.pressure)",
        "CAST(COUNT(readings.pressure) AS DOUBLE)",
        "AVG(CASE WHEN readings.pressure > 1000 THEN 1.0 ELSE 0.0 END)",
        "MEDIAN(readings.pressure)",
        "SUM(COALESCE(CASE WHEN readings.pressure > 1000 THEN 2.0 END, 0.0))",
        "CAST(SUM(CAST(readings.pressure AS DECIMAL(18, 6))) AS DOUBLE)",
        "MEAN(CASE WHEN readings.pressure > 1000 THEN 1 ELSE 0 END)",
        "ARG_MAX(readings.pressure, readings.known_at)",
    ],
)
def test_what_no_order_changes_is_let_through(rain: Path, edit: Edit, aggregate: str) -> None:
    """Extremes, counts, quantiles, and sums of whole numbers are the same in any order."""
    edit("weather.sql", PLAIN, GROUPED)
    edit("weather.sql", WINDOW, aggregate)
    assert problems(rain) == []


def test_windows_need_whole_partitions(rain: Path, edit: Edit) -> None:
    """Frames are added up in one order over the whole history; by day, only a part of it is read."""
    assert problems(rain) == []
    edit("system.yaml", "    ttl: 2d\n", "    ttl: 2d\n    partition: {daily_since: 2026-01-01, lookback: 3d}\n")
    ((file, _, text, _),) = problems(rain)
    assert (file, text) == ("weather.sql", "AVG(readings.pressure) depends on the order in which rows are read")
    edit("weather.sql", "AVG(readings.pressure)", "AVG(CAST(readings.pressure AS DECIMAL(18, 6)))")
    assert problems(rain) == []
    edit("weather.sql", "AVG(CAST(readings.pressure AS DECIMAL(18, 6)))", "LAST(readings.pressure)")
    assert problems(rain) == [], "a frame has an order, and its last row is no sum"


@pytest.mark.parametrize("place", ["ROW_NUMBER()", "LAG(readings.pressure)", "FIRST_VALUE(readings.pressure)"])
def test_a_place_in_a_window_needs_an_order(rain: Path, edit: Edit, place: str) -> None:
    """Which row is the first of a partition nobody says, until the window does, or the one that it names."""
    line = edit("weather.sql", WINDOW, f"{place} OVER (PARTITION BY readings.station) * 1.0")
    ((file, at, text, hint),) = problems(rain)
    assert (file, at) == ("weather.sql", line)
    assert text.endswith("depends on the order in which rows are read")
    assert hint.endswith("(…) OVER (… ORDER BY …) with columns that tell its rows apart")
    edit("weather.sql", "OVER (PARTITION BY readings.station) * 1.0", "OVER ordered * 1.0")
    edit("weather.sql", PLAIN, "FROM readings\n  WINDOW ordered AS (PARTITION BY readings.station)\n)")
    assert len(problems(rain)) == 1
    edit("weather.sql", "(PARTITION BY readings.station)", "(PARTITION BY readings.station ORDER BY readings.read_at)")
    assert problems(rain) == []


@pytest.mark.parametrize("kept", ["FIRST(readings.pressure)", "ANY_VALUE(readings.pressure)"])
def test_what_a_window_keeps_needs_the_window_s_order(rain: Path, edit: Edit, kept: str) -> None:
    """A partition alone has no first row."""
    edit("weather.sql", WINDOW, f"{kept} OVER (PARTITION BY readings.station)")
    ((_, _, text, hint),) = problems(rain)
    assert text.endswith("depends on the order in which rows are read")
    assert "OVER (… ORDER BY …)" in hint
    edit("weather.sql", "(PARTITION BY readings.station)", "(PARTITION BY readings.station ORDER BY readings.read_at)")
    assert problems(rain) == []


@pytest.mark.parametrize(
    ("select", "rest", "word"),
    [
        ("DISTINCT ON (readings.station)", "", "DISTINCT ON"),
        ("", "\n  LIMIT 10", "LIMIT"),
        ("", "\n  OFFSET 1", "OFFSET"),
    ],
)
def test_the_first_rows_that_come_are_refused(rain: Path, edit: Edit, select: str, rest: str, word: str) -> None:
    """What a SELECT keeps of its rows has an order, or is anything."""
    edit("weather.sql", HEAD, f"WITH shaped AS (\n  SELECT {select}\n")
    edit("weather.sql", PLAIN, f"FROM readings{rest}\n)")
    ((file, _, text, hint),) = problems(rain)
    assert (file, text) == ("weather.sql", f"{word} without ORDER BY depends on the order in which rows are read")
    assert hint == "write ORDER BY … with columns that tell its rows apart"
    edit(
        "weather.sql",
        f"FROM readings{rest}\n)",
        f"FROM readings\n  ORDER BY readings.station, readings.read_at{rest}\n)",
    )
    assert problems(rain) == []


def test_a_sketch_is_refused(rain: Path, edit: Edit) -> None:
    """Approximate quantiles are merged in the order of reading; the exact ones are not."""
    edit("weather.sql", PLAIN, GROUPED)
    edit("weather.sql", WINDOW, "APPROX_QUANTILE(readings.pressure, 0.5)")
    ((_, _, _, hint),) = problems(rain)
    assert hint.startswith("write QUANTILE_CONT(…)")
    edit("weather.sql", "APPROX_QUANTILE(", "QUANTILE_CONT(")
    assert problems(rain) == []


SUMS = {"sum(x)": False, "sum(x ORDER BY x)": True, "sum(x::DECIMAL(18, 6))": True}


@pytest.mark.parametrize(("how", "same"), SUMS.items())
def test_the_order_does_change_the_last_digits(how: str, *, same: bool) -> None:
    """Why it is refused: three numbers, two orders, two sums; an order of its own, or decimals, make them one."""
    with duckdb.connect() as connection:
        sums = {
            connection.execute(f"SELECT {how} FROM (SELECT unnest({given}::DOUBLE[]) AS x)").fetchall()[0][0]
            for given in ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1])
        }
    assert (len(sums) == 1) is same


@pytest.mark.parametrize(("how", "same"), SUMS.items())
def test_a_part_of_a_partition_changes_a_window_s_last_digits(how: str, *, same: bool) -> None:
    """A running hour over 2,000 rows and over their last 1,333: one tree over each, other roundings."""
    frames = f"{how} OVER (ORDER BY n RANGE BETWEEN 600 PRECEDING AND CURRENT ROW)"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT n, sin(n) * 7 AS x FROM range(2000) AS r(n)")
        whole, part = (
            connection.execute(
                f"SELECT s FROM (SELECT n, {frames} AS s FROM t WHERE n >= {start}) WHERE n > 1400 ORDER BY n"
            ).fetchall()
            for start in (0, 667)
        )
    assert (whole == part) is same
