"""The on-demand features of churn: values by hand, and the same bits for one customer as for a million."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.load import load_system
from tests.systems.churn.conftest import FOLDER

engagement = load_system(FOLDER).function("features:engagement")
DAYS = st.floats(0, 180)
GAPS = st.one_of(st.just(np.nan), st.floats(0, 180))
ORDERS = st.integers(0, 500)
MONEY = st.floats(-1e5, 1e6)


def test_the_score_of_a_middling_customer_is_one_half() -> None:
    """45 days, 2 orders and 400 GBP are each one half; 45 days are 1.5 of the customer's own gaps of 29 + 1 days."""
    made = engagement(days_since_last_order=45.0, mean_gap_days=29.0, orders_90d=2, revenue_90d_gbp=400.0)
    assert made == {"activity_score": 0.5, "lateness_ratio": 1.5}


def test_money_that_came_back_counts_as_none() -> None:
    """Today's order, nothing else: (1 + 0 + 0) / 3; with one order there is no gap to be late by."""
    made = engagement(days_since_last_order=0.0, mean_gap_days=np.nan, orders_90d=0, revenue_90d_gbp=-50.0)
    assert made["activity_score"] == 1 / 3
    assert np.isnan(made["lateness_ratio"])


@given(st.lists(st.tuples(DAYS, GAPS, ORDERS, MONEY), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_columns_and_single_values_give_the_same_bits(rows: list[tuple[float, float, int, float]]) -> None:
    """Training calls with arrays, a request with scalars; the score never leaves 0 to 1."""
    names = ("days_since_last_order", "mean_gap_days", "orders_90d", "revenue_90d_gbp")
    whole = engagement(
        **{
            name: np.array(column, dtype=np.float64)
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        }
    )
    for number, row in enumerate(rows):
        one = engagement(**dict(zip(names, map(float, row), strict=True)))
        for name, values in whole.items():
            assert np.float64(one[name]).tobytes() == values[number].tobytes()
    assert ((whole["activity_score"] >= 0) & (whole["activity_score"] <= 1)).all()
