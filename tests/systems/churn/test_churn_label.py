"""The label of churn: firsts of months, ninety days, and nothing before the order book can know it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from tests.systems.churn.conftest import FIRST, Run, run_sql

# 180 days after the first order is 4 July 2026, so the first month that is asked about is August.
AUGUST = datetime(2026, 8, 1, tzinfo=UTC)
IN_AUGUST = (AUGUST - FIRST) / timedelta(days=1)
LATEST = (9, IN_AUGUST + 100.0, "order", 1.0)


def asked(rows: pd.DataFrame, customer: int) -> list[tuple[datetime, int]]:
    """(predict_at, outcome) of one customer."""
    mine = rows[rows["customer_id"] == customer].sort_values("predict_at")
    return [(at.to_pydatetime(), outcome) for at, outcome in zip(mine["predict_at"], mine["outcome"], strict=True)]


@pytest.mark.parametrize(
    ("days_after", "outcome"), [(0.001, 0), (90.0, 0), (90.001, 1)], ids=["at once", "the last moment", "too late"]
)
def test_an_order_within_ninety_days_is_no_churn(booked: Run, days_after: float, outcome: int) -> None:
    """The ninetieth day counts whole; a microsecond later does not."""
    orders = [(1, 0.0, "order", 5.0), (1, IN_AUGUST - 10, "order", 5.0), (1, IN_AUGUST + days_after, "order", 5.0)]
    rows = booked("churned.sql", [*orders, LATEST])
    assert asked(rows, 1) == [(AUGUST, outcome)]
    assert set(rows["known_at"] - rows["predict_at"]) == {timedelta(days=90)}


@pytest.mark.parametrize(("days_before", "is_asked"), [(0.0, True), (179.9, True), (180.0, False)])
def test_who_ordered_in_the_last_180_days_is_asked_about(booked: Run, days_before: float, *, is_asked: bool) -> None:
    """An order at the very moment is before it; one 180 days old has left the window."""
    orders = [(2, 0.0, "order", 5.0), (1, IN_AUGUST - days_before, "order", 5.0)]
    rows = booked("churned.sql", [*orders, LATEST])
    assert asked(rows, 1) == ([(AUGUST, 1)] if is_asked else [])


def test_a_cancellation_is_no_order(booked: Run) -> None:
    """It neither makes a customer nor brings one back."""
    orders = [(1, 0.0, "order", 5.0), (1, IN_AUGUST - 9, "order", 5.0), (1, IN_AUGUST + 9, "cancel", -5.0)]
    rows = booked("churned.sql", [*orders, (2, IN_AUGUST - 9, "cancel", -5.0), LATEST])
    assert asked(rows, 1) == [(AUGUST, 1)]
    assert asked(rows, 2) == []


def test_a_month_is_asked_about_once_its_ninety_days_are_in_the_book(booked: Run) -> None:
    """The book ends on day 89 after August: nothing is known of it, neither good nor bad."""
    orders = [(1, 0.0, "order", 5.0), (1, IN_AUGUST - 9, "order", 5.0), (2, IN_AUGUST + 89, "order", 5.0)]
    assert booked("churned.sql", orders).empty
    assert len(booked("churned.sql", [*orders, (2, IN_AUGUST + 90, "order", 5.0)])) == 1


def test_the_region_is_that_of_orders_before(booked: Run) -> None:
    """Customer 9 lives abroad."""
    rows = booked("churned.sql", [(1, 0.0, "order", 1.0), (9, 200.0, "order", 1.0), (1, 201.0, "order", 1.0), LATEST])
    assert dict(zip(rows["customer_id"], rows["region"], strict=True)) == {1: "home", 9: "abroad"}


def test_real_rates_are_the_published_ones(churn: LoadedSystem, real_orders: duckdb.DuckDBPyConnection) -> None:
    """SOURCE.md: 50.1 % (June 2010), 62.1, 57.7, 49.9 and 39.3 % of 2,772 customers (September 2011)."""
    rows = run_sql(churn, real_orders, "churned.sql")
    months = rows.groupby(rows["predict_at"].dt.strftime("%Y-%m"))["outcome"].agg(["mean", "size"])
    found = {month: round(100 * months.loc[month, "mean"], 1) for month in ("2010-06", "2010-12", "2011-03", "2011-06")}
    assert found == {"2010-06": 50.1, "2010-12": 62.1, "2011-03": 57.7, "2011-06": 49.9}
    assert round(100 * months.loc["2011-09", "mean"], 1) == 39.3
    assert months.loc["2011-09", "size"] == 2_772
    assert (months.index[0], months.index[-1], len(months)) == ("2010-06", "2011-09", 16)
