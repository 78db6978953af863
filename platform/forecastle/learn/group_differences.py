"""Groups of test rows beside all other rows: how much a measure differs, with an interval that holds for all groups.

Belongs here: which rows are a group, the measures of fairness gates, their differences.
Does not belong here: limits and verdicts (`promote/gates.py`), pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastle.contract.errors import MeasureError
from forecastle.contract.gates import FairnessGate, FairnessMeasure
from forecastle.learn.time_blocks import TimeBlocks
from forecastle.measure.bootstrap import Interval, sums_interval

FloatArray = NDArray[np.float64]

ALPHA: Final = 0.05
"""Chance that one gate's intervals miss, all its groups together."""


@dataclass(frozen=True, slots=True)
class GroupDifference:
    """One group minus all other rows by one measure; None where the group is too small or one-sided to carry it.

    The interval holds for all groups of its gate together (Bonferroni).
    """

    group: str
    rows: int
    difference: Interval | None


def group_differences(
    rows: pd.DataFrame, gate: FairnessGate, *, blocks: TimeBlocks, seed: int
) -> tuple[GroupDifference, ...]:
    """Each group of a gate beside all other rows, in the order of columns and values; null belongs to no group."""
    numerator, counted = _measure(rows, gate.measure, threshold=gate.threshold)
    groups = list(_groups(rows, gate.groups))
    judged = sum(int(member.sum()) >= gate.rows_min for _, member in groups)
    level = 1 - ALPHA / max(judged, 1)
    found = []
    for name, member in groups:
        size = int(member.sum())
        interval = None
        if gate.rows_min <= size < len(rows):
            interval = _difference(numerator, counted, member, blocks=blocks, level=level, seed=seed)
        found.append(GroupDifference(name, size, interval))
    return tuple(found)


def _measure(rows: pd.DataFrame, measure: FairnessMeasure, *, threshold: float) -> tuple[FloatArray, FloatArray]:
    """What is summed, and which rows count, so that a group's value is the ratio of its two sums."""
    y, p = rows["outcome"].to_numpy(np.float64), rows["probability"].to_numpy(np.float64)
    selected = (p >= threshold).astype(np.float64)
    everybody = np.ones_like(p)
    return {
        "mean_error": (p - y, everybody),
        "brier": ((p - y) ** 2, everybody),
        "selection_rate": (selected, everybody),
        "true_positive_rate": (selected * y, y),
        "false_positive_rate": (selected * (1 - y), 1 - y),
    }[measure]


def _groups(rows: pd.DataFrame, columns: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for column in columns:
        for value in sorted(rows[column].dropna().unique(), key=str):
            yield f"{column}={value}", (rows[column] == value).fillna(value=False).to_numpy(bool)


def _difference(
    numerator: FloatArray,
    counted: FloatArray,
    member: NDArray[np.bool_],
    *,
    blocks: TimeBlocks,
    level: float,
    seed: int,
) -> Interval | None:
    table = np.column_stack([numerator * member, counted * member, numerator * ~member, counted * ~member])

    def minus_the_rest(sums: FloatArray) -> FloatArray:
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(sums[:, [1, 3]] > 0, sums[:, [0, 2]] / sums[:, [1, 3]], np.nan)
        return np.asarray(ratio[:, 0] - ratio[:, 1])

    try:
        return sums_interval(
            table, minus_the_rest, clusters=blocks.units, block_length=blocks.length, level=level, seed=seed
        )
    except MeasureError:
        return None
