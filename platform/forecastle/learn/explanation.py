"""One row's log-odds as a sum over its features.

Belongs here: the record.
Does not belong here: computing it (`native_booster.py`, `linear_model.py`), showing it (`serve/explain.py`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row's log-odds as a sum: `expected` for any row, plus one contribution a feature in the model's order.

    `residual` is what the sum misses of the log-odds: rounding.
    """

    log_odds: float
    expected: float
    contributions: tuple[float, ...]
    residual: float
