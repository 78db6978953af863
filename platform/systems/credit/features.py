"""On-demand features of credit: functions of other features, the same offline and online.

Belongs here: NumPy ufunc arithmetic on values that arrive by name, arrays in training, scalars in a request.
Does not belong here: anything that reads rows, a clock or a file. Null is NaN, in and out.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def trend(*, late_share_2m: Any, late_share_6m: Any, mean_bill_2m_ntd: Any, limit_ntd: Any) -> dict[str, Any]:
    """Is a client getting later, and how much of the limit is used on average?

    Args:
        late_share_2m: share of the newest two statements that are late, 0 to 1.
        late_share_6m: of the newest six.
        mean_bill_2m_ntd: mean bill of two months; below zero where the bank owes the client.
        limit_ntd: credit limit, above zero.

    Returns:
        `lateness_trend`, the first share minus the second, and `mean_utilisation_2m`; each has the shape of its inputs.
    """
    newer, longer = _floats(late_share_2m), _floats(late_share_6m)
    return {"lateness_trend": newer - longer, "mean_utilisation_2m": _floats(mean_bill_2m_ntd) / _floats(limit_ntd)}


def _floats(values: Any) -> Any:
    return np.array(values, dtype=np.float64, order="C")
