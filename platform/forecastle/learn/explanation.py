"""What each feature adds to one row's log-odds.

Belongs here: the record, and the method for models that do not say it themselves.
Does not belong here: sums of trees and of coefficients (`native_booster.py`, `foreign_model.py`, `linear_model.py`),
showing it (`serve/explain.py`). Served: no pandas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from forecastle.measure.calibrators import log_odds


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row's log-odds, and one contribution a feature in the model's order.

    additive: `expected` for any row plus the contributions is the log-odds; `residual` is what rounding left of them.
    one_at_a_time: a contribution is the log-odds minus those of the row with that one feature at its training median;
    they do not add up, so nothing is expected or left. None where such a row has no answer.
    """

    log_odds: float
    expected: float | None
    contributions: tuple[float | None, ...]
    residual: float | None
    method: Literal["additive", "one_at_a_time"] = "additive"


def one_at_a_time(
    score_row: Callable[[Sequence[float]], float], values: Sequence[float], medians: Sequence[float | None]
) -> Explanation:
    """The explanation of a model that only answers: what each feature does beside its median in the training rows.

    Args:
        score_row: raw score of one row in the model's order.
        values: the row, null as NaN.
        medians: of each feature; None where it had no value in training.
    """
    told = float(log_odds(score_row(values)))
    parts: list[float | None] = []
    for place, median in enumerate(medians):
        if median is None:
            parts.append(None)
            continue
        other = score_row([*values[:place], median, *values[place + 1 :]])
        parts.append(None if math.isnan(other) else told - float(log_odds(other)))
    return Explanation(told, None, tuple(parts), None, "one_at_a_time")
