"""What treatment effects are adjusted by: out-of-fold predictions of treatment and outcome, and their quality.

Belongs here: checked arms, cross-fitting, overlap of treated and untreated rows, balance of covariates.
Does not belong here: effects (`lift.py`), their refutation (`refutation.py`), the read-out (`effect.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_finite, as_numbers, as_outcomes, as_probabilities, same_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forecastle.measure.arrays import FloatArray

    Models: TypeAlias = tuple[Callable[[], Any], Callable[[], Any]]

BALANCE_COLUMNS = ("covariate", "smd_naive", "smd_weighted")
_CLIP = 0.01


@dataclass(frozen=True, slots=True)
class Nuisance:
    """Out-of-fold predictions of shape (n,): P(treated), expected outcome with and without treatment."""

    propensity: FloatArray
    outcome_treated: FloatArray
    outcome_untreated: FloatArray


@dataclass(frozen=True, slots=True)
class Overlap:
    """Whether treated and untreated rows can be compared: propensity quantiles and effective sample sizes."""

    quantiles: tuple[tuple[float, float], ...]
    clipped: int
    ess_treated: float
    ess_untreated: float
    ess_treated_ratio: float
    ess_untreated_ratio: float


def as_arms(outcomes: Any, treated: Any) -> tuple[FloatArray, FloatArray]:
    """Outcomes and treatment (0/1) as float64 arrays of one length.

    Raises:
        MeasureError: empty, missing or mismatched input, treatment other than 0/1, or fewer than two rows of
            an arm.
    """
    y, t = as_finite(outcomes, name="outcome"), as_outcomes(treated, name="treated")
    same_length(outcome=y, treated=t)
    if min(t.sum(), t.size - t.sum()) < 2:
        raise MeasureError(
            f"treated: got {int(t.sum())} treated of {t.size} rows; at least two treated and two untreated are needed"
        )
    return y, t


def as_covariates(covariates: Any, *, n: int) -> FloatArray:
    """Covariates of `n` rows as a float64 table (n, p), p at least 1.

    Raises:
        MeasureError: another shape, missing values, or text.
    """
    x = as_numbers(covariates, name="covariates")
    if x.ndim != 2 or x.shape[0] != n or x.shape[1] == 0:
        raise MeasureError(
            f"covariates: got shape {x.shape} for {n} rows; shape (n, p) is allowed; encode categories first"
        )
    return x


def clipped_propensity(propensity: Any, *, n: int) -> FloatArray:
    """Propensities of `n` rows held in [0.01, 0.99], so that no row weighs more than a hundred.

    Raises:
        MeasureError: missing values, another length, or values outside [0, 1].
    """
    e = as_probabilities(propensity, name="propensity")
    same_length(propensity=e, treated=range(n))
    return np.clip(e, _CLIP, 1 - _CLIP)


def cross_fit(
    outcomes: Any, treated: Any, covariates: Any, *, models: Models, folds: int, seed: int | np.random.Generator
) -> Nuisance:
    """Out-of-fold nuisance predictions; `models` make the propensity and the outcome estimator, unfitted.

    Source: Chernozhukov et al. 2018, Econometrics Journal 21, C1.

    Raises:
        MeasureError: empty, missing or mismatched input, or fewer than two rows of each arm in a fold.
    """
    y, t = as_arms(outcomes, treated)
    x = as_covariates(covariates, n=t.size)
    smallest = int(min(t.sum(), t.size - t.sum()))
    if folds < 2 or smallest < 2 * folds:
        raise MeasureError(
            f"got {smallest} rows in the smaller arm for {folds} folds; "
            "at least 2 folds and two rows of each arm in a fold are needed"
        )
    fold = _stratified_folds(t, folds, np.random.default_rng(seed))
    columns = np.empty((3, t.size))
    for k in range(folds):
        out, kept = fold == k, fold != k
        columns[0, out] = _fit_predict(models[0], x[kept], t[kept], x[out])
        for row, arm in ((1, 1), (2, 0)):
            chosen = kept & (t == arm)
            columns[row, out] = _fit_predict(models[1], x[chosen], y[chosen], x[out])
    return Nuisance(*columns)


def default_models(outcomes: FloatArray) -> Models:
    """Logistic regression for treatment; logistic for a 0/1 outcome, ridge for others, on scaled covariates."""
    return _logistic, _logistic if is_binary(outcomes) else _ridge


def is_binary(values: FloatArray) -> bool:
    """Whether every value is 0 or 1."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def overlap(treated: Any, propensity: Any) -> Overlap:
    """Propensity quantiles, and effective sample size (sum w)² / sum w² of each arm (Kish 1965).

    Raises:
        MeasureError: missing or mismatched input, or an arm without rows.
    """
    t, e = as_outcomes(treated, name="treated"), as_probabilities(propensity, name="propensity")
    bounded = clipped_propensity(e, n=t.size)
    rows = int(np.count_nonzero(t == 1)), int(np.count_nonzero(t == 0))
    if min(rows) == 0:
        raise MeasureError(f"treated: got {rows[0]} treated and {rows[1]} untreated rows; both arms are needed")
    levels = (0.01, 0.05, 0.5, 0.95, 0.99)
    ess = _effective_size(1 / bounded[t == 1]), _effective_size(1 / (1 - bounded[t == 0]))
    return Overlap(
        quantiles=tuple(zip(levels, np.quantile(e, levels).tolist(), strict=True)),
        clipped=int(np.count_nonzero(bounded != e)),
        ess_treated=ess[0],
        ess_untreated=ess[1],
        ess_treated_ratio=ess[0] / rows[0],
        ess_untreated_ratio=ess[1] / rows[1],
    )


def balance_table(treated: Any, covariates: Any, propensity: Any, names: Iterable[str]) -> pd.DataFrame:
    """Standardised mean differences of covariates before and after weighting, columns `BALANCE_COLUMNS`.

    A covariate that never varies within the arms has difference 0.

    Raises:
        MeasureError: missing or mismatched input, or fewer than two rows of an arm.
    """
    _, t = as_arms(treated, treated)
    x = as_covariates(covariates, n=t.size)
    e = clipped_propensity(propensity, n=t.size)
    one, zero = t == 1, t == 0
    scale = np.sqrt((x[one].var(axis=0, ddof=1) + x[zero].var(axis=0, ddof=1)) / 2)
    plain = x[one].mean(axis=0) - x[zero].mean(axis=0)
    weighted = np.average(x[one], axis=0, weights=1 / e[one])
    weighted = weighted - np.average(x[zero], axis=0, weights=1 / (1 - e[zero]))
    smd = [np.divide(gap, scale, out=np.zeros_like(gap), where=scale > 0) for gap in (plain, weighted)]
    return pd.DataFrame(dict(zip(BALANCE_COLUMNS, (list(names), *smd), strict=True)))


def _stratified_folds(treated: FloatArray, folds: int, rng: np.random.Generator) -> FloatArray:
    """Fold of each row; every fold holds both arms."""
    fold = np.empty(treated.size)
    for arm in (0, 1):
        rows = np.flatnonzero(treated == arm)
        fold[rng.permutation(rows)] = np.arange(rows.size) % folds
    return fold


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
