"""How far two samples of one feature lie apart, and whether chance explains it.

Belongs here: Kolmogorov-Smirnov, Wasserstein, divergences of cell counts and exact tests of one share, sorted
arrays or counts in. Does not belong here: what the reference is (`reference.py`), tolerances and alarms
(`drift.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_finite, as_option

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from forecastle.measure.arrays import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Divergence:
    """Distances between two sets of cell counts over `cells` cells that are empty on at most one side.

    `psi` = sum (q - p) ln(q / p), an empty cell counting as half an observation. Without drift it follows
    (1/n + 1/m) chi2 with cells - 1 degrees of freedom (Yurdakul 2018): `p_value` is that tail and
    `psi_null_corrected` = max(0, psi - (cells - 1)(1/n + 1/m)). `tolerance_p_value` tests "psi is at most the
    tolerance" by the non-central chi2 (Potgieter et al., arXiv 2307.11878). `jensen_shannon` (logarithms to
    base 2) and `hellinger` are distances in [0, 1].
    """

    psi: float
    psi_null_corrected: float
    p_value: float
    tolerance_p_value: float
    jensen_shannon: float
    hellinger: float
    cells: int


def divergence(reference_counts: ArrayLike, current_counts: ArrayLike, *, tolerance: float = 0.1) -> Divergence:
    """Population stability index with its tests, Jensen-Shannon and Hellinger distance of two cell counts.

    Raises:
        MeasureError: different numbers of cells, a negative count, or a side without rows.
    """
    as_option(tolerance, name="tolerance", high=np.inf)
    a, b = _used_cells(reference_counts, current_counts)
    scale, free = 1 / a.sum() + 1 / b.sum(), a.size - 1
    p, q = a / a.sum(), b / b.sum()
    filled_p, filled_q = np.maximum(a, 0.5) / a.sum(), np.maximum(b, 0.5) / b.sum()
    psi = float(np.sum((filled_q - filled_p) * np.log(filled_q / filled_p)))
    middle = (p + q) / 2
    shannon = float(np.sum(special.rel_entr(p, middle) + special.rel_entr(q, middle))) / (2 * np.log(2))
    return Divergence(
        psi=psi,
        psi_null_corrected=max(0.0, psi - free * scale),
        p_value=float(special.chdtrc(free, psi / scale)) if free else 1.0,
        tolerance_p_value=_noncentral_tail(psi / scale, free, tolerance / scale) if free else 1.0,
        jensen_shannon=float(np.sqrt(max(shannon, 0.0))),
        hellinger=float(np.sqrt(max(0.0, 1 - np.sum(np.sqrt(p * q))))),
        cells=int(a.size),
    )


def ks_distance(reference_sorted: FloatArray, current_sorted: FloatArray) -> float:
    """Kolmogorov-Smirnov D, the largest gap of two empirical distribution functions; arrays increasing.

    Raises:
        MeasureError: an array without values, with missing ones, or not in increasing order.
    """
    _need_increasing(reference_sorted, current_sorted)
    k, m = reference_sorted.size, current_sorted.size
    # Between reference points only the current function moves: the gap peaks at a point or just before one.
    at_most = np.searchsorted(reference_sorted, reference_sorted, side="right") / k
    less = np.searchsorted(reference_sorted, reference_sorted, side="left") / k
    above = at_most - np.searchsorted(current_sorted, reference_sorted, side="right") / m
    below = np.searchsorted(current_sorted, reference_sorted, side="left") / m - less
    return float(max(np.max(above), np.max(below), 0.0))


def ks_p_value(distance: float, n: int, m: int) -> float:
    """Two-sided p-value of D for samples of n and m values, by the limit distribution (Kolmogorov 1933).

    Raises:
        MeasureError: a distance outside [0, 1], or a sample without values.
    """
    if not (0.0 <= distance <= 1.0 and min(n, m) > 0):
        raise MeasureError(f"got distance {distance} of {n} and {m} values; 0 to 1 and at least one value are allowed")
    return float(special.kolmogorov(np.sqrt(n * m / (n + m)) * distance))


def wasserstein_distance(reference_sorted: FloatArray, current_sorted: FloatArray) -> float:
    """Wasserstein-1 distance, the mean gap of the two quantile functions; both arrays increasing.

    Raises:
        MeasureError: an array without values, with missing ones, or not in increasing order.
    """
    _need_increasing(reference_sorted, current_sorted)
    widths, left, right = _quantile_steps(reference_sorted.size, current_sorted.size)
    return float(np.dot(widths, np.abs(reference_sorted[left] - current_sorted[right])))


def chi2_p_value(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    """Pearson's test that two lists of cell counts share one distribution; 1.0 when one cell is left.

    Raises:
        MeasureError: as `divergence`.
    """
    a, b = _used_cells(reference_counts, current_counts)
    ratio = np.sqrt(b.sum() / a.sum())
    statistic = float(np.sum((a * ratio - b / ratio) ** 2 / (a + b)))
    return float(special.chdtrc(a.size - 1, statistic)) if a.size > 1 else 1.0


def excess_p_value(reference_count: int, n: int, current_count: int, m: int) -> float:
    """Exact one-sided p-value of "the current share is no larger than the reference's".

    Fisher's exact test. When `reference_count` is one less than the number of spacings beyond order
    statistics of the reference, it is the distribution-free test of their tail share (Wilks 1941): the
    reference is a sample too.

    Raises:
        MeasureError: counts that are not 0 <= count <= rows.
    """
    if not (0 <= reference_count <= n and 0 <= current_count <= m):
        raise MeasureError(
            f"got {reference_count} of {n} and {current_count} of {m} rows; 0 <= count <= rows is allowed; "
            "pass counts, not rates"
        )
    if current_count == 0:
        return 1.0
    hits = reference_count + current_count
    i = np.arange(max(0, hits - m), min(reference_count, n) + 1)
    terms = _log_choose(n, i) + _log_choose(m, hits - i) - _log_choose(n + m, np.array(hits))
    return float(min(1.0, np.exp(special.logsumexp(terms))))


def _used_cells(reference_counts: ArrayLike, current_counts: ArrayLike) -> tuple[FloatArray, FloatArray]:
    a = as_finite(reference_counts, name="reference counts")
    b = as_finite(current_counts, name="current counts")
    if a.shape != b.shape or not (a.min() >= 0 <= b.min() and a.sum() > 0 < b.sum()):
        raise MeasureError(
            f"got cell counts {a.tolist()} and {b.tolist()}; two equally long lists of counts of at least 0 "
            "with at least one row each are allowed; count both sides by the same edges"
        )
    used = a + b > 0
    return a[used], b[used]


def _need_increasing(reference_sorted: FloatArray, current_sorted: FloatArray) -> None:
    for name, values in (("reference", reference_sorted), ("current", current_sorted)):
        array = np.asarray(values)
        is_plain = array.ndim == 1 and array.size > 0 and array.dtype.kind in "fiu"
        # A missing value fails every comparison, so this finds it wherever it stands.
        if not is_plain or not (array[1:] >= array[:-1]).all() or not np.isfinite(array[[0, -1]]).all():
            raise MeasureError(
                f"{name}: got {array.dtype} values of shape {array.shape}; finite numbers in increasing order "
                "of shape (n,) are allowed; drop missing ones and sort"
            )


def _log_choose(n: int, k: IntArray) -> FloatArray:
    chosen: FloatArray = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return chosen


@lru_cache(maxsize=4)
def _quantile_steps(k: int, m: int) -> tuple[FloatArray, IntArray, IntArray]:
    """Widths of the steps on which both quantile functions are constant, and the position in each array."""
    # In units of 1 / (k m) all steps are whole numbers, so none is lost or doubled by rounding.
    steps = np.union1d(np.arange(0, k + 1) * m, np.arange(0, m + 1) * k)
    return np.diff(steps) / (k * m), steps[:-1] // m, steps[:-1] // k


def _noncentral_tail(value: float, free: int, noncentrality: float) -> float:
    """P(X > value) of a non-central chi2, where `scipy.special.chndtr` alone would lose small tails."""
    # Imported late: it takes 0.2 s, and definitions load without a test.
    from scipy import stats

    return float(stats.ncx2.sf(value, free, noncentrality))
