"""The feature views of churn: windows by hand, an independent implementation, and a baseline that only counts."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import numpy as np
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from tests.systems.churn.conftest import FIRST, Run, run_sql

DAY = pd.Timedelta(days=1)


def at_week(rows: pd.DataFrame, customer: int, week: int) -> pd.Series:
    """The row of one customer in one week after `FIRST`, whose Mondays have an order at 08:00."""
    taken = pd.Timestamp(FIRST) + timedelta(weeks=week)
    return rows[(rows["customer_id"] == customer) & (rows["known_at"] == taken)].iloc[0]


def mondays(weeks: int) -> list[tuple[int, float, str, float]]:
    """Customer 2 orders first thing on each Monday, so that each week has its moment."""
    return [(2, 7.0 * week, "order", 10.0) for week in range(weeks)]


def test_windows_by_hand(booked: Run) -> None:
    """Week 20 is day 140: orders on days 0, 60, 130 and 139.5, a cancellation on day 135."""
    mine = [(1, 0.0, "order", 100.0), (1, 60.0, "order", 40.0), (1, 130.0, "order", 30.0), (1, 139.5, "order", 20.0)]
    rows = booked("customer_activity.sql", [*mine, (1, 135.0, "cancel", -5.0), *mondays(21)])
    row = at_week(rows, 1, 20)
    assert row["days_since_last_order"] == 0.5
    assert row["mean_gap_days"] == pytest.approx(139.5 / 3)
    assert (row["orders_30d"], row["orders_90d"], row["orders_180d"], row["cancels_180d"]) == (2, 3, 4, 1)
    assert row["revenue_90d_gbp"] == 40.0 + 30.0 - 5.0 + 20.0
    assert row["revenue_180d_gbp"] == 100.0 + 40.0 + 30.0 - 5.0 + 20.0


def test_a_customer_leaves_the_list_after_180_days(booked: Run) -> None:
    """Day 175 is week 25 and the last row; what only cancels is no customer."""
    rows = booked("customer_activity.sql", [(1, 1.0, "order", 1.0), (3, 2.0, "cancel", -1.0), *mondays(30)])
    mine = rows[rows["customer_id"] == 1]
    assert mine["known_at"].max() == pd.Timestamp(FIRST) + timedelta(weeks=25)
    assert mine["mean_gap_days"].isna().all()
    assert 3 not in set(rows["customer_id"])


def test_a_week_without_a_booking_has_no_row(booked: Run) -> None:
    """The shop was closed in week 1: nobody took a picture."""
    rows = booked("customer_activity.sql", [(1, 0.0, "order", 1.0), (1, 15.0, "order", 1.0)])
    assert rows["known_at"].tolist() == [pd.Timestamp(FIRST), pd.Timestamp(FIRST) + timedelta(days=15)]


def test_the_baseline_is_a_count_of_the_past(booked: Run) -> None:
    """Two customers order once in week 0 and are quiet for 0 months; one returns on day 89, the other never does.

    In week 13, day 91, the weeks 0 and 1 stand for (0 months, none of week 1 is settled): of customers 1 and 3 one was
    lost, customer 2 orders each Monday. With day 91 − 90 = 1, only week 0 is settled: (1 + 1) / (3 + 2).
    """
    mine = [(1, 0.0, "order", 1.0), (3, 0.0, "order", 1.0), (1, 89.0, "order", 1.0)]
    rows = booked("recency_peers.sql", [*mine, *mondays(14)])
    assert at_week(rows, 2, 13)["peers_churn_share"] == (1 + 1) / (3 + 2)
    assert at_week(rows, 2, 12)["peers_churn_share"] == 0.5
    # Customer 3 has been quiet for 91 days, three months of 30: nobody was, 90 days before.
    assert at_week(rows, 3, 13)["peers_churn_share"] == 0.5


def test_windows_are_those_of_an_independent_implementation(
    churn: LoadedSystem, simulated_orders: duckdb.DuckDBPyConnection
) -> None:
    """Pandas over one customer at a time, for fifty rows."""
    rows = run_sql(churn, simulated_orders, "customer_activity.sql")
    orders = simulated_orders.sql("SELECT * FROM orders").to_arrow_table().to_pandas()
    for row in rows.sample(50, random_state=1).itertuples():
        mine = orders[(orders["customer_id"] == row.customer_id) & (orders["known_at"] <= row.known_at)]
        age = (row.known_at - mine["event_at"]) / DAY
        bought = mine["kind"] == "order"
        assert row.days_since_last_order == pytest.approx(age[bought].min(), abs=1e-9)
        assert row.orders_30d == (bought & (age < 30)).sum()
        assert row.orders_180d == (bought & (age < 180)).sum()
        assert row.cancels_180d == (~bought & (age < 180)).sum()
        assert row.revenue_90d_gbp == pytest.approx(mine.loc[age < 90, "amount"].sum())
        gaps = np.diff(np.sort(age[bought & (age < 180)]))
        assert row.mean_gap_days == pytest.approx(gaps.mean()) if gaps.size else np.isnan(row.mean_gap_days)


@pytest.mark.parametrize("file", ["customer_activity.sql", "recency_peers.sql"])
def test_earlier_weeks_do_not_change(
    churn: LoadedSystem, simulated_orders: duckdb.DuckDBPyConnection, file: str
) -> None:
    """On an order book cut at a moment the SQL gives just the rows known by then, bit for bit."""
    whole = run_sql(churn, simulated_orders, file)
    until = whole["known_at"].quantile(0.6, interpolation="lower")
    cut = simulated_orders.cursor()
    cut.execute("SET TimeZone = 'UTC'")
    cut.execute(f"CREATE SCHEMA IF NOT EXISTS {file.removesuffix('.sql')}_then")
    cut.execute(f"SET schema = '{file.removesuffix('.sql')}_then'")
    rows = "SELECT * FROM main.orders WHERE known_at <= $until"
    cut.execute(f"CREATE OR REPLACE TABLE orders AS {rows}", {"until": until})
    order = ["customer_id", "known_at"]
    then = run_sql(churn, cut, file).sort_values(order).reset_index(drop=True)
    expected = whole[whole["known_at"] <= until].sort_values(order).reset_index(drop=True)
    pd.testing.assert_frame_equal(then, expected, check_exact=True)
    assert len(then) > 1_000
