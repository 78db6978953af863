"""Ties pooled once, and the isotonic fit of outcomes on probabilities that calibration measures rest on.

Belongs here: `Cells` (one entry for each distinct probability) and the weighted pool-adjacent-violators fit.
Does not belong here: scores, bands, calibrators that a model carries (`recalibration`).
Every calibration measure takes `Cells`, so one sort serves a whole report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import (
    FloatArray,
    IntArray,
    as_finite,
    as_outcomes,
    as_probabilities,
    as_weights,
    same_length,
)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Forecasts with outcomes, pooled by distinct probability: arrays of K entries, probability increasing.

    `weights` sums the rows' weights of a cell (their number when unweighted), `events` the weights of its
    rows with outcome 1, `squared_weights` the squares. `rows` is the number of rows pooled.
    """

    probabilities: FloatArray
    weights: FloatArray
    events: FloatArray
    squared_weights: FloatArray
    rows: int
    is_weighted: bool

    @property
    def total(self) -> float:
        """Sum of the weights of all rows."""
        return float(self.weights.sum())

    @property
    def base_rate(self) -> float:
        """Weighted share of rows with outcome 1."""
        return float(self.events.sum()) / self.total

    @property
    def mean_probability(self) -> float:
        """Weighted mean of the probabilities."""
        return float(self.weights @ self.probabilities) / self.total


@dataclass(frozen=True, slots=True, eq=False)
class IsotonicFit:
    """Non-decreasing event rates of K cells: `rates` (K) and `starts`, the first cell of each block."""

    rates: FloatArray
    starts: IntArray


def pool_ties(outcomes: Any, probabilities: Any, *, weights: Any | None = None, order: Any | None = None) -> Cells:
    """`Cells` of n outcomes (0/1) and n probabilities; `order` is their argsort, when already known.

    Raises:
        MeasureError: empty, missing, mismatched input, outcomes other than 0/1, probabilities outside [0, 1].
    """
    y, p, w = _checked(outcomes, as_probabilities(probabilities), weights)
    return _pool_sorted(y, p, w, order, None)[0]


def pool_scores(outcomes: Any, scores: Any, *, weights: Any | None = None) -> Cells:
    """`Cells` of any finite scores, for measures of rank (AUC, ROC); otherwise as `pool_ties`."""
    y, s, w = _checked(outcomes, as_finite(scores, name="score"), weights)
    return _pool_sorted(y, s, w, None, None)[0]


def pool_groups(
    outcomes: Any,
    probabilities: Any,
    codes: IntArray,
    *,
    weights: Any | None = None,
    order: Any | None = None,
) -> tuple[Cells, ...]:
    """One `Cells` for each group; `codes` (n) numbers the groups 0 … G-1 as `arrays.as_codes` does.

    Raises:
        MeasureError: as `pool_ties`, or a group without a row that weighs something.
    """
    y, p, w = _checked(outcomes, as_probabilities(probabilities), weights)
    same_length(outcome=y, code=codes)
    if codes.ndim != 1 or codes.dtype.kind not in "iu" or codes.min() < 0:
        raise MeasureError(
            f"codes: got {codes.dtype} of shape {codes.shape}; integers from 0 on, one a row, are allowed; "
            "`as_codes` makes them of labels"
        )
    return _pool_sorted(y, p, w, order, codes)


def quantile_cells(cells: Cells, *, count: int) -> Cells:
    """`cells` merged into at most `count` runs of nearly equal weight, at their mean probability.

    Brier-type sums over the merged cells differ from the exact ones: compare like with like.
    """
    if cells.probabilities.size <= count:
        return cells
    middle = np.cumsum(cells.weights) - 0.5 * cells.weights
    bins = np.floor(count * middle / cells.total)
    starts = np.flatnonzero(np.diff(bins, prepend=-1.0))
    weights = np.add.reduceat(cells.weights, starts)
    return Cells(
        probabilities=np.add.reduceat(cells.weights * cells.probabilities, starts) / weights,
        weights=weights,
        events=np.add.reduceat(cells.events, starts),
        squared_weights=np.add.reduceat(cells.squared_weights, starts),
        rows=cells.rows,
        is_weighted=cells.is_weighted,
    )


