"""Attempts to refute an estimated effect: what must come out when the answer is known.

Belongs here: placebo treatment, random common cause, subset of rows, negative-control outcome.
Does not belong here: the estimators (`lift.py`), overlap and balance (`nuisance.py`), the verdict (`effect.py`).
Which refuters: Sharma & Kiciman 2020, DoWhy, arXiv 2011.04216; negative controls: Lipsitch, Tchetgen Tchetgen
& Cohen 2010, Epidemiology 21, 383.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from forecastle.measure.lift import EffectEstimate, aipw, effect_estimate
from forecastle.measure.nuisance import cross_fit, default_models

if TYPE_CHECKING:
    from forecastle.measure.arrays import FloatArray, IntArray
    from forecastle.measure.nuisance import Models, Nuisance

REFUTATION_COLUMNS = ("refuter", "estimate", "low", "high", "expected", "is_passed", "reason")
SUBSET_RATIO = 0.8
_EXPECTED = {
    "placebo": "no effect of a treatment that was shuffled among like rows",
    "random_common_cause": "no change of the effect by a covariate of pure noise",
    "subset": "no change of the effect in random subsets of the rows",
    "negative_control": "no effect on an outcome that the treatment cannot reach",
}


@dataclass(frozen=True, slots=True)
class Study:
    """Checked rows of one estimate: outcomes `y`, treatment `t`, covariates `x` (n, p), and how they are used."""

    y: FloatArray
    t: FloatArray
    x: FloatArray
    models: Models
    folds: int
    level: float


def refutation_table(
    study: Study,
    nuisance: Nuisance,
    estimate: EffectEstimate,
    *,
    negative_control: FloatArray | None = None,
    repeats: int = 5,
    seed: int | np.random.Generator,
) -> pd.DataFrame:
    """One row a refuter, columns `REFUTATION_COLUMNS`; it is passed when its interval holds 0.

    `estimate` is the doubly robust one and `nuisance` the predictions behind it. `placebo` and
    `negative_control` show an effect, the other two a change of the effect. A sound study fails `placebo` and
    `negative_control` with chance 1 - level each; the two changes are judged in the width of the estimate
    itself and of one subset, so it almost never fails them. `repeats` shuffles and subsets are averaged.

    Raises:
        MeasureError: as `cross_fit` for any of the fits.
    """
    rng = np.random.default_rng(seed)
    found = [
        _placebo(study, nuisance, repeats, rng),
        _random_common_cause(study, estimate, rng),
        _subset(study, estimate, repeats, rng),
    ]
    if negative_control is not None:
        found.append(_negative_control(study, negative_control, rng))
    return pd.DataFrame([_row(one) for one in found], columns=list(REFUTATION_COLUMNS))


def _row(found: EffectEstimate) -> tuple[object, ...]:
    expected = _EXPECTED[found.method]
    seen = f"{found.estimate:.4g} [{found.low:.4g}, {found.high:.4g}]"
    reason = f"{found.method}: {seen} where {expected} is expected"
    return (found.method, found.estimate, found.low, found.high, expected, not found.excludes_zero, reason)


def _placebo(study: Study, nuisance: Nuisance, repeats: int, rng: np.random.Generator) -> EffectEstimate:
    """Mean effect of shuffles within strata of like propensity; shuffles are independent given the rows."""
    n = study.t.size
    strata = np.argsort(np.argsort(nuisance.propensity, kind="stable")) // max(50, n // 50)
    in_order = np.argsort(strata, kind="stable")
    found = []
    for _ in range(repeats):
        shuffled = np.empty_like(study.t)
        shuffled[in_order] = study.t[np.lexsort((rng.random(n), strata))]
        refit = cross_fit(study.y, shuffled, study.x, models=study.models, folds=study.folds, seed=rng)
        found.append(aipw(study.y, shuffled, refit, level=study.level))
    error = float(np.mean([one.standard_error for one in found])) / float(np.sqrt(repeats))
    return effect_estimate("placebo", float(np.mean([one.estimate for one in found])), error, n=n, level=study.level)


def _random_common_cause(study: Study, estimate: EffectEstimate, rng: np.random.Generator) -> EffectEstimate:
    """Change of the effect, in the width of the estimate itself, when a noise column joins the covariates."""
    x = np.column_stack([study.x, rng.normal(size=study.t.size)])
    refit = cross_fit(study.y, study.t, x, models=study.models, folds=study.folds, seed=rng)
    change = aipw(study.y, study.t, refit).estimate - estimate.estimate
    error = estimate.standard_error
    return effect_estimate("random_common_cause", change, error, n=study.t.size, level=study.level)


def _subset(study: Study, estimate: EffectEstimate, repeats: int, rng: np.random.Generator) -> EffectEstimate:
    """Mean change of the effect in random subsets, in the width that one subset has: se² (1 / ratio - 1).

    Averaging subsets does not narrow it: the noise of the folds behind the estimate is in every change.
    """
    changes = []
    for _ in range(repeats):
        kept = _stratified_subset(study.t, 2 * study.folds, rng)
        y, t = study.y[kept], study.t[kept]
        refit = cross_fit(y, t, study.x[kept], models=study.models, folds=study.folds, seed=rng)
        changes.append(aipw(y, t, refit).estimate - estimate.estimate)
    error = estimate.standard_error * float(np.sqrt(1 / SUBSET_RATIO - 1))
    return effect_estimate("subset", float(np.mean(changes)), error, n=study.t.size, level=study.level)


def _stratified_subset(treated: FloatArray, fewest: int, rng: np.random.Generator) -> IntArray:
    """Positions of a share of each arm's rows, at least `fewest`, so that no fold loses an arm."""
    chosen = []
    for arm in (0, 1):
        rows = rng.permutation(np.flatnonzero(treated == arm))
        chosen.append(rows[: max(int(SUBSET_RATIO * rows.size), fewest)])
    return np.sort(np.concatenate(chosen))


def _negative_control(study: Study, outcomes: FloatArray, rng: np.random.Generator) -> EffectEstimate:
    models = (study.models[0], default_models(outcomes)[1])
    refit = cross_fit(outcomes, study.t, study.x, models=models, folds=study.folds, seed=rng)
    found = aipw(outcomes, study.t, refit, level=study.level)
    return effect_estimate("negative_control", found.estimate, found.standard_error, n=study.t.size, level=study.level)
