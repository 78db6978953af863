"""Rows of a table as the numbers that a model sees.

Belongs here: features by name to a matrix, words to their numbers, nulls to NaN.
Does not belong here: what an estimator is given instead (`preprocess.py`), one request (`serve/resolve.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastle.contract.category import NO_CODES, Codes
from forecastle.contract.errors import LearnError

FloatArray = NDArray[np.float64]


def feature_matrix(frame: pd.DataFrame, features: Sequence[str], *, codes: Codes = NO_CODES) -> FloatArray:
    """Features by name as a C-ordered float64 matrix (n, k); null is NaN, a word its number in `codes`.

    Raises:
        LearnError: a feature is not a column, a value is infinite, or a word is none of the contract's.
    """
    lacking = [name for name in features if name not in frame]
    if lacking:
        raise LearnError(f"the training set has no column {', '.join(lacking)}; materialise it again")
    matrix = np.empty((len(frame), len(features)))
    for place, name in enumerate(features):
        matrix[:, place] = feature_column(frame, name, codes=codes)
    infinite = [name for name, column in zip(features, matrix.T, strict=True) if np.isinf(column).any()]
    if infinite:
        raise LearnError(f"{', '.join(infinite)} has infinite values; mend the feature's SQL or function")
    return matrix


def unvaried_features(features: Sequence[str], matrix: FloatArray) -> tuple[str, ...]:
    """Features with one value, or null alone, in all rows of a matrix (n, k): nothing can be learned from them."""
    return tuple(name for name, column in zip(features, matrix.T, strict=True) if np.unique(column).size == 1)


def feature_column(frame: pd.DataFrame, name: str, *, codes: Codes = NO_CODES) -> FloatArray:
    """One feature as float64 (n,); null is NaN, a word its number in `codes`.

    Raises:
        LearnError: a word is none of the contract's.
    """
    values, words = frame[name], codes.get(name)
    if words is None:
        return np.asarray(values.to_numpy(np.float64, na_value=np.nan))
    numbers: FloatArray = np.array(values.map(words), dtype=np.float64)
    _require_known(name, values, numbers, words)
    return numbers


def _require_known(name: str, values: pd.Series, numbers: FloatArray, words: Mapping[str, float]) -> None:
    unknown = values[np.isnan(numbers) & values.notna().to_numpy()]
    if len(unknown):
        told = ", ".join(map(repr, words))
        raise LearnError(f"{name} is {unknown.iloc[0]!r} in {len(unknown)} rows; its contract allows {told}")