def isotonic_fit(cells: Cells) -> IsotonicFit:
    """Weighted least-squares non-decreasing fit of event rates on cells (pool adjacent violators).

    Source: Ayer et al. 1955, Ann. Math. Statist. 26, 641; through `scipy.optimize.isotonic_regression`.
    """
    # Imported late: it takes 0.2 s, and definitions load without a fit.
    from scipy.optimize import isotonic_regression

    result = isotonic_regression(cells.events / cells.weights, weights=cells.weights)
    return IsotonicFit(rates=np.clip(result.x, 0.0, 1.0), starts=result.blocks[:-1].astype(np.int64))


def need_unweighted(cells: Cells, *, what: str) -> None:
    """Refuse weights where a formula counts rows.

    Raises:
        MeasureError: `cells` were pooled with weights.
    """
    if cells.is_weighted:
        raise MeasureError(f"{what}: got weighted rows; it counts rows; pool the rows without weights")


def _checked(
    outcomes: Any, values: FloatArray, weights: Any | None
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    y = as_outcomes(outcomes)
    n = same_length(outcome=y, probability=values)
    return y, values, None if weights is None else as_weights(weights, n=n)


def _pool_sorted(
    y: FloatArray, p: FloatArray, w: FloatArray | None, order: Any | None, codes: IntArray | None
) -> tuple[Cells, ...]:
    order = np.argsort(p) if order is None else order
    if w is not None and (w == 0.0).any():
        order = order[w[order] > 0.0]  # a row that weighs nothing must not make a cell of weight nothing
    if codes is not None:
        order = order[np.argsort(_narrow(codes)[order], kind="stable")]
    p_sorted = p[order]
    is_new = np.empty(order.size, dtype=bool)
    is_new[0] = True
    np.not_equal(p_sorted[1:], p_sorted[:-1], out=is_new[1:])
    if codes is not None:
        g_sorted = codes[order]
        is_new[1:] |= g_sorted[1:] != g_sorted[:-1]
    starts = np.flatnonzero(is_new)
    sums = _cell_sums(y[order], None if w is None else w[order], starts)
    if codes is None:
        return (Cells(p_sorted[starts], *sums, order.size, w is not None),)
    everything = Cells(p_sorted[starts], *sums, order.size, w is not None)
    return _split(everything, g_sorted[starts], np.append(starts, order.size), groups=int(codes.max()) + 1)


def _split(cells: Cells, codes: IntArray, row_ends: IntArray, *, groups: int) -> tuple[Cells, ...]:
    """Views of each group's run of cells; `row_ends` (K + 1) are the first rows of the cells and the end."""
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    if first.size != groups:
        raise MeasureError(
            f"groups: got {first.size} with weight, of {groups}; every group needs a row that weighs "
            "something; remove the empty groups"
        )
    bounds = np.append(first, codes.size)
    rows = np.diff(row_ends[bounds]).tolist()
    p, weights, events, squared = cells.probabilities, cells.weights, cells.events, cells.squared_weights
    return tuple(
        Cells(p[i:j], weights[i:j], events[i:j], squared[i:j], n, cells.is_weighted)
        for i, j, n in zip(bounds[:-1], bounds[1:], rows, strict=True)
    )


def _cell_sums(y: FloatArray, w: FloatArray | None, starts: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    events = np.add.reduceat(y if w is None else y * w, starts)
    if w is None:
        counts = np.diff(starts, append=y.size).astype(np.float64)
        return counts, events, counts
    return np.add.reduceat(w, starts), events, np.add.reduceat(w * w, starts)


def _narrow(codes: IntArray) -> Any:
    """Codes in 16 bits where they fit: NumPy's stable sort is then a radix sort, linear in time."""
    return codes.astype(np.int16) if codes.size and codes.max() < 2**15 else codes
