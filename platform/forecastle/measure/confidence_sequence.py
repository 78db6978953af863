"""Anytime-valid inference on a mean: bounds that hold at every look, e-values that may be watched.

Belongs here: the empirical-Bernstein and the asymptotic confidence sequence, their e-processes and an O(1)
state.
Does not belong here: what is averaged: paired score differences (`comparison.py`), A/B metrics
(`experiment.py`).

Sources: Choe & Ramdas 2023, Operations Research, "Comparing sequential forecasters", theorems 2 and 3 (arXiv
2110.00115); Howard et al. 2021, Annals of Statistics 49(2); Waudby-Smith et al. 2021 (arXiv 2103.06476).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import FloatArray, as_finite, as_numbers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True, eq=False)
class ConfidenceSequence:
    """Running estimate of a mean: arrays of one entry for each observation, in the order of arrival.

    With probability `level` the running true mean lies in [`low`, `high`] at all times together.
    `log_e_positive` is the log e-value against "the mean is never above 0", `log_e_negative` against "never
    below 0"; an e-value of 1/alpha or more rejects at alpha, whenever one looks.
    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    log_e_positive: FloatArray
    log_e_negative: FloatArray
    level: float


@dataclass(frozen=True, slots=True)
class SequenceState:
    """All that the empirical-Bernstein sequence remembers: updating costs O(1), whatever came before.

    `width` bounds the values: all lie in [-width/2, width/2]. `v_opt` is the variance sum at which the bound
    is tightest; it must be fixed before the first look. `variance` sums squared distances from the mean
    before each.
    """

    width: float
    level: float = 0.95
    v_opt: float = 100.0
    n: int = 0
    total: float = 0.0
    variance: float = 0.0

    def update(self, value: float) -> SequenceState:
        """The state after one more value.

        Raises:
            MeasureError: the value is not finite or outside [-width/2, width/2].
        """
        if not abs(value) <= self.width / 2:
            raise _too_wide(value, self.width)
        predicted = self.total / self.n if self.n else 0.0
        return replace(self, n=self.n + 1, total=self.total + value, variance=self.variance + (value - predicted) ** 2)

    def update_many(self, values: ArrayLike) -> SequenceState:
        """The state after several values in their order of arrival, at once.

        Raises:
            MeasureError: a value is not finite or outside [-width/2, width/2].
        """
        x = _bounded(values, self.width)
        before = self.total + np.concatenate([[0.0], np.cumsum(x)[:-1]])
        predicted = before / np.maximum(self.n + np.arange(x.size), 1)
        return replace(
            self,
            n=self.n + x.size,
            total=self.total + float(x.sum()),
            variance=self.variance + float(np.sum((x - predicted) ** 2)),
        )

    @property
    def mean(self) -> float:
        """Mean of the values so far; 0 before the first."""
        return self.total / self.n if self.n else 0.0

    def interval(self) -> tuple[float, float]:
        """(low, high) for the mean, valid at all times together; the whole range before the first value."""
        if self.n == 0:
            return -self.width / 2, self.width / 2
        bound = boundary(max(self.variance, 1.0), width=self.width, level=self.level, v_opt=self.v_opt)
        half = float(bound) / self.n
        return max(self.mean - half, -self.width / 2), min(self.mean + half, self.width / 2)

    def log_e_values(self) -> tuple[float, float]:
        """Log e-values (against "never above 0", against "never below 0")."""
        sums = np.array([self.total, -self.total])
        up, down = log_mixture(sums, self.variance, width=self.width, level=self.level, v_opt=self.v_opt)
        return float(up), float(down)


def confidence_sequence(
    values: ArrayLike, *, width: float, level: float = 0.95, v_opt: float = 100.0, horizon: int = 1
) -> ConfidenceSequence:
    """Empirical-Bernstein confidence sequence of the running mean of values within [-width/2, width/2].

    With `horizon` h above 1 (an outcome is known h steps after its forecast) the values are split into h
    interleaved sequences; the e-values are averaged and the bounds, each at level 1 − alpha/h, are averaged
    with their counts. The bounds stay valid at all times; the averaged e-value only at a time that was fixed
    beforehand.

    Raises:
        MeasureError: values that are not finite or exceed the width, or options out of range.
    """
    x = _bounded(values, width)
    if not 1 <= horizon <= x.size:
        raise MeasureError(f"horizon must lie between 1 and the number of values ({x.size}), got {horizon}")
    part_level = 1 - (1 - level) / horizon
    time = np.arange(1, x.size + 1)
    low, high = np.zeros(x.size), np.zeros(x.size)
    log_e = np.full((2, x.size), -math.inf)
    for k in range(horizon):
        part = _sequence(x[k::horizon], width=width, level=part_level, v_opt=v_opt)
        seen = (time - 1 - k) // horizon + 1
        known = seen > 0
        last = np.maximum(seen - 1, 0)
        low += np.where(known, seen * part.low[last], 0.0)
        high += np.where(known, seen * part.high[last], 0.0)
        both = np.stack([part.log_e_positive[last], part.log_e_negative[last]])
        log_e = np.logaddexp(log_e, np.where(known, both, 0.0))
    log_e -= math.log(horizon)
    return ConfidenceSequence(np.cumsum(x) / time, low / time, high / time, log_e[0], log_e[1], level)


