"""Treatment effects: closed forms, simulated confounding, and two data sets with known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.measure.effect import (
    BALANCE_COLUMNS,
    Nuisance,
    aipw,
    cross_fit,
    e_value,
    estimate_effect,
    ipw,
    naive_lift,
    overlap,
)


def confounded(seed, n=4000):
    """Exposure goes to those who would act anyway: outcome rate .1 to .5 by x, true effect .05."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    e = 1 / (1 + np.exp(-x[:, 0]))
    t = (rng.random(n) < e).astype(float)
    base = 0.1 + 0.35 / (1 + np.exp(-2 * x[:, 0]))
    y = (rng.random(n) < base + 0.05 * t).astype(float)
    return y, t, x, Nuisance(e, base + 0.05, base)


def test_naive_lift_by_hand():
    """(1+0+1)/3 - (0+0+1)/3 with Welch's standard error."""
    found = naive_lift([1, 0, 1, 0, 0, 1], [1, 1, 1, 0, 0, 0])
    assert found.estimate == pytest.approx(1 / 3)
    assert found.standard_error == pytest.approx(np.sqrt(2 * (1 / 3) / 3))


def test_weighting_by_hand():
    """Propensities 1/2 give back the difference of means; the doubly robust score with m = 0 does too."""
    y, t = [3.0, 1.0, 2.0, 0.0], [1, 1, 0, 0]
    nuisance = Nuisance(np.full(4, 0.5), np.zeros(4), np.zeros(4))
    assert ipw(y, t, nuisance).estimate == pytest.approx(1.0)
    # Mean of t y / .5 - (1 - t) y / .5 = (6 + 2 - 4 - 0) / 4
    assert aipw(y, t, nuisance).estimate == pytest.approx(1.0)


def test_doubly_robust_with_one_wrong_model():
    """Right outcomes with wrong propensities, or the reverse, give the true .05; naive is twice it."""
    y, t, _, truth = confounded(1, n=60_000)
    constant = np.full(y.size, t.mean())
    zeros = np.zeros(y.size)
    for nuisance in (
        Nuisance(constant, truth.outcome_treated, truth.outcome_untreated),
        Nuisance(truth.propensity, zeros, zeros),
    ):
        assert aipw(y, t, nuisance).estimate == pytest.approx(0.05, abs=0.015)
    assert naive_lift(y, t).estimate > 0.1


def test_intervals_cover_the_truth():
    """Known nuisances, 200 logs: 95 % intervals of both estimators cover .05 in 90 to 99 % of them."""
    covered = {"ipw": 0, "aipw": 0}
    for seed in range(200):
        y, t, _, truth = confounded(seed, n=1000)
        for found in (ipw(y, t, truth), aipw(y, t, truth)):
            covered[found.method] += found.low <= 0.05 <= found.high
    assert all(0.90 <= count / 200 <= 0.99 for count in covered.values()), covered


def test_read_out_of_confounded_logs():
    """The naive lift is more than twice the effect; the adjusted interval holds .05; the placebo holds 0."""
    y, t, x, _ = confounded(7)
    found = estimate_effect(y, t, pd.DataFrame(x, columns=["activity", "noise"]), seed=1)
    assert found.naive.estimate > 0.1
    assert found.aipw.low <= 0.05 <= found.aipw.high
    assert found.hajek.low <= 0.05 <= found.hajek.high
    assert not found.placebo.excludes_zero
    assert found.is_trustworthy
    assert found.reasons[0].startswith("naive lift 0.1")
    assert tuple(found.balance.columns) == BALANCE_COLUMNS
    balance = found.balance.set_index("covariate")
    assert balance.loc["activity", "smd_naive"] > 0.5
    assert abs(balance.loc["activity", "smd_weighted"]) < 0.1


def test_same_seed_same_answer():
    """Folds and shuffles come from the seed alone."""
    y, t, x, _ = confounded(3, n=600)
    first, second = (estimate_effect(y, t, x, seed=5, placebos=2) for _ in range(2))
    assert (first.aipw, first.placebo) == (second.aipw, second.placebo)


def test_no_overlap_is_an_objection():
    """When treatment is almost decided by a covariate the result says not to trust it."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2000, 1))
    t = (x[:, 0] + 0.2 * rng.normal(size=2000) > 0).astype(float)
    found = estimate_effect(rng.normal(size=2000), t, x, seed=1, placebos=2)
    assert not found.is_trustworthy
    assert any("overlap" in reason or "unbalanced" in reason for reason in found.reasons)


def test_cross_fit_never_predicts_its_own_rows():
    """A model that only remembers its rows has never seen the one it predicts."""

    class Memory:
        def fit(self, x, y):
            self.seen = dict(zip(x[:, 0], y, strict=True))
            return self

        def predict(self, x):
            return np.array([self.seen.get(value, -1.0) for value in x[:, 0]])

    x = np.arange(40.0)[:, None]
    t = np.arange(40) % 2
    found = cross_fit(np.ones(40) * np.arange(40), t * 1.0, x, models=(Memory, Memory), folds=4, seed=1)
    assert (found.propensity == -1.0).all()
    assert (found.outcome_treated[t == 1] == -1.0).all()


def test_overlap_by_hand():
    """Equal weights lose nothing; weights 1/.5 and 1/.25 are worth (2 + 4)² / (4 + 16) = 1.8 rows."""
    even = overlap([1, 1, 0, 0], [0.5] * 4)
    assert (even.ess_treated, even.ess_untreated_ratio) == pytest.approx((2.0, 1.0))
    assert overlap([1, 1, 0, 0], [0.5, 0.25, 0.5, 0.5]).ess_treated == pytest.approx(1.8)
    assert overlap([1, 1, 0, 0], [0.5, 0.0, 0.5, 0.5]).clipped == 1


def test_e_values():
    """RR 3.9 -> 7.263, 1.8 -> 3.0 (VanderWeele & Ding 2017), symmetric under inversion, 1 without effect."""
    assert e_value(3.9) == pytest.approx(7.263, abs=1e-3)
    assert e_value(1.8) == pytest.approx(3.0)
    assert e_value(1 / 1.8) == pytest.approx(3.0)
    assert e_value(1.0) == 1.0
    with pytest.raises(MeasureError, match="above 0"):
        e_value(0.0)


@pytest.mark.parametrize(
    ("treated", "covariates", "options", "says"),
    [
        ([1, 0, 0, 0], np.zeros((4, 1)), {}, "at least two treated"),
        ([1, 1, 0, 0], np.zeros(4), {}, "shape"),
        ([1, 1, 0, 0], np.full((4, 1), np.nan), {}, "fill nulls"),
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
    found = estimate_effect(rows["y_factual"], rows["treatment"], covariates, seed=1, placebos=2)
    truth = (rows["mu1"] - rows["mu0"]).mean()
    assert truth == pytest.approx(10.4660, abs=1e-4)
    assert found.naive.estimate == pytest.approx(12.0992, abs=1e-4)
    assert abs(found.aipw.estimate - truth) < abs(found.naive.estimate - truth)


def test_job_training(real_data):
    """LaLonde with survey controls: naive -635.03; the adjusted interval holds the experiment's +1,794."""
    rows = pd.read_parquet(real_data / "streamrec/lalonde_matchit.parquet")
    covariates = pd.get_dummies(rows.drop(columns=["treat", "re78"]), dtype=float)
    found = estimate_effect(rows["re78"], rows["treat"], covariates, seed=1, placebos=2)
    assert found.naive.estimate == pytest.approx(-635.03, abs=0.005)
    assert found.aipw.low <= 1794 <= found.aipw.high
    assert found.aipw.estimate > 0
