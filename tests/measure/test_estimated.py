"""Performance estimated without outcomes, against its closed forms, simulation and real forecasts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate

from forecastle.contract.errors import MeasureError
from forecastle.measure import scores
from forecastle.measure.domain import density_ratios
from forecastle.measure.estimated import (
    CHUNK_COLUMNS,
    estimate_by_chunk,
    estimate_performance,
    estimate_shifted_performance,
)
from tests.measure.minstd import fixture


def test_by_hand():
    """For p = .9, .2: accuracy (.9+.8)/2, Brier (.09+.16)/2, mean entropy, AUC of expected cells."""
    found = estimate_performance([0.9, 0.2])
    assert found.accuracy.estimate == pytest.approx((0.9 + 0.8) / 2)
    assert found.brier.estimate == pytest.approx((0.09 + 0.16) / 2)
    entropies = [-(p * np.log(p) + (1 - p) * np.log(1 - p)) for p in (0.9, 0.2)]
    assert found.log_loss.estimate == pytest.approx(sum(entropies) / 2)
    # Positives .9 and .2, negatives .1 and .8: (.9 (.8 + .1/2) + .2 (.8/2)) / (1.1 x .9)
    assert found.auc.estimate == pytest.approx((0.9 * 0.85 + 0.2 * 0.4) / (1.1 * 0.9))


def test_auc_is_the_trapezoid_of_expected_counts():
    """Sorted descending, hits cumsum(p) against false alarms cumsum(1 - p): the area is the AUC."""
    p = np.sort(fixture()["B"])[::-1]
    hits, alarms = np.cumsum(p) / p.sum(), np.cumsum(1 - p) / (1 - p).sum()
    area = integrate.trapezoid(np.append(0, hits), np.append(0, alarms))
    assert estimate_performance(p).auc.estimate == pytest.approx(area, abs=1e-12)


def test_realised_scores_lie_in_the_intervals():
    """Realised scores of the calibrated MINSTD forecast lie within two standard errors."""
    y, a = fixture()["y"], fixture()["a"]
    found = estimate_performance(a, level=0.9545)
    realised = {
        "accuracy": float(np.mean((a >= 0.5) == y)),
        "brier": scores.brier_score(y, a),
        "log_loss": scores.log_loss(y, a),
        "auc": scores.auc(y, a),
    }
    for name, value in realised.items():
        interval = getattr(found, name)
        assert interval.low <= value <= interval.high, name


def test_intervals_hold_their_level():
    """Outcomes drawn from the probabilities fall into 90 % intervals 90 % of the time."""
    rng = np.random.default_rng(20260601)
    p = rng.beta(2, 3, 400)
    found = estimate_performance(p, level=0.9)
    drawn = (rng.random((600, p.size)) < p).astype(float)
    realised = {
        "accuracy": [np.mean((p >= 0.5) == y) for y in drawn],
        "brier": [scores.brier_score(y, p) for y in drawn],
        "log_loss": [scores.log_loss(y, p) for y in drawn],
        "auc": [scores.auc(y, p) for y in drawn],
    }
    for name, values in realised.items():
        interval = getattr(found, name)
        share = np.mean((np.array(values) >= interval.low) & (np.array(values) <= interval.high))
        assert share == pytest.approx(0.9, abs=0.04), name


def test_covariate_shift_is_followed():
    """A batch of harder rows has a worse expected score, and the outcomes agree."""
    rng = np.random.default_rng(2)
    hard = rng.uniform(0.4, 0.6, 20_000)
    y = (rng.random(hard.size) < hard).astype(float)
    found = estimate_performance(hard)
    assert found.brier.estimate > estimate_performance(rng.uniform(0, 1, 20_000)).brier.estimate
    assert found.brier.low <= scores.brier_score(y, hard) <= found.brier.high


def test_limits_are_documented_values():
    """Certain predictions have certain scores; one score for all rows, or one possible class, has no AUC."""
    certain = estimate_performance([0.0, 1.0])
    assert (certain.brier.estimate, certain.brier.low, certain.brier.high) == (0.0, 0.0, 0.0)
    assert certain.log_loss.estimate == 0.0
    assert estimate_performance([0.3, 0.3]).auc is None
    assert estimate_performance([1.0, 1.0], scores=[1.0, 2.0]).auc is None


def test_decisions_and_scores_may_come_from_elsewhere():
    """Decisions replace the threshold; scores replace the ranking."""
    found = estimate_performance([0.9, 0.2], decisions=[0, 0], scores=[1.0, 2.0])
    assert found.accuracy.estimate == pytest.approx((0.1 + 0.8) / 2)
    assert found.auc.estimate == pytest.approx(1 - (0.9 * 0.85 + 0.2 * 0.4) / (1.1 * 0.9))


def test_chunks_are_the_batches():
    """Each chunk's rows equal the estimate of that chunk alone, in chunk order."""
    p, days = fixture()["a"], np.arange(2000) % 3
    table = estimate_by_chunk(p, days, decisions=(p > 0.7).astype(int))
    assert tuple(table.columns) == CHUNK_COLUMNS
    assert list(table["chunk"].unique()) == [0, 1, 2]
    alone = estimate_performance(p[days == 1], threshold=0.7)
    chosen = table[(table["chunk"] == 1) & (table["metric"] == "accuracy")].iloc[0]
    assert (chosen["estimate"], chosen["low"]) == pytest.approx((alone.accuracy.estimate, alone.accuracy.low))


