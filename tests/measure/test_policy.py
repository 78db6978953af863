"""Off-policy values by hand, in simulation, and on real logs of two policies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.measure.policy import off_policy_value


def test_by_hand():
    """Rewards 1 0 1, weights 2 1 1/2: IPS 2.5 / 3, SNIPS 2.5 / 3.5, ESS 3.5² / 5.25."""
    found = off_policy_value([1, 0, 1], [0.25, 0.5, 0.5], [0.5, 0.5, 0.25], seed=1)
    assert found.ips.estimate == pytest.approx(2.5 / 3)
    assert found.snips.estimate == pytest.approx(2.5 / 3.5)
    assert found.on_policy.estimate == pytest.approx(2 / 3)
    assert found.ess == pytest.approx(3.5**2 / 5.25)
    assert found.dr is None
    assert "hardly ever tried" in found.reasons[0]


def test_doubly_robust_by_hand():
    """mean(q_target) + mean(w (r - q_logged)) = .5 + (2 (1 - .5) + 1 (0 - .5)) / 2."""
    found = off_policy_value(
        [1, 0], [0.25, 0.5], [0.5, 0.5], predicted_logged=[0.5, 0.5], predicted_target=[0.5, 0.5], seed=1
    )
    assert found.dr.estimate == pytest.approx(0.5 + (2 * 0.5 - 0.5) / 2)


def simulated(seed, n=4000):
    """Two actions, logged .8/.2, reward rates .1/.3; the target takes the second 70 % of times: value .24."""
    rng = np.random.default_rng(seed)
    second = rng.random(n) < 0.2
    r = (rng.random(n) < np.where(second, 0.3, 0.1)).astype(float)
    return r, np.where(second, 0.2, 0.8), np.where(second, 0.7, 0.3), second


def test_unbiased_in_simulation():
    """IPS, SNIPS and DR (with a wrong reward model) all find .24; the log's own mean is .14."""
    r, logged, target, _ = simulated(1, n=20_000)
    found = off_policy_value(
        r,
        logged,
        target,
        predicted_logged=np.full(r.size, 0.2),
        predicted_target=np.full(r.size, 0.2),
        seed=1,
    )
    for estimate in (found.ips, found.snips, found.dr):
        assert estimate.estimate == pytest.approx(0.24, abs=0.015)
        assert estimate.low <= 0.24 <= estimate.high
    assert found.on_policy.estimate == pytest.approx(0.14, abs=0.01)
    assert found.reasons == ()


def test_a_right_model_narrows_the_interval():
    """With the true reward rates DR has a narrower interval than IPS."""
    r, logged, target, second = simulated(2)
    q = np.where(second, 0.3, 0.1)
    found = off_policy_value(r, logged, target, predicted_logged=q, predicted_target=np.full(r.size, 0.24), seed=1)
    assert found.dr.high - found.dr.low < found.ips.high - found.ips.low


def test_wrong_propensities_are_noticed():
    """Propensities twice too small make weights that average 2."""
    r, logged, target, _ = simulated(3)
    found = off_policy_value(r, logged / 2, target, seed=1)
    assert any("instead of 1" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (([1.0], [0.0], [0.5]), {}, "log it with the action"),
        (([1.0], [0.5], [0.0]), {}, "never takes a logged action"),
        (([1.0, 0.0], [0.5, 0.5], [0.5, 0.5]), {"predicted_logged": [0.1, 0.1]}, "pass both or neither"),
        (([1.0, 0.0], [0.5], [0.5]), {}, "different lengths"),
    ],
)
def test_refusals(arguments, options, says):
    """Logs without propensities and half a reward model are refused."""
    with pytest.raises(MeasureError, match=says):
        off_policy_value(*arguments, seed=1, **options)


def test_random_policy_from_thompson_logs(real_data):
    """Open Bandit, men: the uniform policy valued from Thompson logs agrees with its own clicks."""
    rows = pd.read_parquet(real_data / "streamrec/obd_impressions.parquet")
    rows = rows[rows["campaign"] == "men"]
    thompson, uniform = rows[rows["policy"] == "bts"], rows[rows["policy"] == "random"]
    found = off_policy_value(
        thompson["click"], thompson["action_prob"], np.full(len(thompson), 1 / 34), seed=1, level=0.95
    )
    realised = uniform["click"].mean()
    assert realised == pytest.approx(0.0046)
    assert found.on_policy.estimate == pytest.approx(0.0069)
    assert found.snips.low <= realised <= found.snips.high
    assert found.ess < len(thompson)
