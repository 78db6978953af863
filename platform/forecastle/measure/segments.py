"""Calibration of every declared segment and pair of segments, with false alarms controlled over all of them.

Belongs here: the segment table (cumulative error, expected over observed, adjusted p-values, what could be
detected).
Does not belong here: fairness between groups, time (`periods`), which segments matter (the system declares
them).
Source: Guy, Haimovich, Tygert et al. 2025, arXiv:2506.11251 (cumulative errors by segment; their maximum as
MCE).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import IntArray, as_codes, as_outcomes, as_probabilities, same_length
from forecastle.measure.calibration_tests import expected_over_observed
from forecastle.measure.cumulative import cumulative_calibration
from forecastle.measure.decomposition import decompose_cells
from forecastle.measure.isotonic import Cells, pool_groups
from forecastle.measure.multiple import benjamini_hochberg
from forecastle.measure.scores import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

SEGMENT_COLUMNS = (
    "segment", "value", "n", "events", "base_rate", "mean_probability",
    "brier", "miscalibration", "discrimination", "expected_over_observed", "ratio_low", "ratio_high",
    "ecce_range", "range_in_sigma", "p_value", "q_value", "minimum_detectable", "is_small",
)  # fmt: skip
_POWER = 0.8


@dataclass(frozen=True, slots=True)
class MulticalibrationError:
    """The segment value with the largest cumulative error (ECCE-R), and the one that is largest in sigmas."""

    ecce_range: float
    segment: str
    value: str
    range_in_sigma: float
    sigma_segment: str
    sigma_value: str


def segment_calibration(
    outcomes: Any,
    probabilities: Any,
    segments: Mapping[str, Any],
    *,
    pairs: bool = False,
    minimum_rows: int = 100,
    level: float = 0.95,
    order: Any | None = None,
) -> pd.DataFrame:
    """One row for each value of each segment, columns `SEGMENT_COLUMNS`, largest `range_in_sigma` first.

    `segments` maps a name to n labels; with `pairs` each two segments are crossed too. `q_value` is
    Benjamini–Hochberg over all rows that are not small; values with fewer than `minimum_rows` rows stay in
    the table as `is_small`, at its end, outside that family, with p and q missing. A value without events has
    an infinite ratio. `minimum_detectable` is the difference between mean probability and event rate that a
    two-sided test at 1 - `level` sees with power 0.8. `order` is the argsort of the probabilities, when already known.

    Raises:
        MeasureError: no segments, missing labels, mismatched lengths, or input that `pool_ties` refuses.
    """
    if not segments:
        raise MeasureError("segments: got none; give at least one name with a label for each row")
    y, p = as_outcomes(outcomes), as_probabilities(probabilities)
    order = np.argsort(p) if order is None else order
    factor = normal_quantile(level) + normal_quantile(2.0 * _POWER - 1.0)
    rows: list[tuple[Any, ...]] = []
    for name, codes, labels in _families(segments, pairs=pairs, n=same_length(outcome=y, probability=p)):
        groups = pool_groups(y, p, codes, order=order)
        rows += [_segment_row(name, label, cells, factor, level) for label, cells in zip(labels, groups, strict=True)]
    table = pd.DataFrame(rows, columns=[column for column in SEGMENT_COLUMNS if column not in _ADDED])
    return _with_false_discovery_rate(table, minimum_rows)


def multicalibration_error(table: pd.DataFrame) -> MulticalibrationError | None:
    """The maxima over the rows of `segment_calibration` that are not small; None when all are small."""
    large = table[~table["is_small"]]
    if large.empty:
        return None
    widest = large.iloc[int(large["ecce_range"].to_numpy().argmax())]
    surest = large.iloc[int(large["range_in_sigma"].to_numpy().argmax())]
    return MulticalibrationError(
        ecce_range=float(widest["ecce_range"]),
        segment=str(widest["segment"]),
        value=str(widest["value"]),
        range_in_sigma=float(surest["range_in_sigma"]),
        sigma_segment=str(surest["segment"]),
        sigma_value=str(surest["value"]),
    )


_ADDED = ("q_value", "is_small")


def _families(segments: Mapping[str, Any], *, pairs: bool, n: int) -> list[tuple[str, IntArray, tuple[Hashable, ...]]]:
    coded = [(name, *as_codes(labels, name=f"segment {name}")) for name, labels in segments.items()]
    same_length(outcome=range(n), **{name: codes for name, codes, _ in coded})
    crossed = [_crossed(first, second) for first, second in itertools.combinations(coded, 2)] if pairs else []
    return coded + crossed


def _crossed(
    first: tuple[str, IntArray, tuple[Hashable, ...]], second: tuple[str, IntArray, tuple[Hashable, ...]]
) -> tuple[str, IntArray, tuple[Hashable, ...]]:
    width = len(second[2])
    combined, codes = np.unique(first[1] * width + second[1], return_inverse=True)
    labels = tuple(f"{first[2][k // width]} × {second[2][k % width]}" for k in combined.tolist())
    return f"{first[0]} × {second[0]}", codes.astype(np.int64), labels


def _segment_row(name: str, label: Hashable, cells: Cells, factor: float, level: float) -> tuple[Any, ...]:
    error = cumulative_calibration(cells)
    ratio = expected_over_observed(cells, level=level)
    brier = decompose_cells(cells)
    return (
        name, str(label), cells.rows, int(ratio.observed), cells.base_rate, cells.mean_probability,
        brier.score, brier.miscalibration, brier.discrimination, ratio.ratio, ratio.low, ratio.high,
        error.range, error.range_in_sigma, error.range_p_value, factor * error.sigma,
    )  # fmt: skip


def _with_false_discovery_rate(table: pd.DataFrame, minimum_rows: int) -> pd.DataFrame:
    is_small = table["n"] < minimum_rows
    adjusted = np.full(len(table), np.nan)
    adjusted[~is_small] = benjamini_hochberg(table.loc[~is_small, "p_value"].to_numpy())
    table = table.assign(p_value=table["p_value"].mask(is_small), q_value=adjusted, is_small=is_small)
    table = table.sort_values(["is_small", "range_in_sigma"], ascending=[True, False], kind="stable")
    return table[list(SEGMENT_COLUMNS)].reset_index(drop=True)