@pytest.mark.parametrize(
    ("p", "options", "says"),
    [
        ([], {}, "no rows"),
        ([1.2], {}, "outside"),
        ([0.5], {"level": 1.0}, "level must lie"),
        ([0.5, 0.5], {"decisions": [1]}, "different lengths"),
    ],
)
def test_refusals(p, options, says):
    """Impossible input is refused."""
    with pytest.raises(MeasureError, match=says):
        estimate_performance(p, **options)


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, st.integers(2, 100), elements=st.floats(0, 1)))
def test_bounds(p):
    """Expected accuracy is at least 1/2 at the best threshold, Brier at most 1/4, log loss at most ln 2."""
    found = estimate_performance(p)
    assert 0.5 <= found.accuracy.estimate <= 1
    assert 0 <= found.brier.estimate <= 0.25
    assert 0 <= found.log_loss.estimate <= np.log(2) + 1e-12
    assert found.auc is None or found.auc.estimate >= 0.5 - 1e-9


def test_real_forecasts(real_data):
    """538's baseball forecasts are nearly calibrated: realised Brier .242495 lies in the interval."""
    games = pd.read_parquet(real_data / "calibration/mlb_forecasters_2010_2019.parquet")
    p = games["fivethirtyeight"].to_numpy()
    found = estimate_performance(p)
    assert found.brier.low <= 0.242495 <= found.brier.high


def test_shifted_estimate_sees_what_moves_behind_one_probability():
    """The model knows x, the truth also z; when z moves CBPE stays blind and PAPE finds the realised scores."""
    rng = np.random.default_rng(12)

    def world(n, share):
        x, z = rng.uniform(0.2, 0.6, n), (rng.random(n) < share).astype(float)
        y = (rng.random(n) < x + 0.35 * z).astype(float)
        return pd.DataFrame({"x": x, "z": z}), np.clip(x + 0.35 * 0.2, 0, 1), y

    before, p_before, y_before = world(20_000, 0.2)
    after, p_after, y_after = world(10_000, 0.8)
    ratios = density_ratios(before, after, seed=1)
    blind = estimate_performance(p_after)
    seeing = estimate_shifted_performance(y_before, p_before, ratios, p_after)
    realised_scores = {"brier": scores.brier_score(y_after, p_after), "log_loss": scores.log_loss(y_after, p_after)}
    for name, realised in realised_scores.items():
        error, other = (abs(getattr(found, name).estimate - realised) for found in (seeing, blind))
        assert error < 0.25 * other, name
    assert "mix of rows" in seeing.caveat


def test_shifted_estimate_without_a_shift_is_the_plain_one_on_calibrated_rows():
    """Ratios of 1 and calibrated probabilities: both estimates agree to the noise of an isotonic fit."""
    y, a = fixture()["y"], fixture()["a"]
    plain, shifted = estimate_performance(a), estimate_shifted_performance(y, a, np.ones(a.size), a)
    assert shifted.brier.estimate == pytest.approx(plain.brier.estimate, abs=0.01)
    # Expected outcomes fitted on the same rows give back the realised mean, a property of isotonic means.
    assert shifted.accuracy.estimate == pytest.approx(np.mean((a >= 0.5) == y), abs=0.01)


def test_a_certain_forecast_that_is_not_certain_has_infinite_loss():
    """A served 0 among reference rows that came true half the time: log loss is infinite, never NaN."""
    found = estimate_shifted_performance([0, 1, 0, 1], [0.0, 0.0, 1.0, 1.0], np.ones(4), [0.0, 1.0])
    assert (found.log_loss.estimate, found.log_loss.low, found.log_loss.high) == (np.inf, np.inf, np.inf)
    assert np.isfinite(found.brier.high)
