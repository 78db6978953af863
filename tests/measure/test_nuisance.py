"""Cross-fitting, overlap and balance by hand."""

from __future__ import annotations

import numpy as np
import pytest

from forecastle.measure.nuisance import balance_table, cross_fit, overlap


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


def test_balance_by_hand():
    """Means 2 and 1 with variances 2 and 2: difference 1 / sqrt(2); a constant covariate has none."""
    covariates = np.array([[1.0, 5.0], [3.0, 5.0], [0.0, 5.0], [2.0, 5.0]])
    found = balance_table([1, 1, 0, 0], covariates, np.full(4, 0.5), ("x", "constant"))
    assert found["smd_naive"].tolist() == pytest.approx([1 / np.sqrt(2), 0.0])
    # Treated weights 1/.25 and 1/.75 make their mean (4 x 1 + 4/3 x 3) / (16/3) = 1.5.
    weighted = balance_table([1, 1, 0, 0], covariates, [0.25, 0.75, 0.5, 0.5], ("x", "constant"))
    assert weighted["smd_weighted"].iloc[0] == pytest.approx(0.5 / np.sqrt(2))
