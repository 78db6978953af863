"""Input checks shared by every statistic: what comes in is a clean one-dimensional array or a refusal.

Belongs here: conversion of array-likes to NumPy; errors say what was got, what is allowed, what to do.
Does not belong here: statistics, or silent repair (nothing is dropped, filled or clipped).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from forecastle.contract.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Hashable

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]


def as_finite(values: Any, *, name: str) -> FloatArray:
    """`values` as a non-empty one-dimensional float64 array without NaN or infinity.

    Raises:
        MeasureError: not numeric, not one-dimensional, empty, or with missing or infinite entries.
    """
    array = _as_float(values, name)
    if array.ndim != 1:
        raise MeasureError(
            f"{name}: got shape {array.shape}; one dimension is allowed; pass one column (for example [:, 1])"
        )
    if array.size == 0:
        raise MeasureError(f"{name}: got no rows; at least one is needed; check the filter or time window")
    _need_finite(array, name)
    return array


def as_numbers(values: Any, *, name: str) -> FloatArray:
    """`values` as a float64 array of any shape (empty, too) without NaN or infinity, for elementwise formulas.

    Raises:
        MeasureError: not numeric, or with missing or infinite entries.
    """
    array = _as_float(values, name)
    _need_finite(array, name)
    return array


def as_probabilities(values: Any, *, name: str = "probability") -> FloatArray:
    """`values` as a one-dimensional float64 array within [0, 1], both ends allowed.

    Raises:
        MeasureError: as `as_finite`, or a value outside [0, 1].
    """
    array = as_finite(values, name=name)
    low, high = float(array.min()), float(array.max())
    if low < 0.0 or high > 1.0:
        outside = int(np.count_nonzero((array < 0.0) | (array > 1.0)))
        raise MeasureError(
            f"{name}: got {outside} of {array.size} values outside [0, 1] (range {low:g} to {high:g}); "
            "probabilities are allowed; pass predict_proba, not a score, or calibrate the score first"
        )
    return array


def as_outcomes(values: Any, *, name: str = "outcome") -> FloatArray:
    """`values` as a one-dimensional float64 array of 0.0 and 1.0 (booleans are welcome).

    Raises:
        MeasureError: as `as_finite`, or a value that is neither 0 nor 1.
    """
    array = as_finite(values, name=name)
    other = (array != 0.0) & (array != 1.0)
    if other.any():
        first = int(np.argmax(other))
        raise MeasureError(
            f"{name}: got {array[first]:g} at position {first}; only 0 and 1 are allowed; "
            "for several classes compare one class with the rest"
        )
    return array


def as_weights(values: Any | None, *, n: int, name: str = "weight") -> FloatArray:
    """`values` as `n` non-negative float64 weights with a positive sum; None gives ones.

    Raises:
        MeasureError: as `as_finite`, another length than `n`, a negative weight, or a sum of zero.
    """
    if values is None:
        return np.ones(n)
    array = as_finite(values, name=name)
    if array.size != n:
        raise MeasureError(f"{name}: got {array.size} values for {n} rows; give one weight for each row")
    if array.min() < 0.0 or array.sum() <= 0.0:
        raise MeasureError(
            f"{name}: got minimum {array.min():g} and sum {array.sum():g}; weights are at least 0 with "
            "a positive sum; remove rows that must not count"
        )
    return array


def as_codes(values: Any, *, name: str) -> tuple[IntArray, tuple[Hashable, ...]]:
    """Group labels as (`codes`, `labels`): int64 positions into the sorted distinct labels.

    Raises:
        MeasureError: empty, not one-dimensional, missing labels, or labels that cannot be grouped.
    """
    import pandas as pd  # the serving process imports this module and must not pay for pandas

    column = values if isinstance(values, pd.Series | pd.Index | pd.Categorical) else np.asarray(values)
    if column.ndim != 1 or len(column) == 0:
        raise MeasureError(
            f"{name}: got an array of shape {column.shape}; one label for each row, and at least one row, "
            "are allowed; pass one column"
        )
    try:
        codes, labels = pd.factorize(column, sort=True)
    except TypeError as error:
        raise MeasureError(
            f"{name}: got labels that cannot be grouped ({error}); text, numbers and dates are allowed"
        ) from None
    if codes.min() < 0:
        missing = int(np.count_nonzero(codes < 0))
        raise MeasureError(
            f"{name}: got {missing} missing of {codes.size} labels; every row needs a group; "
            "fill them with a name such as 'unknown'"
        )
    plain = tuple(label.item() if isinstance(label, np.generic) else label for label in labels)
    return codes.astype(np.int64), plain


def as_option(value: float, *, name: str, low: float = 0.0, high: float = 1.0) -> float:
    """`value` when it lies in [`low`, `high`]; NaN never does, and would silence whatever is compared with it.

    Raises:
        MeasureError: the value is missing or outside the range.
    """
    if not low <= value <= high:
        raise MeasureError(
            f"{name}: got {value}; a number from {low:g} to {high:g} is allowed; leave it out for the usual"
        )
    return value


def same_length(**arrays: Any) -> int:
    """The length shared by all named `arrays`.

    Raises:
        MeasureError: the lengths differ; all names are listed with their lengths.
    """
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        got = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise MeasureError(f"got different lengths: {got}; every array needs one entry for each row")
    return next(iter(lengths.values()))


def _as_float(values: Any, name: str) -> FloatArray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MeasureError(
            f"{name}: got {type(values).__name__} that is not numeric ({error}); numbers are allowed; "
            "convert or drop what is not a number"
        ) from None


def _need_finite(array: FloatArray, name: str) -> None:
    finite = np.isfinite(array)
    if finite.all():
        return
    first = int(np.argmin(finite))
    count = int(array.size - np.count_nonzero(finite))
    raise MeasureError(
        f"{name}: got {count} missing or infinite of {array.size} values "
        f"(first: {array.flat[first]} at position {first}); only finite numbers are allowed; "
        "drop these rows and say how many were excluded"
    )
