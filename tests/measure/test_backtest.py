"""Sharpe ratios against the papers' numbers; overfitting against its definition and on pure noise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from forecastle.contract.errors import MeasureError
from forecastle.measure.backtest import (
    deflated_sharpe_test,
    expected_best_sharpe,
    overfitting_probability,
    probabilistic_sharpe,
    sharpe_test,
)


def test_deflated_sharpe_equals_the_paper() -> None:
    """Bailey & Lopez de Prado 2014: SR 2.5/√250, T 1250, N 100, V 1/2/250, skewness -3, kurtosis 10."""
    benchmark = expected_best_sharpe(100, variance=0.5 / 250)
    assert benchmark == pytest.approx(0.1131720019, abs=5e-11)
    moments = {"skewness": -3.0, "kurtosis": 10.0}
    daily = 2.5 / math.sqrt(250)
    assert probabilistic_sharpe(daily, 1250, benchmark=benchmark, **moments) == pytest.approx(0.9003968344, abs=5e-11)
    after_46 = expected_best_sharpe(46, variance=0.5 / 250)
    assert probabilistic_sharpe(daily, 1250, benchmark=after_46, **moments) == pytest.approx(0.9505, abs=5e-5)


def test_probabilistic_sharpe_equals_the_paper() -> None:
    """Bailey & Lopez de Prado 2012: SR 1.585/√12, T 24, skewness -2.448, kurtosis 10.164 → .9132343."""
    probability = probabilistic_sharpe(1.585 / math.sqrt(12), 24, skewness=-2.448, kurtosis=10.164)
    assert probability == pytest.approx(0.9132343, abs=5e-8)


def test_expected_best_of_many_is_near_the_simulated_one() -> None:
    """N = 100: formula 2.5306029; the mean maximum of 100 normals, simulated, is within 2 %."""
    assert expected_best_sharpe(100, variance=1) == pytest.approx(2.5306029, abs=5e-8)
    simulated = np.random.default_rng(0).normal(size=(4000, 100)).max(axis=1).mean()
    assert expected_best_sharpe(100, variance=1) == pytest.approx(simulated, rel=0.02)
    assert expected_best_sharpe(1, variance=1) == 0.0


def test_tests_take_their_moments_from_the_returns() -> None:
    """SciPy's skewness and kurtosis, and the spread of the trials, give the same probabilities."""
    returns = np.random.default_rng(1).exponential(size=400) - 0.9
    test = sharpe_test(returns)
    sharpe = returns.mean() / returns.std(ddof=1)
    moments = {"skewness": float(stats.skew(returns)), "kurtosis": float(stats.kurtosis(returns)) + 3}
    assert test.probability == pytest.approx(probabilistic_sharpe(sharpe, 400, **moments), abs=1e-12)
    trials = [0.01, -0.02, 0.03, sharpe]
    deflated = deflated_sharpe_test(returns, trials)
    assert deflated.benchmark == pytest.approx(expected_best_sharpe(4, variance=np.var(trials, ddof=1)))
    assert deflated.probability < test.probability
    assert deflated.trials == 4


def test_overfitting_equals_its_definition() -> None:
    """All six halvings of four blocks, looped: best in one half, rank in the other."""
    returns = np.random.default_rng(2).normal(size=(40, 7))
    blocks = np.split(returns, 4)
    logits = []
    for chosen in itertools.combinations(range(4), 2):
        inside = np.concatenate([blocks[i] for i in chosen])
        outside = np.concatenate([blocks[i] for i in range(4) if i not in chosen])
        best = np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1))
        rank = stats.rankdata(outside.mean(axis=0) / outside.std(axis=0, ddof=1))[best] / 8
        logits.append(math.log(rank / (1 - rank)))
    found = overfitting_probability(returns, blocks=4)
    assert found.logits.tolist() == pytest.approx(logits, abs=1e-12)
    assert found.probability == np.mean(np.array(logits) <= 0)


def test_noise_is_overfitted_half_of_the_time() -> None:
    """Strategies without skill: the best of the past ranks anywhere in the future (120 seeded histories)."""
    rng = np.random.default_rng(3)
    found = [overfitting_probability(rng.normal(size=(240, 20)), blocks=8).probability for _ in range(120)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_skill_is_not_overfitted() -> None:
    """One strategy with a true edge stays the best: probability near 0 and no losses."""
    returns = np.random.default_rng(4).normal(size=(800, 15))
    returns[:, 3] += 0.3
    found = overfitting_probability(returns)
    assert found.probability < 0.01
    assert found.loss_probability == 0.0
    assert found.logits.size == math.comb(16, 8)


def test_strategies_that_never_bet_rank_as_zero() -> None:
    """A column of zeros has ratio 0 in every split, and ties share their rank: logit 0."""
    found = overfitting_probability(np.zeros((20, 3)), blocks=4)
    assert found.logits.tolist() == [0.0] * 6
    assert found.in_sample.tolist() == [0.0] * 6


def test_unusable_input_is_refused() -> None:
    """Too few periods, strategies or trials, odd blocks and impossible moments are refused."""
    with pytest.raises(MeasureError, match="at least 3 periods"):
        sharpe_test([0.1, 0.1, 0.1])
    with pytest.raises(MeasureError, match="at least 2 trials"):
        deflated_sharpe_test([0.1, 0.2, 0.3], [0.1])
    with pytest.raises(MeasureError, match="possible moments"):
        probabilistic_sharpe(2.0, 10, skewness=5.0, kurtosis=1.0)
    with pytest.raises(MeasureError, match="trials"):
        expected_best_sharpe(0, variance=1)
    with pytest.raises(MeasureError, match="must be a table"):
        overfitting_probability([[0.1], [0.2]])
    with pytest.raises(MeasureError, match="even"):
        overfitting_probability(np.zeros((100, 3)), blocks=5)
    with pytest.raises(MeasureError, match="2 periods each"):
        overfitting_probability(np.zeros((20, 3)))
