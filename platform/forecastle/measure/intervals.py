"""Confidence intervals for counted proportions, and the standard error of a mean of clustered values.

Belongs here: one proportion (Wilson, Clopper–Pearson), the difference of two, and what is closed-form like them.
Does not belong here: intervals by resampling (`bootstrap.py`) and anytime-valid sequences (`comparison.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import FloatArray, as_codes, as_finite, as_numbers, same_length

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Bounds = tuple[FloatArray, FloatArray]


@dataclass(frozen=True, slots=True)
class ProportionDifference:
    """First proportion minus the second, with its interval and the pooled score test of equality.

    Every field but `level` and `method` is an array of the counts' broadcast shape. `statistic` is the signed
    z of the pooled test (its square is Pearson's X²); `p_value` is two-sided. A side without trials gives the
    interval [-1, 1], a difference and statistic of 0 and a p-value of 1.
    """

    difference: FloatArray
    low: FloatArray
    high: FloatArray
    statistic: FloatArray
    p_value: FloatArray
    level: float
    method: str


def clustered_mean(values: ArrayLike, clusters: ArrayLike) -> tuple[float, float]:
    """Mean of n values and its standard error when rows of one cluster (n labels) move together.

    The error is that of a ratio of cluster sums (Cochran 1977, Sampling Techniques, section 9A.2, equal weights).

    Raises:
        MeasureError: empty, missing, infinite or mismatched input, or fewer than two clusters.
    """
    numbers = as_finite(values, name="values")
    codes, labels = as_codes(clusters, name="clusters")
    same_length(values=numbers, clusters=codes)
    if len(labels) < 2:
        raise MeasureError("got one cluster; at least two are needed to see how much they differ; use finer clusters")
    mean = float(numbers.mean())
    sums = np.bincount(codes, weights=numbers - mean)
    return mean, float(np.sqrt(np.sum(sums**2) * sums.size / (sums.size - 1)) / numbers.size)


def wilson(successes: ArrayLike, n: ArrayLike, *, level: float = 0.95) -> Bounds:
    """Score interval of a proportion: arrays (low, high) of the counts' broadcast shape; [0, 1] where n is 0.

    Wilson 1927, JASA 22(158), 209–212; recommended over Wald by Brown, Cai & DasGupta 2001.

    Raises:
        MeasureError: counts are not 0 <= successes <= n, or level is outside (0, 1).
    """
    x, trials = _as_counts(successes, n)
    z = _as_z(level)
    denominator = trials + z * z
    centre = (x + z * z / 2) / denominator
    half = z * np.sqrt(x * (1 - x / np.maximum(trials, 1)) + z * z / 4) / denominator
    # The bounds are exactly 0 and 1 at the ends; rounding would leave 1e-17 there.
    low = np.where(x == 0, 0.0, np.maximum(centre - half, 0.0))
    return low, np.where(x == trials, 1.0, np.minimum(centre + half, 1.0))


def clopper_pearson(successes: ArrayLike, n: ArrayLike, *, level: float = 0.95) -> Bounds:
    """Exact (never too narrow) interval of a proportion: arrays (low, high); [0, 1] where n is 0.

    Clopper & Pearson 1934, Biometrika 26(4), 404–413, by the beta quantiles.

    Raises:
        MeasureError: counts are not 0 <= successes <= n, or level is outside (0, 1).
    """
    x, trials = _as_counts(successes, n)
    tail = (1 - _as_level(level)) / 2
    low = np.where(x == 0, 0.0, special.betaincinv(np.maximum(x, 1), trials - x + 1, tail))
    high = special.betaincinv(x + 1, np.maximum(trials - x, 1), 1 - tail)
    return low, np.where(x == trials, 1.0, high)


def two_proportions(
    successes_a: ArrayLike,
    n_a: ArrayLike,
    successes_b: ArrayLike,
    n_b: ArrayLike,
    *,
    level: float = 0.95,
    method: Literal["newcombe", "wald"] = "newcombe",
) -> ProportionDifference:
    """Compare two independent proportions, a minus b.

    `newcombe` joins two Wilson intervals (Newcombe 1998, Statistics in Medicine 17, 873–890, method 10) and
    holds at small counts; `wald` is the textbook interval. The test is Pearson's, without continuity
    correction.

    Raises:
        MeasureError: counts are not 0 <= successes <= n, level is outside (0, 1), or method is unknown.
    """
    if method not in ("newcombe", "wald"):
        raise MeasureError(f"method must be 'newcombe' or 'wald', got {method!r}")
    x_a, trials_a = _as_counts(successes_a, n_a)
    x_b, trials_b = _as_counts(successes_b, n_b)
    empty = (trials_a == 0) | (trials_b == 0)
    m_a, m_b = np.maximum(trials_a, 1), np.maximum(trials_b, 1)
    p_a, p_b = x_a / m_a, x_b / m_b
    difference = np.where(empty, 0.0, p_a - p_b)
    if method == "wald":
        below = above = _as_z(level) * np.sqrt(p_a * (1 - p_a) / m_a + p_b * (1 - p_b) / m_b)
    else:
        low_a, high_a = wilson(x_a, trials_a, level=level)
        low_b, high_b = wilson(x_b, trials_b, level=level)
        below, above = np.hypot(p_a - low_a, high_b - p_b), np.hypot(high_a - p_a, p_b - low_b)
    statistic = _pooled_z(difference, (x_a + x_b) / (m_a + m_b), 1 / m_a + 1 / m_b)
    low = np.where(empty, -1.0, np.maximum(difference - below, -1.0))
    high = np.where(empty, 1.0, np.minimum(difference + above, 1.0))
    p_value = np.asarray(2 * special.ndtr(-np.abs(statistic)))
    return ProportionDifference(difference, low, high, statistic, p_value, level, method)


def _pooled_z(difference: FloatArray, pooled: FloatArray, inverse_n: FloatArray) -> FloatArray:
    se = np.sqrt(pooled * (1 - pooled) * inverse_n)
    return np.divide(difference, se, out=np.zeros_like(se), where=se > 0)


def _as_counts(successes: ArrayLike, n: ArrayLike) -> Bounds:
    try:
        x, trials = np.broadcast_arrays(as_numbers(successes, name="successes"), as_numbers(n, name="n"))
    except ValueError as error:
        raise MeasureError(f"counts: {error}; give one n for each count, or one for all") from None
    bad = ~((x >= 0) & (x <= trials))
    if bad.any():
        place = int(np.argmax(bad))
        raise MeasureError(
            f"counts must satisfy 0 <= successes <= n, got {x.flat[place]:g} of {trials.flat[place]:g} "
            f"at position {place}: pass counts, not rates"
        )
    return x, trials


def _as_z(level: float) -> float:
    return float(special.ndtri(0.5 + _as_level(level) / 2))


def _as_level(level: float) -> float:
    if not 0 < level < 1:
        raise MeasureError(f"level must lie strictly between 0 and 1 (0.95 for 95 %), got {level}")
    return level
