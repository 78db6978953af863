"""On-demand features of credit_loans: functions of other features, the same offline and online.

Belongs here: NumPy ufunc arithmetic on values that arrive by name, arrays in training, scalars in a request.
Does not belong here: anything that reads rows, a clock or a file. Null is NaN, in and out.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def step(*, amount_ngn: Any, largest_repaid_365d_ngn: Any) -> dict[str, Any]:
    """How far does a loan go beyond what the customer has paid back before?

    Args:
        amount_ngn: of the loan, above zero.
        largest_repaid_365d_ngn: largest loan paid back in a year, above zero; null where there is none.

    Returns:
        `amount_step_ratio`, the first over the second, in the shape of its inputs.
    """
    return {"amount_step_ratio": _floats(amount_ngn) / _floats(largest_repaid_365d_ngn)}


def _floats(values: Any) -> Any:
    return np.array(values, dtype=np.float64, order="C")
