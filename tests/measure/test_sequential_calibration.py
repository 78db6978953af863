"""The calibration e-process: a martingale under calibration, growing without it."""

from __future__ import annotations

import numpy as np
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.measure.recalibration import fit_calibrator
from forecastle.measure.sequential_calibration import BETS, FIRST_BET, calibration_process
from tests.measure.minstd import fixture


def test_equals_the_product_written_out():
    """Row by row with refits at 50, 75, 113: the mean over bets of products of likelihood ratios."""
    data = fixture()
    y, p = data["y"][:130], data["A"][:130]
    products = dict.fromkeys(BETS, 1.0)
    start = FIRST_BET
    for t in range(FIRST_BET, 130):
        start = max(edge for edge in (50, 75, 113) if edge <= t)
        for name in BETS:
            q = 0.5 * p[t] + 0.5 * fit_calibrator(name, y[:start], p[:start]).apply_scalar(float(p[t]))
            products[name] *= (q if y[t] else 1 - q) / (p[t] if y[t] else 1 - p[t])
    found = calibration_process(y, p)
    assert found.log_e[-1] == pytest.approx(np.log(np.mean(list(products.values()))), abs=1e-9)
    assert found.log_e[:FIRST_BET].tolist() == pytest.approx([0.0] * FIRST_BET)


def test_calibrated_forecasts_are_not_rejected_and_overconfident_ones_are():
    """On the fixture: a passes, A (over-confident) and B (under-confident, p .03 by ECCE) differ as they should."""
    data = fixture()
    assert calibration_process(data["y"], data["a"]).first_rejection is None
    found = calibration_process(data["y"], data["A"])
    assert found.first_rejection is not None
    assert found.first_rejection < 1500
    assert found.log_e[-1] > np.log(1000)
    assert "not calibrated" in found.reason


def test_mean_and_ever_crossing_under_calibration():
    """400 calibrated streams of 300: mean e-value at most 1 (4 standard errors), ever above 20 in at most 5 %."""
    rng = np.random.default_rng(17)
    ends, crossings = [], 0
    for _ in range(400):
        p = rng.beta(1.5, 1.5, 300)
        found = calibration_process(rng.random(300) < p, p)
        ends.append(np.exp(found.log_e[-1]))
        crossings += found.first_rejection is not None
    assert np.mean(ends) <= 1 + 4 * np.std(ends) / np.sqrt(400)
    assert crossings / 400 <= 0.05


def test_an_excluded_outcome_is_final_evidence():
    """A forecast of 0 that came true makes the e-value infinite at once and for ever."""
    y, p = np.array([0, 1, 0, 0]), np.array([0.5, 0.0, 0.5, 0.0])
    found = calibration_process(y, p)
    assert found.log_e.tolist() == [0.0, np.inf, np.inf, np.inf]
    assert found.first_rejection == 2


def test_refuses_a_level_outside_the_unit_interval():
    """A level of 95 is a percentage."""
    with pytest.raises(MeasureError, match="strictly between 0 and 1"):
        calibration_process([0, 1], [0.2, 0.8], level=95)
