"""Smooth calibration error agrees with its definition and with the published implementation."""

from __future__ import annotations

import numpy as np
import pytest

from forecastle.measure.isotonic import pool_ties
from forecastle.measure.smooth import grid_positions, reflected_spectrum, smooth_calibration_error, smoothed
from tests.measure.minstd import fixture

RELPLOT = {"a": 0.02525656, "A": 0.07188071, "B": 0.03461477, "C": 0.02231229}


@pytest.mark.parametrize("name", RELPLOT)
def test_close_to_the_authors_implementation(name):
    """The authors' relplot searches its own grid in steps of 1e-3; we agree within that."""
    data = fixture()
    found = smooth_calibration_error(pool_ties(data["y"], data[name]))
    assert found == pytest.approx(RELPLOT[name], abs=1e-3)


def _direct(y, p, bandwidth):
    """Mean absolute smoothed residual by direct summation over images of each row at 0 and 1."""
    t = (np.arange(2000) + 0.5) / 2000
    images = [p, -p, 2.0 - p, 2.0 + p, p - 2.0]
    kernel = sum(np.exp(-0.5 * ((t[:, None] - image) / bandwidth) ** 2) for image in images)
    kernel /= bandwidth * np.sqrt(2.0 * np.pi)
    return np.abs(kernel @ (p - y) / y.size).mean()


@pytest.mark.parametrize("name", ["a", "A"])
def test_it_is_the_fixed_point_of_its_definition(name):
    """Summing the reflected kernel directly at the found bandwidth gives that bandwidth back."""
    data = fixture()
    found = smooth_calibration_error(pool_ties(data["y"], data[name]))
    assert _direct(data["y"], data[name], found) == pytest.approx(found, abs=2e-5)


def test_constant_forecast_has_its_average_error():
    """A forecast of 0.3 for what happens half of the time is off by 0.2 at every scale."""
    assert smooth_calibration_error(pool_ties([0, 1], [0.3, 0.3])) == pytest.approx(0.2, abs=1e-3)


def test_perfect_forecasts_have_none():
    """Certain and right forecasts leave no residual."""
    assert smooth_calibration_error(pool_ties([0, 1, 1], [0.0, 1.0, 1.0])) == 0.0


def test_worst_forecasts_stay_within_one():
    """Certain and wrong both ways: wide smoothing cancels the residuals in part, yet no error is larger."""
    worst = smooth_calibration_error(pool_ties([1, 0], [0.0, 1.0]))
    assert smooth_calibration_error(pool_ties([1, 0], [0.1, 0.9])) < worst < 0.5
    assert smooth_calibration_error(pool_ties([0, 0], [1.0, 1.0])) == pytest.approx(1.0)


def test_smoothing_keeps_mass_and_reflects_at_the_edges():
    """A unit mass at 0 keeps its mass; its density at the edge is twice the kernel's peak."""
    density = smoothed(reflected_spectrum(np.array([0.0]), np.array([1.0])), 0.05)
    assert density.mean() == pytest.approx(1.0)
    assert density[0] == pytest.approx(2.0 / (0.05 * np.sqrt(2.0 * np.pi)), rel=1e-3)
    assert grid_positions()[0] < 1e-3
