"""The label of prediction markets: weekly questions, versions of outcomes, nothing after the answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem

Run = Callable[[duckdb.DuckDBPyConnection, str], pd.DataFrame]

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    """An instant, in days after 1 January 2026."""
    return FIRST + timedelta(days=number)


def world(connection: duckdb.DuckDBPyConnection, resolutions: list[tuple[int, float, float]]) -> None:
    """One market priced from day 1, a Friday, with (resolution day, outcome, day it was known)."""
    for known in (1.0, 2.0, 3.5):
        connection.execute("INSERT INTO quotes VALUES (1, 'manifold', ?, 0.5, ?)", [day(known - 1).date(), day(known)])
    for resolved, outcome, known in resolutions:
        connection.execute("INSERT INTO resolutions VALUES (1, ?, ?, ?)", [day(resolved).date(), outcome, day(known)])


def asked(frame: pd.DataFrame) -> list[tuple[float, int, float]]:
    """(predict_at in days, outcome, known_at in days), sorted."""
    made = frame.sort_values(["known_at", "predict_at"])
    in_days = [(made[name] - pd.Timestamp(FIRST)) / pd.Timedelta(days=1) for name in ("predict_at", "known_at")]
    return list(zip(in_days[0], made["outcome"], in_days[1], strict=True))


@pytest.mark.parametrize(("known", "mondays"), [(15.0, [4, 11]), (11.0, [4]), (11.01, [4, 11])])
def test_mondays_end_before_the_answer_is_known(
    empty_sources: duckdb.DuckDBPyConnection, run: Run, known: float, mondays: list[int]
) -> None:
    """5 January 2026, day 4, was a Monday; the instant of the answer itself is too late."""
    world(empty_sources, [(14, 1.0, known)])
    made = run(empty_sources, "resolution.sql")
    assert asked(made) == [(monday, 1, pytest.approx(known)) for monday in mondays]
    assert set(made["platform"]) == {"manifold"}


def test_a_market_is_first_asked_about_on_the_monday_after_its_first_price(
    empty_sources: duckdb.DuckDBPyConnection, run: Run
) -> None:
    """A price that becomes known at midnight of a Monday is asked about a week later."""
    quote = "INSERT INTO quotes VALUES (1, 'manifold', ?, 0.5, ?)"
    empty_sources.execute(quote, [day(3).date(), day(4)])
    empty_sources.execute("INSERT INTO resolutions VALUES (1, ?, 1, ?)", [day(20).date(), day(20)])
    assert [row[0] for row in asked(run(empty_sources, "resolution.sql"))] == [11, 18]


def test_a_corrected_outcome_is_a_further_version(empty_sources: duckdb.DuckDBPyConnection, run: Run) -> None:
    """Both versions keep their own knowledge time, and no question comes after the first answer."""
    world(empty_sources, [(8, 0.0, 9.0), (8, 1.0, 23.0)])
    assert asked(run(empty_sources, "resolution.sql")) == [
        (4.0, 0, 9.0), (4.0, 1, 23.0),
    ]  # fmt: skip


def test_a_revised_date_alone_is_no_version(empty_sources: duckdb.DuckDBPyConnection, run: Run) -> None:
    """Real resolutions are stated up to six times with other dates; the outcome is one."""
    world(empty_sources, [(7, 1.0, 8.0), (6, 1.0, 8.0), (5, 1.0, 20.0)])
    assert asked(run(empty_sources, "resolution.sql")) == [(4.0, 1, 8.0)]


def test_an_outcome_corrected_twice_has_three_versions(empty_sources: duckdb.DuckDBPyConnection, run: Run) -> None:
    """Going back to the first outcome is news again."""
    world(empty_sources, [(7, 1.0, 8.0), (7, 0.0, 9.0), (7, 1.0, 10.0)])
    assert [row[1:] for row in asked(run(empty_sources, "resolution.sql"))] == [(1, 8.0), (0, 9.0), (1, 10.0)]


def test_a_market_that_was_never_priced_before_its_answer_is_not_asked(
    empty_sources: duckdb.DuckDBPyConnection, run: Run
) -> None:
    """Without a price known before the answer there was nothing to predict from."""
    world(empty_sources, [(0, 1.0, 1.0)])
    assert run(empty_sources, "resolution.sql").empty


def test_no_outcome_known_later_reaches_an_earlier_label(
    simulated_sources: duckdb.DuckDBPyConnection, system: LoadedSystem, run: Run
) -> None:
    """On sources cut at t the SQL gives the label rows known by t."""
    whole = run(simulated_sources, "resolution.sql")
    until = whole["known_at"].quantile(0.5, interpolation="lower")
    cut = simulated_sources.cursor()
    cut.execute("SET TimeZone = 'UTC'")
    cut.execute("CREATE SCHEMA IF NOT EXISTS label_then")
    for name in ("quotes", "resolutions"):
        rows = f"SELECT * FROM main.{name} WHERE known_at <= $until"
        cut.execute(f"CREATE OR REPLACE TABLE label_then.{name} AS {rows}", {"until": until})
    cut.execute("SET schema = 'label_then'")
    order = ["market_id", "predict_at", "known_at"]
    then = run(cut, "resolution.sql").sort_values(order).reset_index(drop=True)
    expected = whole[whole["known_at"] <= until].sort_values(order).reset_index(drop=True)
    pd.testing.assert_frame_equal(then, expected, check_exact=True)
    assert (whole["predict_at"] < whole["known_at"]).all()
    assert (whole["predict_at"] == whole["predict_at"].dt.normalize()).all()
    assert set(whole["predict_at"].dt.day_name()) == {"Monday"}
