"""Cumulative calibration errors (ECCE): calibration without bins, with exact limit distributions.

Belongs here: the range and maximum of cumulative differences, their scale, p-values, the two distribution
functions.
Does not belong here: the curve as a table (`curves`), one test for each segment (`segments`).
Source: Arrieta-Ibarra, Gujral, Tannen, Tygert and Xu 2022, JMLR 23(351).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from forecastle.measure.arrays import FloatArray, as_finite

if TYPE_CHECKING:
    from forecastle.measure.isotonic import Cells

_TERMS = np.arange(60)


@dataclass(frozen=True, slots=True)
class CumulativeCalibration:
    """ECCE-R (`range`) and ECCE-MAD (`maximum`) in probability units, in units of `sigma`, and their
    p-values.

    When every forecast is 0 or 1, `sigma` is 0: the p-values are 1 if all were right, else 0 with infinite
    ratios.
    """

    range: float
    maximum: float
    sigma: float
    range_in_sigma: float
    maximum_in_sigma: float
    range_p_value: float
    maximum_p_value: float


def cumulative_calibration(cells: Cells) -> CumulativeCalibration:
    """ECCE of pooled cells: range and maximum of D_k = sum of w (y - p) up to cell k, over the total weight,
    D_0 = 0.

    Under calibration both, over sigma = sqrt(sum w² p (1 - p)) / sum w, tend to the range and to the largest
    absolute value of Brownian motion on [0, 1].
    """
    p = cells.probabilities
    differences = np.cumsum(cells.events - cells.weights * p) / cells.total
    high, low = max(0.0, float(differences.max())), min(0.0, float(differences.min()))
    spread, largest = high - low, max(high, -low)
    sigma = float(np.sqrt(cells.squared_weights @ (p * (1.0 - p)))) / cells.total
    range_in_sigma, maximum_in_sigma = in_sigma(spread, sigma), in_sigma(largest, sigma)
    return CumulativeCalibration(
        range=spread,
        maximum=largest,
        sigma=sigma,
        range_in_sigma=range_in_sigma,
        maximum_in_sigma=maximum_in_sigma,
        range_p_value=float(brownian_range_survival([range_in_sigma])[0]),
        maximum_p_value=float(brownian_maximum_survival([maximum_in_sigma])[0]),
    )


def in_sigma(value: float, sigma: float) -> float:
    """`value` / `sigma`; 0 or infinite when sigma is 0.

    Raises:
        MeasureError: a number that is not finite.
    """
    as_finite([value, sigma], name="value and sigma")
    if sigma > 0.0:
        return value / sigma
    return np.inf if value > 0.0 else 0.0


def brownian_range_survival(values: Any) -> FloatArray:
    """P(R > x) for the range R of Brownian motion on [0, 1], elementwise (Kuiper's statistic of ECCE-R).

    From x = 2 on by Feller's series 8 sum (-1)^(k-1) k P(Z > k x), which keeps small p-values exact; below by
    the complement of sum [8/x² + 2/(k+1/2)²/pi²] exp(-2 (k+1/2)² pi²/x²). Source: Feller 1951, Ann. Math.
    Statist. 22, 427.
    """
    x = _broadcast(values)
    k = _TERMS + 1.0
    upper = 8.0 * ((-1.0) ** _TERMS * k * ndtr(-k * x)).sum(axis=1)
    safe = np.clip(x, 0.05, 2.0)
    squares = ((_TERMS + 0.5) * np.pi) ** 2
    lower = ((8.0 / safe**2 + 2.0 / squares) * np.exp(-2.0 * squares / safe**2)).sum(axis=1)
    survival: FloatArray = np.clip(np.where(x[:, 0] >= 2.0, upper, 1.0 - lower), 0.0, 1.0)
    return survival


def brownian_maximum_survival(values: Any) -> FloatArray:
    """P(M > x) for the largest absolute value M of Brownian motion on [0, 1], elementwise (ECCE-MAD).

    From x = 1 on by reflection, 4 sum (-1)^k P(Z > (2k+1) x); below by the complement of (2/pi) sum
    (-1)^k/(k+1/2) exp(-(k+1/2)² pi²/(2 x²)). Source: Feller 1971, An Introduction to Probability II, X.5.
    """
    x = _broadcast(values)
    signs = (-1.0) ** _TERMS
    upper = 4.0 * (signs * ndtr(-(2.0 * _TERMS + 1.0) * x)).sum(axis=1)
    safe = np.clip(x, 0.05, 1.0)
    halves = _TERMS + 0.5
    lower = 2.0 / np.pi * (signs / halves * np.exp(-((halves * np.pi / safe) ** 2) / 2.0)).sum(axis=1)
    survival: FloatArray = np.clip(np.where(x[:, 0] >= 1.0, upper, 1.0 - lower), 0.0, 1.0)
    return survival


def _broadcast(values: Any) -> FloatArray:
    try:
        x = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        x = as_finite(values, name="statistic")
    finite = as_finite(np.where(np.isposinf(x), 1e6, x), name="statistic")
    return np.maximum(finite, 0.0)[:, None]
