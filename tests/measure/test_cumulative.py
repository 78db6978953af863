"""Cumulative calibration errors equal published numbers, and their p-values hold their promise."""

from __future__ import annotations

import numpy as np
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.measure.cumulative import (
    brownian_maximum_survival,
    brownian_range_survival,
    cumulative_calibration,
)
from forecastle.measure.isotonic import pool_ties
from tests.measure.minstd import fixture

PUBLISHED = {
    "a": (0.0190839401, 0.0150432345, 0.0091071816, 0.14429),
    "A": (0.0441768333, 0.0322351542, 0.0079949343, 1.31342e-7),
    "B": (0.0258968829, 0.0258968829, 0.0095358279, 0.0264502),
    "C": (0.0153250, 0.0143500, 0.0091653560, 0.371455),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_errors_of_the_fixture(name):
    """ECCE-R, ECCE-MAD, sigma and p of the four forecasts, ties collapsed, as computed in R and Python."""
    data = fixture()
    found = cumulative_calibration(pool_ties(data["y"], data[name]))
    assert (found.range, found.maximum, found.sigma) == pytest.approx(PUBLISHED[name][:3], abs=5e-11)
    assert found.range_p_value == pytest.approx(PUBLISHED[name][3], rel=5e-6)
    assert found.range_in_sigma == found.range / found.sigma


def test_distribution_functions_have_published_values():
    """Kuiper and Kolmogorov-Smirnov limit distributions at six points, to ten digits."""
    x = [1.0, 1.5, 2.0, 2.241, 2.5, 3.0]
    kuiper = [0.0633645879, 0.4870592458, 0.8185056606, 0.8999548571, 0.9503272638, 0.9892008315]
    kolmogorov = [0.3707774298, 0.7327847856, 0.9089994762, 0.9499478500, 0.9751613387, 0.9946004079]
    assert 1.0 - brownian_range_survival(x) == pytest.approx(kuiper, abs=5e-11)
    assert 1.0 - brownian_maximum_survival(x) == pytest.approx(kolmogorov, abs=5e-11)


@pytest.mark.parametrize(
    ("survival", "mean"),
    [(brownian_range_survival, 2 * np.sqrt(2 / np.pi)), (brownian_maximum_survival, np.sqrt(np.pi / 2))],
)
def test_survival_functions_integrate_to_the_known_means(survival, mean):
    """The area under P(X > x) is E[X]: 2 sqrt(2/pi) for the range, sqrt(pi/2) for the maximum."""
    x = np.linspace(0.0, 12.0, 12_001)
    assert np.trapezoid(survival(x), x) == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize(("survival", "switch"), [(brownian_range_survival, 2.0), (brownian_maximum_survival, 1.0)])
def test_the_two_series_meet(survival, switch):
    """Both series give one value where one takes over from the other, and the tail stays positive."""
    below, above = survival([switch - 1e-9, switch + 1e-9])
    assert below == pytest.approx(above, abs=1e-8)
    tail = survival([0.0, 8.0, 12.0, np.inf])
    assert tail[0] == 1.0
    assert 0.0 < tail[2] < tail[1] < 1e-12
    assert tail[3] == 0.0


def test_far_tail_is_the_first_term_of_each_series():
    """At 9 sigma the p-value is 8 P(Z > 9), not the rounding error of 1 - cdf."""
    assert brownian_range_survival([9.0])[0] == pytest.approx(8 * 1.1285884059538e-19, rel=1e-9)


def test_p_values_are_uniform_when_calibrated():
    """Of 400 calibrated samples about 5 % fall below 0.05 (binomial bounds at four standard errors)."""
    generator = np.random.default_rng(11)
    p = generator.random((400, 500))
    y = (generator.random((400, 500)) < p).astype(float)
    p_values = [cumulative_calibration(pool_ties(*pair)).range_p_value for pair in zip(y, p, strict=True)]
    assert abs(np.mean(np.array(p_values) < 0.05) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 400)


def test_weights_scale_out_and_count():
    """Doubling every weight changes nothing but is told from doubling rows, whose sigma shrinks by sqrt 2."""
    data = fixture()
    single = cumulative_calibration(pool_ties(data["y"], data["a"]))
    doubled = cumulative_calibration(pool_ties(data["y"], data["a"], weights=np.full(2000, 2.0)))
    repeated = cumulative_calibration(pool_ties(np.repeat(data["y"], 2), np.repeat(data["a"], 2)))
    assert (doubled.range, doubled.sigma) == pytest.approx((single.range, single.sigma))
    assert repeated.sigma == pytest.approx(single.sigma / np.sqrt(2))


@pytest.mark.parametrize(("y", "p_value", "ratio"), [([0, 1], 1.0, 0.0), ([1, 1], 0.0, np.inf)])
def test_certain_forecasts_have_limit_values(y, p_value, ratio):
    """Forecasts of 0 and 1 only: p is 1 when all were right, else 0 at infinite sigmas."""
    found = cumulative_calibration(pool_ties(y, [0.0, 1.0]))
    assert (found.sigma, found.range_p_value, found.range_in_sigma) == (0.0, p_value, ratio)


def test_missing_statistics_are_refused():
    """A statistic that is not a number has no p-value."""
    with pytest.raises(MeasureError):
        brownian_range_survival([np.nan])
