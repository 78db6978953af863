"""Bands for reliability curves: where a calibrated forecast would fall, and where the true curve may lie.

Belongs here: the consistency band about the diagonal with the resampling test of miscalibration, and the
honest simultaneous band with the ranges in which it excludes the diagonal.
Does not belong here: the reliability curve itself (`curves`), pictures (`draw/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from scipy.special import airy, betainccinv, betaincinv

from forecastle.contract.errors import MeasureError
from forecastle.measure.isotonic import Cells, need_unweighted
from forecastle.measure.scores import normal_quantile
from forecastle.measure.smooth import grid_positions, reflected_spectrum, smoothed

if TYPE_CHECKING:
    from forecastle.measure.arrays import FloatArray, IntArray

BandMethod = Literal["resampling", "asymptotic_discrete", "asymptotic_continuous"]


@dataclass(frozen=True, slots=True, eq=False)
class ConsistencyBand:
    """Pointwise band about the diagonal; `table` has `probability`, `low`, `high`.

    A calibrated forecast's reliability curve lies inside at each probability with chance `level`. Resampling
    also gives `miscalibration` (Brier) and its p-value, (1 + resamples at least as large) / (1 + resamples);
    else None.
    """

    table: pd.DataFrame
    level: float
    method: BandMethod
    resamples: int
    miscalibration: float | None
    miscalibration_p_value: float | None


@dataclass(frozen=True, slots=True)
class MiscalibratedRange:
    """Forecasts from `low` to `high` that are too high or too low for every curve in the honest band."""

    low: float
    high: float
    direction: Literal["too_high", "too_low"]


@dataclass(frozen=True, slots=True, eq=False)
class HonestBand:
    """Simultaneous band of the true, non-decreasing event rate; `table` has `probability`, `low`, `high`.

    Between two rows `low` extends from the left one and `high` from the right one. With chance at least
    `level` the whole curve lies inside, so every range of `miscalibrated` is a finding without further
    correction.
    """

    table: pd.DataFrame
    level: float
    resolution: int
    miscalibrated: tuple[MiscalibratedRange, ...]


def consistency_band(
    cells: Cells, *, level: float = 0.9, resamples: int = 100, points: int = 200, seed: int
) -> ConsistencyBand:
    """Band by resampling: outcomes redrawn as Bernoulli(p), refitted, pointwise quantiles of the fitted
    rates.

    At most about 2 `points` probabilities are kept, spread evenly over forecasts and over values.
    Source: Dimitriadis, Gneiting and Jordan 2021, PNAS 118(8).

    Raises:
        MeasureError: weighted rows, a level outside (0, 1), fewer than 20 resamples.
    """
    need_unweighted(cells, what="consistency band")
    normal_quantile(level)
    if resamples < 20:
        raise MeasureError(f"resamples: got {resamples}; at least 20 are allowed; 100 suit a 90 % band")
    generator = np.random.default_rng(seed)
    kept = _spread_positions(cells, points)
    rates, null = np.empty((resamples, kept.size)), np.empty(resamples)
    counts = cells.weights.astype(np.int64)
    for i in range(resamples):
        events = _draw_events(generator, counts, cells.probabilities)
        fitted, null[i] = _fit_and_miscalibration(cells, events)
        rates[i] = fitted[kept]
    observed = _fit_and_miscalibration(cells, cells.events)[1]
    low, high = np.quantile(rates, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
    p = cells.probabilities[kept]
    return ConsistencyBand(
        table=pd.DataFrame({"probability": p, "low": np.minimum(low, p), "high": np.maximum(high, p)}),
        level=level,
        method="resampling",
        resamples=resamples,
        miscalibration=observed,
        miscalibration_p_value=float((1 + np.count_nonzero(null >= observed)) / (1 + resamples)),
    )


def asymptotic_consistency_band(cells: Cells, *, level: float = 0.9, points: int = 101) -> ConsistencyBand:
    """Band from limit theory, instant at any size; as `consistency_band` without the test.

    With n >= 8 K² rows on K values it is normal, p ± z sqrt(p (1 - p) / n_p) at the values; else it is
    p ± (4 p (1 - p) / (n f(p)))^(1/3) q, with f the density of the forecasts and q Chernoff's quantile
    (Wright 1981, Ann. Statist. 9, 443).

    Raises:
        MeasureError: weighted rows, or a level outside (0, 1).
    """
    need_unweighted(cells, what="consistency band")
    z = normal_quantile(level)
    method: BandMethod
    if cells.rows >= 8 * cells.probabilities.size**2:
        method, p = "asymptotic_discrete", cells.probabilities
        half = z * np.sqrt(p * (1.0 - p) / cells.weights)
    else:
        method, p = "asymptotic_continuous", np.linspace(0.0, 1.0, points)
        density = np.interp(p, grid_positions(), _density(cells))
        cubes = 4.0 * p * (1.0 - p) / (cells.rows * np.maximum(density, 1e-12))
        half = np.cbrt(cubes) * chernoff_quantile(0.5 + 0.5 * level)
    low, high = np.maximum(p - half, 0.0), np.minimum(p + half, 1.0)
    table = pd.DataFrame({"probability": p, "low": low, "high": high})
    return ConsistencyBand(table, level, method, 0, None, None)


def honest_band(cells: Cells, *, level: float = 0.9, resolution: int | None = None) -> HonestBand:
    """Simultaneous band of the true event rate, exact at every sample size, assuming only that it does not
    fall.

    Clopper–Pearson bounds of all blocks of neighbouring probability cells, each at (1 - level)/(K (K + 1)).
    Probabilities are rounded to 1/`resolution` (down for the upper bound, up for the lower one, which keeps
    the band honest); by default 50 cells below 5,000 rows, 100 below 30,000 and 200 from there on, near where
    an over-confident forecast was found over the widest range. Source: Dimitriadis,
    Dümbgen, Henzi, Puke and Ziegel 2023, Biometrika, arXiv:2203.04065.

    Raises:
        MeasureError: weighted rows, a level outside (0, 1), a resolution outside 1 … 2000.
    """
    need_unweighted(cells, what="honest band")
    normal_quantile(level)
    resolution = _default_resolution(cells.rows) if resolution is None else resolution
    if not 1 <= resolution <= 2000:
        raise MeasureError(f"resolution: got {resolution}; 1 to 2000 cells are allowed; 50 or 200 are usual")
    upper_at, upper = _upper_bounds(cells, level, resolution)
    lower_at, lower = _lower_bounds(cells, level, resolution)
    knots = np.union1d(np.union1d(upper_at, lower_at), [0.0, 1.0])
    next_upper = np.append(upper, 1.0)[np.searchsorted(upper_at, knots, side="left")]
    last_lower = np.concatenate([[0.0], lower])[np.searchsorted(lower_at, knots, side="right")]
    return HonestBand(
        table=pd.DataFrame({"probability": knots, "low": last_lower, "high": next_upper}),
        level=level,
        resolution=resolution,
        miscalibrated=_excluded_ranges(knots, last_lower, next_upper),
    )


def chernoff_quantile(probability: float) -> float:
    """Quantile of Chernoff's distribution, the argmax of two-sided Brownian motion minus t².

    Its density is g(x) g(-x) / 2 with Fourier transform of g equal to 2^(1/3) / Ai(i 2^(-1/3) s) (Groeneboom
    and Wellner 2001, JCGS 10, 388); integrated here by the trapezoid rule, which converges exponentially.
    """
    if not 0.0005 <= probability <= 0.9995:
        raise MeasureError(f"probability: got {probability:g}; allowed is 0.0005 to 0.9995; choose a smaller level")
    s = np.linspace(-14.0, 14.0, 701)
    x = np.linspace(-3.0, 3.0, 2001)
    transform = 2.0 ** (1 / 3) / airy(1j * 2.0 ** (-1 / 3) * s)[0]
    g = (np.exp(-1j * np.outer(x, s)) @ transform).real * (s[1] - s[0]) / (2.0 * np.pi)
    density = 0.5 * g * g[::-1]
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1])) * (x[1] - x[0])])
    return float(np.interp(probability, cumulative / cumulative[-1], x))


def _default_resolution(rows: int) -> int:
    return 50 if rows < 5_000 else 100 if rows < 30_000 else 200


def _spread_positions(cells: Cells, points: int) -> IntArray:
    size = cells.probabilities.size
    by_rank = np.linspace(0, size - 1, min(points, size)).astype(np.int64)
    by_value = np.searchsorted(cells.probabilities, np.linspace(0.0, 1.0, points))
    return np.union1d(by_rank, np.minimum(by_value, size - 1))


def _draw_events(generator: np.random.Generator, counts: IntArray, probabilities: FloatArray) -> FloatArray:
    if counts.size and counts.max() == 1:  # ten times faster than binomial draws of size one
        return (generator.random(counts.size) < probabilities).astype(np.float64)
    return generator.binomial(counts, probabilities).astype(np.float64)


def _fit_and_miscalibration(cells: Cells, events: FloatArray) -> tuple[FloatArray, float]:
    """Isotonic rates and the Brier miscalibration: blocks are means, so sum e q equals sum w q²."""
    # Imported late, as in `isotonic`: definitions load without a fit.
    from scipy.optimize import isotonic_regression

    fit = isotonic_regression(events / cells.weights, weights=cells.weights)
    p = cells.probabilities
    squares = cells.weights @ (p * p) - 2.0 * (events @ p) + cells.weights @ (fit.x * fit.x)
    return fit.x, max(0.0, float(squares)) / cells.total


def _density(cells: Cells) -> FloatArray:
    """Density of the forecasts by a reflected Gaussian kernel with Silverman's bandwidth."""
    share = cells.weights / cells.total
    mean = float(share @ cells.probabilities)
    deviation = float(np.sqrt(share @ (cells.probabilities - mean) ** 2))
    quartiles = np.interp([0.25, 0.75], np.cumsum(share), cells.probabilities)
    spread = min(deviation, float(quartiles[1] - quartiles[0]) / 1.349) or deviation
    bandwidth = max(0.9 * spread * cells.rows**-0.2, 1e-3)
    return smoothed(reflected_spectrum(cells.probabilities, share), bandwidth)


