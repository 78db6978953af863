"""Corrections of p-values for many tests at once.

Belongs here: adjusted p-values (false discovery rate, family-wise error), one array in, one out, order kept.
Does not belong here: the tests that give the p-values, and the tolerance that says whether an effect matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from forecastle.contract.errors import MeasureError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from forecastle.measure.arrays import FloatArray


def benjamini_hochberg(p_values: ArrayLike) -> FloatArray:
    """Adjusted p-values that control the false discovery rate under independence or positive dependence.

    Takes a 1-d array of p-values and returns the same shape and order; an empty array stays empty.
    Reject where the result is at most q. Benjamini & Hochberg 1995, JRSS-B 57(1), 289–300.

    Raises:
        MeasureError: a value is NaN or outside [0, 1], or the array is not one-dimensional.
    """
    return _step_up(_as_p_values(p_values), factor=1.0)


def benjamini_yekutieli(p_values: ArrayLike) -> FloatArray:
    """Adjusted p-values that control the false discovery rate under any dependence.

    Same shape and order as given. Benjamini & Yekutieli 2001, Annals of Statistics 29(4), 1165–1188.

    Raises:
        MeasureError: a value is NaN or outside [0, 1], or the array is not one-dimensional.
    """
    p = _as_p_values(p_values)
    return _step_up(p, factor=float(np.sum(1.0 / np.arange(1, p.size + 1))))


def holm(p_values: ArrayLike) -> FloatArray:
    """Adjusted p-values that control the chance of any false rejection, under any dependence.

    Same shape and order as given. Holm 1979, Scandinavian Journal of Statistics 6(2), 65–70.

    Raises:
        MeasureError: a value is NaN or outside [0, 1], or the array is not one-dimensional.
    """
    p = _as_p_values(p_values)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1.0)
    return adjusted


def _step_up(p: FloatArray, *, factor: float) -> FloatArray:
    order = np.argsort(-p, kind="stable")
    scaled = p[order] * factor * p.size / np.arange(p.size, 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return adjusted


def _as_p_values(p_values: ArrayLike) -> FloatArray:
    try:
        p = np.asarray(p_values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MeasureError(f"p-values must be numbers from 0 to 1 ({error})") from None
    if p.ndim != 1:
        raise MeasureError(f"p-values must be one-dimensional, got shape {p.shape}: flatten them first")
    bad = ~((p >= 0) & (p <= 1))
    if bad.any():
        raise MeasureError(
            f"p-values must lie in [0, 1], got {p[bad][0]} at position {int(np.argmax(bad))}: "
            "drop the tests that could not be computed before correcting"
        )
    return p
