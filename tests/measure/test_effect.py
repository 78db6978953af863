"""The read-out of treatment effects: simulated confounding, and two data sets with known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.measure.effect import estimate_effect
from forecastle.measure.nuisance import BALANCE_COLUMNS
from tests.measure.confounded_logs import confounded


def test_read_out_of_confounded_logs():
    """The naive lift is more than twice the effect; the adjusted interval holds .05; the placebo holds 0."""
    y, t, x, _ = confounded(7)
    found = estimate_effect(y, t, pd.DataFrame(x, columns=["activity", "noise"]), seed=1)
    assert found.naive.estimate > 0.1
    assert found.aipw.low <= 0.05 <= found.aipw.high
    assert found.hajek.low <= 0.05 <= found.hajek.high
    assert list(found.refutations["refuter"]) == ["placebo", "random_common_cause", "subset"]
    assert found.refutations["is_passed"].all()
    assert found.is_trustworthy
    assert found.reasons[0].startswith("naive lift 0.1")
    assert tuple(found.balance.columns) == BALANCE_COLUMNS
    balance = found.balance.set_index("covariate")
    assert balance.loc["activity", "smd_naive"] > 0.5
    assert abs(balance.loc["activity", "smd_weighted"]) < 0.1


def test_same_seed_same_answer():
    """Folds and shuffles come from the seed alone."""
    y, t, x, _ = confounded(3, n=600)
    first, second = (estimate_effect(y, t, x, seed=5, repeats=2) for _ in range(2))
    assert first.aipw == second.aipw
    pd.testing.assert_frame_equal(first.refutations, second.refutations)


def test_no_overlap_is_an_objection():
    """When treatment is almost decided by a covariate the result says not to trust it."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2000, 1))
    t = (x[:, 0] + 0.2 * rng.normal(size=2000) > 0).astype(float)
    found = estimate_effect(rng.normal(size=2000), t, x, seed=1, repeats=2)
    assert not found.is_trustworthy
    assert any("overlap" in reason or "unbalanced" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("treated", "covariates", "options", "says"),
    [
        ([1, 0, 0, 0], np.zeros((4, 1)), {}, "at least two treated"),
        ([1, 1, 0, 0], np.zeros(4), {}, "shape"),
        ([1, 1, 0, 0], np.full((4, 1), np.nan), {}, "drop these rows"),
        ([1, 1, 0, 0], np.zeros((4, 1)), {}, "2 folds"),
        ([1, 1, 0, 2], np.zeros((4, 1)), {}, "only 0 and 1"),
    ],
)
def test_refusals(treated, covariates, options, says):
    """Impossible input is refused with its remedy."""
    with pytest.raises(MeasureError, match=says):
        estimate_effect([1.0, 2.0, 3.0, 4.0], treated, covariates, seed=1, **options)


def test_infant_health_programme(real_data):
    """IHDP replicate 9: naive 12.0992, true average effect 10.4660 from the known mu1 - mu0."""
    rows = pd.read_parquet(real_data / "streamrec/ihdp_npci_9.parquet")
    covariates = rows[[f"x{i}" for i in range(1, 26)]]
    found = estimate_effect(rows["y_factual"], rows["treatment"], covariates, seed=1, repeats=2)
    truth = (rows["mu1"] - rows["mu0"]).mean()
    assert truth == pytest.approx(10.4660, abs=1e-4)
    assert found.naive.estimate == pytest.approx(12.0992, abs=1e-4)
    assert abs(found.aipw.estimate - truth) < abs(found.naive.estimate - truth)


def test_job_training(real_data):
    """LaLonde with survey controls: naive -635.03; the adjusted interval holds the experiment's +1,794."""
    rows = pd.read_parquet(real_data / "streamrec/lalonde_matchit.parquet")
    covariates = pd.get_dummies(rows.drop(columns=["treat", "re78"]), dtype=float)
    found = estimate_effect(rows["re78"], rows["treat"], covariates, seed=1, repeats=2)
    assert found.naive.estimate == pytest.approx(-635.03, abs=0.005)
    assert found.aipw.low <= 1794 <= found.aipw.high
    assert found.aipw.estimate > 0
