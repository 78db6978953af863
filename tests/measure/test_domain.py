"""The domain classifier: quiet without drift, and seeing what no single feature shows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.measure.domain import IMPORTANCE_COLUMNS, density_ratios, domain_drift
from forecastle.measure.drift import drift_table, reference


def normal_frame(rng, n, features=10, shift=0.0, correlation=0.0):
    """Standard normal columns; the first is shifted, the first two correlated with unit variance."""
    x = rng.normal(size=(n, features))
    x[:, 1] = correlation * x[:, 0] + np.sqrt(1 - correlation**2) * x[:, 1]
    x[:, 0] += shift
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(features)])


def test_no_drift_is_quiet():
    """AUC near one half, |z| small, no alarm."""
    rng = np.random.default_rng(1)
    found = domain_drift(normal_frame(rng, 2000), normal_frame(rng, 2000), seed=1)
    assert abs(found.z) < 3
    assert found.low <= 0.5 <= found.high
    assert not found.is_alarm


def test_shift_is_found_and_named():
    """A shift of half a standard deviation has AUC near .638 - what a perfect classifier would reach."""
    rng = np.random.default_rng(2)
    found = domain_drift(normal_frame(rng, 3000), normal_frame(rng, 3000, shift=0.5), seed=1)
    assert found.auc == pytest.approx(0.638, abs=0.04)
    assert found.is_alarm
    assert found.importances["feature"].iloc[0] == "x0"
    assert tuple(found.importances.columns) == IMPORTANCE_COLUMNS
    assert found.importances["gain_share"].sum() == pytest.approx(1.0)
    assert "x0" in found.reason


def test_correlation_only_drift():
    """Marginals unchanged: the drift table sees nothing, the classifier does."""
    rng = np.random.default_rng(3)
    before, now = normal_frame(rng, 4000), normal_frame(rng, 4000, correlation=0.7)
    assert drift_table({name: reference(before[name]) for name in before}, now).alarms == ()
    found = domain_drift(before, now, seed=1)
    assert found.z > 5
    assert set(found.importances["feature"].head(2)) == {"x0", "x1"}


def test_z_is_the_mann_whitney_null():
    """(AUC - 1/2) / sqrt((n + m + 1) / (12 n m))."""
    rng = np.random.default_rng(4)
    found = domain_drift(normal_frame(rng, 300), normal_frame(rng, 500), seed=1)
    assert found.z == pytest.approx((found.auc - 0.5) / np.sqrt(801 / (12 * 300 * 500)))


def test_text_and_nulls_are_features():
    """A category that becomes common and a column that becomes null are both found; the same seed repeats."""
    rng = np.random.default_rng(5)
    before = pd.DataFrame({"c": rng.choice(["a", "b"], 600), "x": rng.normal(size=600)})
    now = pd.DataFrame({"x": np.where(rng.random(600) < 0.5, np.nan, 0.1), "c": rng.choice(["a", "b", "c"], 600)})
    first, second = domain_drift(before, now, seed=1), domain_drift(before, now, seed=1)
    assert first.auc > 0.8
    assert first.auc == second.auc


def test_refusals():
    """Missing columns and too few rows."""
    frame = pd.DataFrame({"x": np.arange(30.0)})
    with pytest.raises(MeasureError, match="lack the columns x"):
        domain_drift(frame, frame.rename(columns={"x": "y"}), seed=1)
    with pytest.raises(MeasureError, match="longer window"):
        domain_drift(frame, frame.head(5), seed=1)


def test_density_ratios_carry_the_reference_to_the_current_mix():
    """Reference N(0, 1), current N(1, 1): weighted means move most of the way, and the mean ratio is 1."""
    rng = np.random.default_rng(8)
    before, after = pd.DataFrame({"x": rng.normal(size=6000)}), pd.DataFrame({"x": rng.normal(1.0, 1.0, 3000)})
    ratios = density_ratios(before, after, seed=1)
    assert ratios.mean() == pytest.approx(1.0)
    # The true ratio is exp(x - 1/2), with E[x ratio] = 1.
    assert float(np.average(before["x"], weights=ratios)) == pytest.approx(1.0, abs=0.15)
    assert np.corrcoef(np.log(ratios), before["x"])[0, 1] > 0.9
    with pytest.raises(MeasureError, match="more than 1"):
        density_ratios(before, after, largest=1.0, seed=1)
