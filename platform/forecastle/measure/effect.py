"""What a treatment did, from logs where it was not given at random: naive lift beside adjusted estimates.

Belongs here: the one call that estimates, refutes and judges an average treatment effect, and its read-out.
Does not belong here: the estimators (`lift.py`), refuters (`refutation.py`), randomised experiments
(`experiment.py`), the value of another policy (`policy.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_finite, same_length
from forecastle.measure.lift import EffectEstimate, aipw, e_value, ipw, naive_lift
from forecastle.measure.nuisance import (
    Overlap,
    as_arms,
    as_covariates,
    balance_table,
    cross_fit,
    default_models,
    is_binary,
    overlap,
)
from forecastle.measure.refutation import Study, refutation_table

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from forecastle.measure.arrays import FloatArray
    from forecastle.measure.nuisance import Nuisance

SMD_LIMIT = 0.1  # Austin 2011, Multivariate Behavioral Research 46, 399
ESS_LIMIT_RATIO = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """The read-out: estimates side by side, what speaks against them, and a verdict with its reasons.

    `refutations` is the table of `refutation_table`, `balance` that of `balance_table`. `e_value` is the
    strength (as a risk ratio with treatment and with outcome) a hidden confounder would need to explain the
    estimate away, `e_value_limit` the interval's end nearest to no effect.
    """

    naive: EffectEstimate
    hajek: EffectEstimate
    aipw: EffectEstimate
    refutations: pd.DataFrame
    overlap: Overlap
    balance: pd.DataFrame
    e_value: float
    e_value_limit: float
    is_trustworthy: bool
    reasons: tuple[str, ...]


def estimate_effect(
    outcomes: Any,
    treated: Any,
    covariates: Any,
    *,
    negative_control: Any | None = None,
    propensity_model: Callable[[], Any] | None = None,
    outcome_model: Callable[[], Any] | None = None,
    folds: int = 5,
    repeats: int = 5,
    level: float = 0.95,
    seed: int,
) -> Effect:
    """Average treatment effect of n rows given numeric `covariates` of shape (n, p), array or frame.

    Right when the covariates hold every common cause of treatment and outcome; doubly robust: one of the two
    models may be wrong. The models are factories of scikit-learn estimators (default: logistic for propensity
    and a 0/1 outcome, ridge for others), fitted out of fold (Chernozhukov et al. 2018). `negative_control` (n)
    is an outcome that the treatment cannot have reached, such as the same metric before it.

    Raises:
        MeasureError: empty, missing or mismatched input, treatment other than 0/1, or too few rows of an arm.
    """
    if repeats < 1:
        raise MeasureError(f"repeats: got {repeats}; at least 1 is needed; no refutation, no estimate")
    y, t = as_arms(outcomes, treated)
    x = as_covariates(covariates, n=t.size)
    names = tuple(str(name) for name in getattr(covariates, "columns", range(x.shape[1])))
    usual = default_models(y)
    models = (propensity_model or usual[0], outcome_model or usual[1])
    study, rng = Study(y, t, x, models, folds, level), np.random.default_rng(seed)
    nuisance = cross_fit(y, t, x, models=models, folds=folds, seed=rng)
    naive, robust = naive_lift(y, t, level=level), aipw(y, t, nuisance, level=level)
    control = None if negative_control is None else _control(negative_control, t)
    refuted = refutation_table(study, nuisance, robust, negative_control=control, repeats=repeats, seed=rng)
    balance, spread = balance_table(t, x, nuisance.propensity, names), overlap(t, nuisance.propensity)
    objections = _objections(refuted, spread, balance)
    values, hajek = _e_values(y, robust, nuisance), ipw(y, t, nuisance, level=level)
    reasons = (_comparison(naive, robust), *objections)
    return Effect(naive, hajek, robust, refuted, spread, balance, *values, not objections, reasons)


def _control(outcomes: Any, t: FloatArray) -> FloatArray:
    control = as_finite(outcomes, name="negative control")
    same_length(treated=t, negative_control=control)
    return control


def _e_values(y: FloatArray, robust: EffectEstimate, nuisance: Nuisance) -> tuple[float, float]:
    """Of the estimate, and of the end of its interval nearest to no effect."""
    nearest = min(robust.low, robust.high, key=abs) if robust.excludes_zero else 0.0
    if is_binary(y):
        base = float(np.clip(nuisance.outcome_untreated.mean(), 1e-6, 1.0))
        return e_value(max(1 + robust.estimate / base, 1e-6)), e_value(max(1 + nearest / base, 1e-6))
    # A mean difference of d standard deviations is about a risk ratio of exp(0.91 d) (Chinn 2000).
    scale = 0.91 / (float(y.std(ddof=1)) or 1.0)
    return e_value(float(np.exp(scale * robust.estimate))), e_value(float(np.exp(scale * nearest)))


def _comparison(naive: EffectEstimate, robust: EffectEstimate) -> str:
    return f"naive lift {naive.estimate:.4g}, doubly robust {robust.estimate:.4g} [{robust.low:.4g}, {robust.high:.4g}]"


def _objections(refutations: pd.DataFrame, spread: Overlap, balance: pd.DataFrame) -> tuple[str, ...]:
    against = refutations.loc[~refutations["is_passed"], "reason"].tolist()
    smallest = min(spread.ess_treated_ratio, spread.ess_untreated_ratio)
    if smallest < ESS_LIMIT_RATIO:
        against.append(f"poor overlap: the rows of one arm are worth {smallest:.0%} of their number")
    sizes = balance["smd_weighted"].abs().to_numpy()
    if sizes.max() > SMD_LIMIT:
        worst = balance["covariate"].iloc[int(sizes.argmax())]
        against.append(f"{worst} stays unbalanced: standardised difference {sizes.max():.2f} after weighting")
    return tuple(against)
