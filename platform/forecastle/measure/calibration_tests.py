"""One-line summaries and tests of calibration: Spiegelhalter, Cox, in the large, expected over observed,
binned.

Belongs here: numbers with closed forms or a two-parameter fit, each with its standard error, p-value or
interval.
Does not belong here: tests without bins (`cumulative`), resampled ones (`bands`), segments (`segments`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import chdtrc, expit, logit, ndtr

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_finite
from forecastle.measure.intervals import clopper_pearson
from forecastle.measure.isotonic import Cells, need_unweighted

if TYPE_CHECKING:
    from forecastle.measure.arrays import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class SpiegelhalterTest:
    """Z and its two-sided p-value; blind to shifts of forecasts near 0.5, so one line among others."""

    z: float
    p_value: float


@dataclass(frozen=True, slots=True)
class CoxCalibration:
    """Fit of logit P(y = 1) = intercept + slope logit(p); calibrated means slope 1, intercept 0.

    `certain_rows` counts rows with p of 0 or 1, which have no logit and are left out.
    """

    slope: float
    slope_standard_error: float
    intercept: float
    intercept_standard_error: float
    certain_rows: int


@dataclass(frozen=True, slots=True)
class CalibrationInTheLarge:
    """Intercept of logit P(y = 1) = intercept + logit(p): 0 when calibrated on average, negative when p is
    high.
    """

    intercept: float
    standard_error: float
    certain_rows: int


@dataclass(frozen=True, slots=True)
class ExpectedOverObserved:
    """Expected events (sum of p) over observed ones with an exact interval; above 1 means p is too high.

    The ratio is infinite when nothing happened; the interval then still has a finite lower end.
    """

    expected: float
    observed: float
    ratio: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class BinnedCalibration:
    """Equal-mass binned errors: plug-in `absolute` (ECE) and `squared`, and the `debiased_squared` of Kumar
    et al.

    The plug-in values grow with the number of bins even when calibrated; the debiased one may be below zero.
    """

    bins: int
    absolute: float
    squared: float
    debiased_squared: float


@dataclass(frozen=True, slots=True)
class HosmerLemeshow:
    """Chi-square of equal-mass bins with as many degrees of freedom as bins (external data)."""

    statistic: float
    degrees_of_freedom: int
    p_value: float


def spiegelhalter_test(cells: Cells) -> SpiegelhalterTest:
    """Z = sum w (y - p)(1 - 2p) / sqrt(sum w² (1 - 2p)² p (1 - p)), two-sided.

    When no forecast carries information for it (all p are 0, 0.5 or 1) Z is 0, or infinite if certain ones
    were wrong.
    Source: Spiegelhalter 1986, Statistics in Medicine 5, 421.
    """
    p = cells.probabilities
    leverage = 1.0 - 2.0 * p
    excess = float((cells.events - cells.weights * p) @ leverage)
    variance = float(cells.squared_weights @ (leverage**2 * p * (1.0 - p)))
    z = excess / variance**0.5 if variance > 0.0 else (float(np.sign(excess)) * np.inf if excess else 0.0)
    return SpiegelhalterTest(z=z, p_value=2.0 * float(ndtr(-abs(z))))


def cox_calibration(cells: Cells) -> CoxCalibration:
    """Calibration slope and intercept by maximum likelihood (Cox 1958, Biometrika 45, 562).

    Raises:
        MeasureError: one class only, one distinct probability, or outcomes that the forecasts separate
        perfectly.
    """
    x, weights, events, certain = _logits(cells)
    if x.size < 2:
        raise MeasureError(
            "calibration slope: got one distinct probability; at least two are needed; use calibration in the large"
        )
    design = np.column_stack([np.ones_like(x), x])
    (intercept, slope), covariance = _fit_logistic(design, weights, events, np.zeros_like(x), np.array([0.0, 1.0]))
    errors = np.sqrt(np.diag(covariance))
    return CoxCalibration(float(slope), float(errors[1]), float(intercept), float(errors[0]), certain)


def calibration_in_the_large(cells: Cells) -> CalibrationInTheLarge:
    """Intercept with slope fixed at 1, by maximum likelihood (Cox 1958, Biometrika 45, 562).

    Raises:
        MeasureError: one class only.
    """
    x, weights, events, certain = _logits(cells)
    coefficients, covariance = _fit_logistic(np.ones((x.size, 1)), weights, events, x, np.zeros(1))
    return CalibrationInTheLarge(float(coefficients[0]), float(covariance[0, 0] ** 0.5), certain)


def expected_over_observed(cells: Cells, *, level: float = 0.95) -> ExpectedOverObserved:
    """E/O ratio; the interval divides E by the Clopper–Pearson bounds of the observed count, so it is
    conservative.

    Raises:
        MeasureError: weighted rows, or a level outside (0, 1).
    """
    need_unweighted(cells, what="expected over observed")
    expected, observed = float(cells.weights @ cells.probabilities), float(cells.events.sum())
    rate_low, rate_high = (float(bound) for bound in clopper_pearson(observed, cells.rows, level=level))
    return ExpectedOverObserved(
        expected=expected,
        observed=observed,
        ratio=ratio(expected, observed),
        low=ratio(expected, cells.rows * rate_high),
        high=ratio(expected, cells.rows * rate_low),
        level=level,
    )


def binned_calibration(cells: Cells, *, bins: int = 15) -> BinnedCalibration:
    """Errors over bins of nearly equal mass (ties stay together, so there may be fewer bins).

    Debiased: sum of w_b [(ybar - pbar)² - ybar (1 - ybar) / (n_b - 1)] (Kumar, Liang and Ma 2019, NeurIPS);
    bins of one row keep their plug-in term.

    Raises:
        MeasureError: weighted rows, or fewer than one bin.
    """
    need_unweighted(cells, what="binned calibration error")
    n, expected, observed = _equal_mass_bins(cells, bins)
    share, rate, gap = n / cells.rows, observed / n, (observed - expected) / n
    noise = rate * (1.0 - rate) / np.maximum(n - 1.0, 1.0)
    return BinnedCalibration(
        bins=n.size,
        absolute=float(share @ np.abs(gap)),
        squared=float(share @ gap**2),
        debiased_squared=float(share @ (gap**2 - noise)),
    )


def hosmer_lemeshow(cells: Cells, *, bins: int = 10) -> HosmerLemeshow:
    """Sum of (O - E)² / (E (1 - E/n)) over equal-mass bins; infinite when a certain bin was wrong.

    Kept because people know it: it depends on the bins and, at large n, rejects what does not matter.
    Source: Hosmer and Lemeshow 1980, Commun. Statist. A9, 1043; degrees of freedom for external data.

    Raises:
        MeasureError: weighted rows, or fewer than one bin.
    """
    need_unweighted(cells, what="Hosmer–Lemeshow test")
    n, expected, observed = _equal_mass_bins(cells, bins)
    variance = expected * (1.0 - expected / n)
    squares = (observed - expected) ** 2
    certain = variance <= 0.0
    wrong = bool((squares[certain] > 0.0).any())
    statistic = np.inf if wrong else float((squares[~certain] / variance[~certain]).sum())
    return HosmerLemeshow(statistic, n.size, float(chdtrc(n.size, statistic)) if not wrong else 0.0)


def ratio(numerator: float, denominator: float) -> float:
    """`numerator` / `denominator`, infinite over zero, and 1 for zero over zero.

    Raises:
        MeasureError: a number that is not finite.
    """
    as_finite([numerator, denominator], name="numerator and denominator")
    if denominator > 0.0:
        return numerator / denominator
    return np.inf if numerator > 0.0 else 1.0


def _logits(cells: Cells) -> tuple[FloatArray, FloatArray, FloatArray, int]:
    inside = (cells.probabilities > 0.0) & (cells.probabilities < 1.0)
    weights, events = cells.weights[inside], cells.events[inside]
    happened, total = float(events.sum()), float(weights.sum())
    if not 0.0 < happened < total:
        raise MeasureError(
            f"calibration regression: got {happened:g} events in {total:g} rows with 0 < p < 1; "
            "both outcomes are needed; widen the window, or leave slope and intercept out"
        )
    certain = round(float(cells.weights[~inside].sum()))
    return logit(cells.probabilities[inside]), weights, events, certain


def _fit_logistic(
    design: FloatArray, weights: FloatArray, events: FloatArray, offset: FloatArray, start: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Coefficients and their covariance by damped Newton steps on pooled rows."""
    coefficients, loss = start, np.inf
    step = np.zeros_like(start)
    for _ in range(50):
        linear = offset + design @ coefficients
        new_loss = float(weights @ np.logaddexp(0.0, linear) - events @ linear)
        if new_loss > loss + 1e-9 * abs(loss):
            step *= 0.5
            coefficients = coefficients - step
            continue
        loss = new_loss
        rate = expit(linear)
        information = design.T @ (design * (weights * rate * (1.0 - rate))[:, None])
        if np.linalg.cond(information) > 1e14:
            break
        step = np.linalg.solve(information, design.T @ (events - weights * rate))
        coefficients = coefficients + step
        if float(np.abs(step).max()) < 1e-10:
            return coefficients, np.linalg.inv(information)
    raise MeasureError(
        "calibration regression: the likelihood has no maximum (the forecasts separate the outcomes); "
        "more rows are needed, or leave slope and intercept out"
    )


def _equal_mass_bins(cells: Cells, bins: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rows, expected and observed events of each non-empty bin."""
    if bins < 1:
        raise MeasureError(f"bins: got {bins}; at least 1 is allowed; 10 or 15 are usual")
    bin_of_cell = _bin_of_cell(cells, bins)
    starts = np.flatnonzero(np.diff(bin_of_cell, prepend=-1))
    return (
        np.add.reduceat(cells.weights, starts),
        np.add.reduceat(cells.weights * cells.probabilities, starts),
        np.add.reduceat(cells.events, starts),
    )


def _bin_of_cell(cells: Cells, bins: int) -> IntArray:
    """The bin of each cell's middle row; of n rows the first n mod `bins` bins get one more."""
    bins = min(bins, cells.rows)
    size, longer = divmod(cells.rows, bins)
    middle = np.floor(np.cumsum(cells.weights) - 0.5 * cells.weights).astype(np.int64)
    split = longer * (size + 1)
    return np.where(middle < split, middle // (size + 1), longer + (middle - split) // size)