def asymptotic_sequence(values: ArrayLike, *, level: float = 0.95, n_opt: float = 1000.0) -> ConfidenceSequence:
    """Asymptotic confidence sequence of the running mean of unbounded values, such as log score differences.

    It needs no width but some dozens of values before it is trusted; until the values vary the bounds are
    infinite and the e-values 1. One-sided e-values mix over a half-normal: twice the two-sided one times Φ.

    Raises:
        MeasureError: values that are not finite, or options out of range.
    """
    x = as_finite(values, name="values")
    time = np.arange(1, x.size + 1)
    centre = x.mean()  # any constant would do; this one keeps the squares' digits
    mean = np.cumsum(x - centre) / time
    variance = np.maximum(np.cumsum((x - centre) ** 2) / time - mean**2, 0.0)
    varies = variance > 1e-12 * np.maximum(mean**2, np.finfo(float).tiny)
    mean += centre
    error = np.where(varies, np.sqrt(variance / time), 1.0)
    half = np.where(varies, asymptotic_half_width(error, time, level=level, n_opt=n_opt), np.inf)
    z = np.where(varies, mean / error, 0.0)
    two_sided = asymptotic_log_e(z, time, level=level, n_opt=n_opt)
    information = time * _r2(level, n_opt)
    reach = z * np.sqrt(information / (information + 1))
    up, down = (np.where(varies, two_sided + math.log(2) + special.log_ndtr(sign * reach), 0.0) for sign in (1, -1))
    return ConfidenceSequence(mean, mean - half, mean + half, up, down, level)


def log_mixture(
    sums: ArrayLike, variance: ArrayLike, *, width: float, level: float = 0.95, v_opt: float = 100.0
) -> FloatArray:
    """Log of the gamma-exponential mixture supermartingale at a sum and a variance sum (arrays broadcast).

    m = k^k e^-k / (Γ(k) P(k, k)) · M(1, A+1, B) / A with k = rho/c², A = (v+rho)/c², B = (c·s+v+rho)/c², c
    the width (Howard et al. 2021, proposition 9, rewritten with Kummer's M so that neither tail underflows);
    for B <= 0 its limit M = 1.

    Raises:
        MeasureError: width, level or v_opt out of range, a negative variance sum, or numbers not finite.
    """
    s, v = np.broadcast_arrays(as_numbers(sums, name="sums"), _as_variance(variance))
    rho = _rho(width, level, v_opt)
    a = (v + rho) / width**2
    distance = s / width  # B - A
    positive = distance > 0
    log_tail = np.empty_like(a)
    up, over = a[positive], distance[positive]
    log_tail[positive] = np.log(special.gammainc(up, up + over)) + _log_gamma_ratio(up, over)
    down, under = a[~positive], distance[~positive]
    kummer = special.hyp1f1(1.0, down + 1.0, np.maximum(down + under, 0.0))
    log_tail[~positive] = np.log(kummer) - np.log(down)
    return np.asarray(_log_constant(rho / width**2) + log_tail)


def boundary(variance: ArrayLike, *, width: float, level: float = 0.95, v_opt: float = 100.0) -> FloatArray:
    """The sum u(v) at which the mixture reaches 2/alpha: |sum of deviations| stays below it at all times.

    The log mixture is convex in the sum, so Newton steps from the right of the root come down to it without
    overshooting; the first step may start on its left.

    Raises:
        MeasureError: width, level or v_opt out of range, a negative variance sum, or numbers not finite.
    """
    v = _as_variance(variance)
    rho = _rho(width, level, v_opt)
    target = math.log(2 / (1 - level)) - _log_constant(rho / width**2)
    a = (v + rho) / width**2
    distance = np.sqrt(2 * a * (target + 2 * np.log1p(a))) + 1.0
    for _ in range(50):
        inside = special.gammainc(a, a + distance)
        ratio = _log_gamma_ratio(a, distance)
        slope = (np.exp(-ratio) / inside + distance) / (a + distance)
        step = (np.log(inside) + ratio - target) / slope
        distance = distance - step
        if np.all(np.abs(step) <= 1e-12 * distance):
            break
    return np.asarray(distance * width)