def _upper_bounds(cells: Cells, level: float, resolution: int) -> tuple[FloatArray, FloatArray]:
    """Smallest upper bound of any block that starts at or after each knot."""
    starts = _block_starts(np.floor(cells.probabilities * resolution))
    first, _, events, rows, tail = _blocks(cells, starts, level)
    bounds = np.where(events == rows, 1.0, betainccinv(events + 1.0, np.maximum(rows - events, 1.0), tail))
    best = np.ones(starts.size)
    np.minimum.at(best, first, bounds)
    return cells.probabilities[starts], np.minimum.accumulate(best[::-1])[::-1]


def _lower_bounds(cells: Cells, level: float, resolution: int) -> tuple[FloatArray, FloatArray]:
    """Largest lower bound of any block that ends at or before each knot."""
    starts = _block_starts(np.ceil(cells.probabilities * resolution))
    _, last, events, rows, tail = _blocks(cells, starts, level)
    bounds = np.where(events == 0.0, 0.0, betaincinv(np.maximum(events, 1.0), rows - events + 1.0, tail))
    best = np.zeros(starts.size)
    np.maximum.at(best, last, bounds)
    ends = np.append(starts[1:], cells.probabilities.size) - 1
    return cells.probabilities[ends], np.maximum.accumulate(best)


