"""Refuters: they let a sound study pass and stop an unsound one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecastle.measure.effect import estimate_effect
from forecastle.measure.lift import aipw
from forecastle.measure.nuisance import cross_fit, default_models
from forecastle.measure.refutation import REFUTATION_COLUMNS, Study, refutation_table
from tests.measure.confounded_logs import confounded


def study_of(y, t, x, seed):
    study = Study(y, t, x, default_models(y), 2, 0.95)
    nuisance = cross_fit(y, t, x, models=study.models, folds=2, seed=seed)
    return study, nuisance, aipw(y, t, nuisance)


def test_sound_studies_pass():
    """Of 20 studies with every common cause known each refuter passes at least 17, at level 95 %."""
    passed = pd.Series(0, index=["placebo", "random_common_cause", "subset"])
    for seed in range(20):
        y, t, x, _ = confounded(seed, n=500)
        table = refutation_table(*study_of(y, t, x, seed), repeats=2, seed=seed)
        passed += table.set_index("refuter")["is_passed"].astype(int)
    assert (passed >= 17).all(), passed.to_dict()


def test_an_effect_on_the_past_is_an_objection():
    """With the common cause hidden, the treatment "moves" an outcome from before it: residual confounding."""
    y, t, x, _ = confounded(11)
    rng = np.random.default_rng(1)
    before = x[:, 0] + rng.normal(size=y.size)
    hidden = estimate_effect(y, t, x[:, 1:], negative_control=before, repeats=1, seed=1)
    known = estimate_effect(y, t, x, negative_control=before, repeats=1, seed=1)
    assert any(reason.startswith("negative_control") for reason in hidden.reasons)
    assert not hidden.is_trustworthy
    row = known.refutations.set_index("refuter").loc["negative_control"]
    assert row["is_passed"]
    assert row["low"] < 0 < row["high"]


def test_an_estimate_that_hangs_on_noise_is_an_objection():
    """An estimate that new fits do not give again fails: here one moved by five standard errors."""
    y, t, x, _ = confounded(5, n=1500)
    study, nuisance, estimate = study_of(y, t, x, 1)
    moved = estimate.__class__(
        "aipw", estimate.estimate + 5 * estimate.standard_error, estimate.standard_error, 0.0, 1.0, 0.95, y.size
    )
    table = refutation_table(study, nuisance, moved, repeats=2, seed=1).set_index("refuter")
    assert tuple(table.reset_index().columns) == REFUTATION_COLUMNS
    assert table.loc["placebo", "is_passed"]
    assert not table.loc["random_common_cause", "is_passed"]
    assert not table.loc["subset", "is_passed"]
