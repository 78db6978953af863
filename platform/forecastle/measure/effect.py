"""What a treatment did, from logs where it was not given at random: naive lift beside adjusted estimates.

Belongs here: average treatment effects (naive, inverse probability, doubly robust), their refutation, how
strong a hidden confounder would have to be.
Does not belong here: randomised experiments (`experiment.py`), the value of another policy (`policy.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_finite, as_outcomes, as_probabilities, same_length
from forecastle.measure.scores import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forecastle.measure.arrays import FloatArray

BALANCE_COLUMNS = ("covariate", "smd_naive", "smd_weighted")
SMD_LIMIT = 0.1  # Austin 2011, Multivariate Behavioral Research 46, 399
ESS_LIMIT_RATIO = 0.2


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


@dataclass(frozen=True, slots=True)
class Overlap:
    """Whether treated and untreated rows can be compared: propensity quantiles and effective sample sizes."""

    quantiles: tuple[tuple[float, float], ...]
    clipped: int
    ess_treated: float
    ess_untreated: float
    ess_treated_ratio: float
    ess_untreated_ratio: float


@dataclass(frozen=True, slots=True)
class Nuisance:
    """Out-of-fold predictions of shape (n,): P(treated), expected outcome with and without treatment."""

    propensity: FloatArray
    outcome_treated: FloatArray
    outcome_untreated: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """The read-out: estimates side by side, what speaks against them, and a verdict with its reasons.

    `placebo` is the doubly robust effect of treatments shuffled among rows of like propensity: it must be 0.
    `e_value` is the strength (as a risk ratio with treatment and with outcome) a hidden confounder would need
    to explain the estimate away, `e_value_limit` the interval's end nearest to no effect.
    """

    naive: EffectEstimate
    hajek: EffectEstimate
    aipw: EffectEstimate
    placebo: EffectEstimate
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
    propensity_model: Callable[[], Any] | None = None,
    outcome_model: Callable[[], Any] | None = None,
    folds: int = 5,
    placebos: int = 5,
    level: float = 0.95,
    seed: int,
) -> Effect:
    """Average treatment effect of n rows given numeric `covariates` of shape (n, p), array or frame.

    Right when the covariates hold every common cause of treatment and outcome; doubly robust: one of the two
    models may be wrong. The models are factories of scikit-learn estimators (default: logistic for propensity
    and a 0/1 outcome, ridge for others), fitted out of fold (Chernozhukov et al. 2018, Econometrics Journal
    21, C1).

    Raises:
        MeasureError: empty, missing or mismatched input, treatment other than 0/1, or too few rows of an arm.
    """
    if placebos < 1:
        raise MeasureError(f"placebos: got {placebos}; at least 1 is needed; no refutation, no estimate")
    study, names = _study(outcomes, treated, covariates, folds, level)
    outcome_factory = outcome_model or (_logistic if _is_binary(study.y) else _ridge)
    models = (propensity_model or _logistic, outcome_factory)
    rng = np.random.default_rng(seed)
    nuisance = cross_fit(study.y, study.t, study.x, models=models, folds=folds, seed=rng)
    naive, robust = naive_lift(study.y, study.t, level=level), aipw(study.y, study.t, nuisance, level=level)
    placebo = _placebo(study, nuisance, models, placebos, rng)
    balance = balance_table(study.t, study.x, nuisance.propensity, names)
    spread = overlap(study.t, nuisance.propensity)
    objections = _objections(placebo, spread, balance)
    hajek = ipw(study.y, study.t, nuisance, level=level)
    values = _e_values(study.y, robust, nuisance)
    reasons = (_comparison(naive, robust), *objections)
    return Effect(naive, hajek, robust, placebo, spread, balance, *values, not objections, reasons)


def naive_lift(outcomes: Any, treated: Any, *, level: float = 0.95) -> EffectEstimate:
    """Mean outcome of the treated minus that of the untreated (Welch standard error): no adjustment at all.

    Raises:
        MeasureError: as `estimate_effect`.
    """
    y, t = _arms(outcomes, treated)
    one, zero = y[t == 1], y[t == 0]
    error = np.sqrt(one.var(ddof=1) / one.size + zero.var(ddof=1) / zero.size)
    return _estimate("naive", float(one.mean() - zero.mean()), float(error), y.size, level)


def ipw(outcomes: Any, treated: Any, nuisance: Nuisance, *, level: float = 0.95) -> EffectEstimate:
    """Inverse probability weighting, weights summing to 1 in each arm (Hájek 1971), by influence function.

    Raises:
        MeasureError: as `estimate_effect`.
    """
    y, t = _arms(outcomes, treated)
    e = _clipped(nuisance.propensity, t.size)
    one, zero = t / e, (1 - t) / (1 - e)
    mean_one, mean_zero = np.average(y, weights=one), np.average(y, weights=zero)
    influence = one * (y - mean_one) / one.mean() - zero * (y - mean_zero) / zero.mean()
    error = influence.std(ddof=1) / np.sqrt(t.size)
    return _estimate("ipw", float(mean_one - mean_zero), float(error), t.size, level)


def aipw(outcomes: Any, treated: Any, nuisance: Nuisance, *, level: float = 0.95) -> EffectEstimate:
    """Doubly robust: mean of m1 - m0 + t (y - m1) / e - (1 - t)(y - m0) / (1 - e).

    Robins, Rotnitzky & Zhao 1994, JASA 89, 846.

    Raises:
        MeasureError: as `estimate_effect`.
    """
    y, t = _arms(outcomes, treated)
    e = _clipped(nuisance.propensity, t.size)
    m1, m0 = nuisance.outcome_treated, nuisance.outcome_untreated
    score = m1 - m0 + t * (y - m1) / e - (1 - t) * (y - m0) / (1 - e)
    error = score.std(ddof=1) / np.sqrt(t.size)
    return _estimate("aipw", float(score.mean()), float(error), t.size, level)


def cross_fit(
    outcomes: FloatArray,
    treated: FloatArray,
    covariates: FloatArray,
    *,
    models: tuple[Callable[[], Any], Callable[[], Any]],
    folds: int,
    seed: int | np.random.Generator,
) -> Nuisance:
    """Out-of-fold nuisance predictions; `models` make the propensity and the outcome estimator, unfitted."""
    rng = np.random.default_rng(seed)
    fold = np.empty(treated.size, dtype=np.int64)
    for arm in (0, 1):  # stratified: every fold holds both arms
        rows = np.flatnonzero(treated == arm)
        fold[rng.permutation(rows)] = np.arange(rows.size) % folds
    columns = np.empty((3, treated.size))
    for k in range(folds):
        out, kept = fold == k, fold != k
        columns[0, out] = _fit_predict(models[0], covariates[kept], treated[kept], covariates[out])
        for row, arm in ((1, 1), (2, 0)):
            chosen = kept & (treated == arm)
            columns[row, out] = _fit_predict(models[1], covariates[chosen], outcomes[chosen], covariates[out])
    return Nuisance(*columns)


def overlap(treated: Any, propensity: Any) -> Overlap:
    """Propensity quantiles, and effective sample size (sum w)² / sum w² of each arm.

    Raises:
        MeasureError: mismatched input, or an arm without rows.
    """
    t, e = as_outcomes(treated, name="treated"), as_probabilities(propensity, name="propensity")
    bounded = _clipped(e, same_length(treated=t, propensity=e))
    levels = (0.01, 0.05, 0.5, 0.95, 0.99)
    ess = [_effective_size(1 / bounded[t == 1]), _effective_size(1 / (1 - bounded[t == 0]))]
    return Overlap(
        quantiles=tuple(zip(levels, np.quantile(e, levels).tolist(), strict=True)),
        clipped=int(np.count_nonzero(bounded != e)),
        ess_treated=ess[0],
        ess_untreated=ess[1],
        ess_treated_ratio=ess[0] / np.count_nonzero(t == 1),
        ess_untreated_ratio=ess[1] / np.count_nonzero(t == 0),
    )


def balance_table(
    treated: FloatArray, covariates: FloatArray, propensity: FloatArray, names: Iterable[str]
) -> pd.DataFrame:
    """Standardised mean differences of covariates before and after weighting, columns `BALANCE_COLUMNS`."""
    one, zero = treated == 1, treated == 0
    scale = np.sqrt((covariates[one].var(axis=0, ddof=1) + covariates[zero].var(axis=0, ddof=1)) / 2)
    e = _clipped(propensity, treated.size)
    plain = covariates[one].mean(axis=0) - covariates[zero].mean(axis=0)
    weighted = np.average(covariates[one], axis=0, weights=1 / e[one])
    weighted = weighted - np.average(covariates[zero], axis=0, weights=1 / (1 - e[zero]))
    smd = [np.divide(gap, scale, out=np.zeros_like(gap), where=scale > 0) for gap in (plain, weighted)]
    return pd.DataFrame(dict(zip(BALANCE_COLUMNS, (list(names), *smd), strict=True)))


def e_value(risk_ratio: float) -> float:
    """RR + sqrt(RR (RR - 1)), for a ratio below 1 of its inverse; 1 when RR is 1 (VanderWeele & Ding 2017).

    Raises:
        MeasureError: a ratio that is not above 0.
    """
    if not risk_ratio > 0:
        raise MeasureError(f"risk ratio: got {risk_ratio}; a ratio above 0 is allowed; rates of 0 have none")
    ratio = max(risk_ratio, 1 / risk_ratio)
    return float(ratio + np.sqrt(ratio * (ratio - 1)))


_CLIP = 0.01


@dataclass(frozen=True, slots=True)
class _Study:
    """Checked rows: outcomes `y`, treatment `t`, covariates `x`, and how they are looked at."""

    y: FloatArray
    t: FloatArray
    x: FloatArray
    folds: int
    level: float


def _study(outcomes: Any, treated: Any, covariates: Any, folds: int, level: float) -> tuple[_Study, tuple[str, ...]]:
    y, t = _arms(outcomes, treated)
    x = np.asarray(covariates, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] != t.size or x.shape[1] == 0 or not np.isfinite(x).all():
        raise MeasureError(
            f"covariates: got shape {x.shape} for {t.size} rows, or missing values; finite numbers of shape "
            "(n, p) are allowed; encode categories and fill nulls first"
        )
    smallest = int(min(t.sum(), t.size - t.sum()))
    if folds < 2 or smallest < 2 * folds:
        raise MeasureError(
            f"got {smallest} rows in the smaller arm for {folds} folds; "
            "at least 2 folds and two rows of each arm in a fold are needed"
        )
    names = tuple(str(name) for name in getattr(covariates, "columns", range(x.shape[1])))
    return _Study(y, t, x, folds, level), names


def _arms(outcomes: Any, treated: Any) -> tuple[FloatArray, FloatArray]:
    y, t = as_finite(outcomes, name="outcome"), as_outcomes(treated, name="treated")
    same_length(outcome=y, treated=t)
    if min(t.sum(), t.size - t.sum()) < 2:
        raise MeasureError(
            f"treated: got {int(t.sum())} treated of {t.size} rows; at least two treated and two untreated are needed"
        )
    return y, t


def _estimate(method: str, estimate: float, error: float, n: int, level: float) -> EffectEstimate:
    half = normal_quantile(level) * error
    return EffectEstimate(method, estimate, error, estimate - half, estimate + half, level, n)


def _clipped(propensity: Any, n: int) -> FloatArray:
    e = as_probabilities(propensity, name="propensity")
    same_length(propensity=e, treated=range(n))
    return np.clip(e, _CLIP, 1 - _CLIP)


def _is_binary(values: FloatArray) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _effective_size(weights: FloatArray) -> float:
    return float(weights.sum() ** 2 / np.sum(weights**2))


def _fit_predict(make: Callable[[], Any], x: FloatArray, target: FloatArray, new: FloatArray) -> FloatArray:
    if np.ptp(target) == 0:
        return np.full(new.shape[0], target[0])
    model = make()
    if hasattr(model, "predict_proba"):
        return np.asarray(model.fit(x, target.astype(np.int64)).predict_proba(new)[:, 1], dtype=np.float64)
    return np.asarray(model.fit(x, target).predict(new), dtype=np.float64)


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def _ridge() -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), Ridge())


def _placebo(
    study: _Study,
    nuisance: Nuisance,
    models: tuple[Callable[[], Any], Callable[[], Any]],
    placebos: int,
    rng: np.random.Generator,
) -> EffectEstimate:
    """Mean over shuffles within strata of like propensity; shuffles are independent given the rows."""
    n = study.t.size
    strata = np.argsort(np.argsort(nuisance.propensity, kind="stable")) // max(50, n // 50)
    in_order = np.argsort(strata, kind="stable")
    found = []
    for _ in range(placebos):
        shuffled = np.empty_like(study.t)
        shuffled[in_order] = study.t[np.lexsort((rng.random(n), strata))]
        refit = cross_fit(study.y, shuffled, study.x, models=models, folds=study.folds, seed=rng)
        found.append(aipw(study.y, shuffled, refit, level=study.level))
    error = float(np.mean([one.standard_error for one in found])) / float(np.sqrt(placebos))
    return _estimate("placebo", float(np.mean([one.estimate for one in found])), error, n, study.level)


def _e_values(y: FloatArray, robust: EffectEstimate, nuisance: Nuisance) -> tuple[float, float]:
    """Of the estimate, and of the end of its interval nearest to no effect."""
    nearest = min(robust.low, robust.high, key=abs) if robust.excludes_zero else 0.0
    if _is_binary(y):
        base = float(np.clip(nuisance.outcome_untreated.mean(), 1e-6, 1.0))
        return e_value(max(1 + robust.estimate / base, 1e-6)), e_value(max(1 + nearest / base, 1e-6))
    # A mean difference of d standard deviations is about a risk ratio of exp(0.91 d) (Chinn 2000).
    scale = 0.91 / (float(y.std(ddof=1)) or 1.0)
    return e_value(float(np.exp(scale * robust.estimate))), e_value(float(np.exp(scale * nearest)))


def _comparison(naive: EffectEstimate, robust: EffectEstimate) -> str:
    return f"naive lift {naive.estimate:.4g}, doubly robust {robust.estimate:.4g} [{robust.low:.4g}, {robust.high:.4g}]"


def _objections(placebo: EffectEstimate, spread: Overlap, balance: pd.DataFrame) -> tuple[str, ...]:
    against = []
    if placebo.excludes_zero:
        seen = f"[{placebo.low:.4g}, {placebo.high:.4g}]"
        against.append(f"placebo treatments have an effect {seen}: the models do not fit these rows")
    smallest = min(spread.ess_treated_ratio, spread.ess_untreated_ratio)
    if smallest < ESS_LIMIT_RATIO:
        against.append(f"poor overlap: the rows of one arm are worth {smallest:.0%} of their number")
    sizes = balance["smd_weighted"].abs().to_numpy()
    if sizes.max() > SMD_LIMIT:
        worst = balance["covariate"].iloc[int(sizes.argmax())]
        against.append(f"{worst} stays unbalanced: standardised difference {sizes.max():.2f} after weighting")
    return tuple(against)