def _block_starts(rounded: FloatArray) -> IntArray:
    return np.flatnonzero(np.diff(rounded, prepend=-1.0))


def _blocks(cells: Cells, starts: IntArray, level: float) -> tuple[IntArray, IntArray, FloatArray, FloatArray, float]:
    """All runs first … last of the K merged cells with their events and rows, and the tail of each bound."""
    events = np.concatenate([[0.0], np.cumsum(np.add.reduceat(cells.events, starts))])
    rows = np.concatenate([[0.0], np.cumsum(np.add.reduceat(cells.weights, starts))])
    first, last = np.triu_indices(starts.size)
    tail = (1.0 - level) / (starts.size * (starts.size + 1.0))
    return first, last, events[last + 1] - events[first], rows[last + 1] - rows[first], tail


def _excluded_ranges(knots: FloatArray, lower: FloatArray, upper: FloatArray) -> tuple[MiscalibratedRange, ...]:
    """Maximal ranges where the diagonal leaves the band, exactly (no grid), in increasing order."""
    too_high = _merged(np.maximum(knots[:-1], upper[1:]), knots[1:])
    too_low = _merged(knots[:-1], np.minimum(knots[1:], lower[:-1]))
    ranges = [MiscalibratedRange(low, high, "too_high") for low, high in too_high]
    ranges += [MiscalibratedRange(low, high, "too_low") for low, high in too_low]
    return tuple(sorted(ranges, key=lambda item: item.low))


def _merged(lows: FloatArray, highs: FloatArray) -> list[tuple[float, float]]:
    """Non-empty intervals, those that touch joined."""
    filled = lows < highs
    lows, highs = lows[filled], highs[filled]
    if lows.size == 0:
        return []
    breaks = np.flatnonzero(lows[1:] > highs[:-1])
    firsts, lasts = np.concatenate([[0], breaks + 1]), np.append(breaks, lows.size - 1)
    return [(float(lows[i]), float(highs[j])) for i, j in zip(firsts, lasts, strict=True)]
