"""On-demand features of churn: functions of other features, the same offline and online.

Belongs here: NumPy ufunc arithmetic on values that arrive by name, arrays in training, scalars in a request.
Does not belong here: anything that reads rows, a clock or a file. Null is NaN, in and out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Each part of the score is one half at these: about the medians of real active customers.
NORM_DAYS = 45.0
NORM_ORDERS = 2.0
NORM_REVENUE_GBP = 400.0


def engagement(
    *, days_since_last_order: Any, mean_gap_days: Any, orders_90d: Any, revenue_90d_gbp: Any
) -> dict[str, Any]:
    """How active a customer is, and how late by their own habit.

    Args:
        days_since_last_order: not negative.
        mean_gap_days: mean time between orders of half a year, not negative; NaN where there is one.
        orders_90d: orders of the last 90 days, not negative.
        revenue_90d_gbp: GBP of the last 90 days; below zero where more came back than went out.

    Returns:
        `activity_score`, the mean of 45 / (45 + days), orders / (orders + 2) and revenue / (revenue + 400), 0 to 1;
        `lateness_ratio` = days / (gap + 1), NaN where the gap is. Each has the shape of its inputs. Only the four basic
        operations are used, which give the same bits for arrays and for scalars.
    """
    days, gap = _floats(days_since_last_order), _floats(mean_gap_days)
    orders, revenue = _floats(orders_90d), np.maximum(_floats(revenue_90d_gbp), 0.0)
    recency = NORM_DAYS / (NORM_DAYS + days)
    frequency = orders / (orders + NORM_ORDERS)
    money = revenue / (revenue + NORM_REVENUE_GBP)
    return {"activity_score": (recency + frequency + money) / 3.0, "lateness_ratio": days / (gap + 1.0)}


def _floats(values: Any) -> Any:
    return np.array(values, dtype=np.float64, order="C")
