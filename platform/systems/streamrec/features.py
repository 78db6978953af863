"""On-demand features of streamrec: functions of other features, the same offline and online.

Belongs here: NumPy ufunc arithmetic on values that arrive by name, arrays in training, scalars in a request.
Does not belong here: anything that reads rows, a clock or a file. Null is NaN, in and out.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def era(*, release_year: Any, user_mean_year: Any) -> dict[str, Any]:
    """How many years a film is newer than what the user has rated on average."""
    film = np.array(release_year, dtype=np.float64, order="C")
    return {"era_gap_years": film - np.array(user_mean_year, dtype=np.float64, order="C")}
