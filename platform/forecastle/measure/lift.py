"""Average effects of a treatment on an outcome: naive, inverse probability weighted, doubly robust.

Belongs here: the estimators with their intervals, and how strong a hidden confounder would have to be.
Does not belong here: predictions that they adjust by (`nuisance.py`), refutation, the read-out (`effect.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_finite, same_length
from forecastle.measure.nuisance import as_arms, clipped_propensity
from forecastle.measure.scores import normal_quantile

if TYPE_CHECKING:
    from forecastle.measure.arrays import FloatArray
    from forecastle.measure.nuisance import Nuisance


@dataclass(frozen=True, slots=True)
class EffectEstimate:
    """Average effect on the outcome, treated minus untreated, with a normal interval at `level`."""

    method: str
    estimate: float
    standard_error: float
    low: float
    high: float
    level: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


def effect_estimate(method: str, estimate: float, standard_error: float, *, n: int, level: float) -> EffectEstimate:
    """An estimate with its normal interval.

    Raises:
        MeasureError: numbers that are not finite, or a level outside (0, 1).
    """
    as_finite([estimate, standard_error], name=f"{method} estimate and standard error")
    half = normal_quantile(level) * standard_error
    return EffectEstimate(method, estimate, standard_error, estimate - half, estimate + half, level, n)


def naive_lift(outcomes: Any, treated: Any, *, level: float = 0.95) -> EffectEstimate:
    """Mean outcome of the treated minus that of the untreated (Welch standard error): no adjustment at all.

    Raises:
        MeasureError: empty, missing or mismatched input, treatment other than 0/1, or too few rows of an arm.
    """
    y, t = as_arms(outcomes, treated)
    one, zero = y[t == 1], y[t == 0]
    error = np.sqrt(one.var(ddof=1) / one.size + zero.var(ddof=1) / zero.size)
    return effect_estimate("naive", float(one.mean() - zero.mean()), float(error), n=y.size, level=level)


def ipw(outcomes: Any, treated: Any, nuisance: Nuisance, *, level: float = 0.95) -> EffectEstimate:
    """Inverse probability weighting, weights summing to 1 in each arm (Hájek 1971), by influence function.

    Raises:
        MeasureError: as `naive_lift`, or nuisance predictions of another length.
    """
    y, t = as_arms(outcomes, treated)
    e = clipped_propensity(nuisance.propensity, n=t.size)
    one, zero = t / e, (1 - t) / (1 - e)
    mean_one, mean_zero = np.average(y, weights=one), np.average(y, weights=zero)
    influence = one * (y - mean_one) / one.mean() - zero * (y - mean_zero) / zero.mean()
    error = influence.std(ddof=1) / np.sqrt(t.size)
    return effect_estimate("ipw", float(mean_one - mean_zero), float(error), n=t.size, level=level)


def aipw(outcomes: Any, treated: Any, nuisance: Nuisance, *, level: float = 0.95) -> EffectEstimate:
    """Doubly robust: mean of m1 - m0 + t (y - m1) / e - (1 - t)(y - m0) / (1 - e).

    Source: Robins, Rotnitzky & Zhao 1994, JASA 89, 846.

    Raises:
        MeasureError: as `naive_lift`, or nuisance predictions of another length.
    """
    y, t = as_arms(outcomes, treated)
    score = _robust_scores(y, t, nuisance)
    error = score.std(ddof=1) / np.sqrt(t.size)
    return effect_estimate("aipw", float(score.mean()), float(error), n=t.size, level=level)


def e_value(risk_ratio: float) -> float:
    """RR + sqrt(RR (RR - 1)), for a ratio below 1 of its inverse; 1 when RR is 1 (VanderWeele & Ding 2017).

    Raises:
        MeasureError: a ratio that is not finite and above 0.
    """
    if not 0 < risk_ratio < np.inf:
        raise MeasureError(f"risk ratio: got {risk_ratio}; a finite ratio above 0 is allowed; rates of 0 have none")
    ratio = max(risk_ratio, 1 / risk_ratio)
    return float(ratio + np.sqrt(ratio * (ratio - 1)))


def _robust_scores(y: FloatArray, t: FloatArray, nuisance: Nuisance) -> FloatArray:
    e = clipped_propensity(nuisance.propensity, n=t.size)
    m1 = as_finite(nuisance.outcome_treated, name="outcome_treated")
    m0 = as_finite(nuisance.outcome_untreated, name="outcome_untreated")
    same_length(outcome=y, outcome_treated=m1, outcome_untreated=m0)
    return np.asarray(m1 - m0 + t * (y - m1) / e - (1 - t) * (y - m0) / (1 - e))
