"""Rows in blocks of time, for resampling: rows of one cluster together, and clusters asked about the same time too.

Belongs here: which cluster and which unit a row belongs to, and how many neighbouring units are drawn as one.
Does not belong here: drawing them (`measure/bootstrap.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# More units than this tell an interval nothing new, and their resamples would fill memory.
UNITS_MAX = 5_000


@dataclass(frozen=True, slots=True, eq=False)
class TimeBlocks:
    """Unit of each row (n,), numbered in time order, and the number of neighbouring units in a block."""

    units: NDArray[np.int64]
    length: int

    @property
    def labels(self) -> NDArray[np.int64]:
        """One label a row for blocks that do not overlap, for methods that resample labels; at least two of them."""
        return np.asarray(self.units // self.length, dtype=np.int64)


def time_blocks(rows: pd.DataFrame, *, cluster: str, block: timedelta | None = None) -> TimeBlocks:
    """Units and block length of rows with `predict_at` (their order, where they have none) and a `cluster` column.

    A unit is a cluster, at the time of its first row. A block is as many units as were asked within `block` on
    average, else the cube root of their number, the rate at which the error of a block bootstrap's variance falls
    fastest (Hall, Horowitz & Jing 1995, Biometrika 82, 561); never more than half of them.
    """
    at = rows["predict_at"] if "predict_at" in rows else pd.Series(np.arange(len(rows)), index=rows.index)
    codes, labels = pd.factorize(rows[cluster], use_na_sentinel=False)
    first = at.groupby(codes).min().sort_values(kind="stable")
    rank = np.empty(len(labels), dtype=np.int64)
    rank[first.index.to_numpy()] = np.arange(len(labels))
    count = min(len(labels), UNITS_MAX)
    units = rank[codes] * count // max(len(labels), 1)
    length = round(count ** (1 / 3))
    if block is not None and len(labels) > 1 and (span := first.iloc[-1] - first.iloc[0]) > timedelta(0):
        length = math.ceil(count * (block / span))
    return TimeBlocks(np.asarray(units, dtype=np.int64), max(1, min(length, count // 2)))


def cluster_labels(rows: pd.DataFrame, cluster: str) -> pd.Series[Any]:
    """Which rows settle together; a row without a label (a caller told it, no source knows it) stands alone."""
    labels = rows[cluster]
    missing = labels.isna()
    if not missing.any():
        return labels
    codes = pd.Series(pd.factorize(labels, sort=True)[0], index=rows.index)
    return codes.where(~missing, codes.max() + missing.cumsum())
