"""Effect estimators: closed forms and simulated confounding."""

from __future__ import annotations

import numpy as np
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.measure.lift import aipw, e_value, ipw, naive_lift
from forecastle.measure.nuisance import Nuisance
from tests.measure.confounded_logs import confounded


def test_naive_lift_by_hand():
    """(1+0+1)/3 - (0+0+1)/3 with Welch's standard error."""
    found = naive_lift([1, 0, 1, 0, 0, 1], [1, 1, 1, 0, 0, 0])
    assert found.estimate == pytest.approx(1 / 3)
    assert found.standard_error == pytest.approx(np.sqrt(2 * (1 / 3) / 3))
    assert naive_lift([2, 0, 5, 1], [1, 1, 0, 0]).estimate == pytest.approx((2 + 0) / 2 - (5 + 1) / 2)


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


def test_e_values():
    """RR 3.9 -> 7.263, 1.8 -> 3.0 (VanderWeele & Ding 2017), symmetric under inversion, 1 without effect."""
    assert e_value(3.9) == pytest.approx(7.263, abs=1e-3)
    assert e_value(1.8) == pytest.approx(3.0)
    assert e_value(1 / 1.8) == pytest.approx(3.0)
    assert e_value(1.0) == 1.0
    with pytest.raises(MeasureError, match="above 0"):
        e_value(0.0)