def asymptotic_half_width(
    standard_error: ArrayLike, n: ArrayLike, *, level: float = 0.95, n_opt: float = 1000.0
) -> FloatArray:
    """Half width of the asymptotic confidence sequence of an estimate with this standard error at n values.

    For unbounded values and smooth functions of means; valid from moderate n on, tightest near `n_opt`
    (Waudby-Smith et al. 2021, theorem 2.2).

    Raises:
        MeasureError: level or n_opt out of range, n not above 0, or numbers that are not finite.
    """
    se, count = as_numbers(standard_error, name="standard error"), _as_positive(n, "n")
    information = count * _r2(level, n_opt)
    return np.asarray(
        se * np.sqrt(2 * (information + 1) / information * np.log(np.sqrt(information + 1) / (1 - level)))
    )


def asymptotic_log_e(z: ArrayLike, n: ArrayLike, *, level: float = 0.95, n_opt: float = 1000.0) -> FloatArray:
    """Log e-value of a z statistic after n values, dual to `asymptotic_half_width` (two-sided).

    Raises:
        MeasureError: level or n_opt out of range, n not above 0, or numbers that are not finite.
    """
    information = _as_positive(n, "n") * _r2(level, n_opt)
    squared = as_numbers(z, name="z") ** 2
    return np.asarray(information * squared / (2 * (information + 1)) - 0.5 * np.log(information + 1))


def _sequence(x: FloatArray, *, width: float, level: float, v_opt: float) -> ConfidenceSequence:
    time, sums = np.arange(1, x.size + 1), np.cumsum(x)
    predicted = np.concatenate([[0.0], sums[:-1] / time[:-1]])
    variance = np.cumsum((x - predicted) ** 2)
    half = boundary(np.maximum(variance, 1.0), width=width, level=level, v_opt=v_opt) / time
    mean = sums / time
    up, down = (log_mixture(signed, variance, width=width, level=level, v_opt=v_opt) for signed in (sums, -sums))
    return ConfidenceSequence(
        mean, np.maximum(mean - half, -width / 2), np.minimum(mean + half, width / 2), up, down, level
    )


def _as_variance(variance: ArrayLike) -> FloatArray:
    v = as_numbers(variance, name="variance sum")
    if (v < 0).any():
        raise MeasureError(f"variance sum: got {v.min():g}; at least 0 is allowed; pass a sum of squares")
    return v


def _as_positive(n: ArrayLike, name: str) -> FloatArray:
    count = as_numbers(n, name=name)
    if (count <= 0).any():
        raise MeasureError(f"{name}: got {count.min():g}; more than 0 is allowed; wait for the first value")
    return count


def _rho(width: float, level: float, v_opt: float) -> float:
    if not (width > 0 and math.isfinite(width)):
        raise MeasureError(f"width must be positive and finite, got {width}: values lie in [-width/2, width/2]")
    if not 0 < level < 1 or not v_opt > 0:
        raise MeasureError(f"level must lie in (0, 1) and v_opt above 0, got {level} and {v_opt}")
    # One side of a two-sided bound gets alpha/2, so ln(1 / (2 · alpha/2)) = ln(1 / alpha).
    logarithm = 2 * math.log(1 / (1 - level))
    return v_opt / (logarithm + math.log1p(logarithm))


def _r2(level: float, n_opt: float) -> float:
    if not 0 < level < 1 or not n_opt > 0:
        raise MeasureError(f"level must lie in (0, 1) and n_opt above 0, got {level} and {n_opt}")
    logarithm = -2 * math.log(1 - level)
    return (logarithm + math.log1p(logarithm)) / n_opt


def _log_constant(k: float) -> float:
    return float(-_stirling(np.asarray(k)) - math.log(special.gammainc(k, k)))


def _log_gamma_ratio(a: FloatArray, distance: FloatArray) -> FloatArray:
    """Log of Γ(a) B^-a e^B with B = a + distance, without the cancellation of its three large terms."""
    x = distance / a
    return np.asarray(_stirling(a) + a * (x - np.log1p(x)))


def _stirling(a: FloatArray) -> FloatArray:
    """Log of Γ(a) e^a a^-a, by Stirling's series where the terms would cancel."""
    large = np.maximum(a, 30.0)
    series = 0.5 * np.log(2 * math.pi / large) + 1 / (12 * large) - 1 / (360 * large**3) + 1 / (1260 * large**5)
    return np.where(a > 30, series, special.gammaln(a) - a * np.log(a) + a)


def _bounded(values: ArrayLike, width: float) -> FloatArray:
    x = as_finite(values, name="values")
    worst = float(x[np.argmax(np.abs(x))])
    if abs(worst) > width / 2:
        raise _too_wide(worst, width)
    return x


def _too_wide(value: float, width: float) -> MeasureError:
    return MeasureError(
        f"values must lie in [-{width / 2:g}, {width / 2:g}], got {value}: fix the width before looking, "
        "clip probabilities by contract, or use the asymptotic sequence"
    )
