"""Single-number calibration tests equal R's rms, pROC companions and arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import MeasureError
from forecastle.measure.calibration_tests import (
    binned_calibration,
    calibration_in_the_large,
    cox_calibration,
    expected_over_observed,
    hosmer_lemeshow,
    ratio,
    spiegelhalter_test,
)
from forecastle.measure.isotonic import pool_ties
from tests.measure.minstd import fixture

# slope, intercept, in the large, its standard error, Spiegelhalter Z: R rms and Python agree
PUBLISHED = {
    "a": (0.97960335, -0.07497060, -0.07563102, 0.05492578, 0.50060417),
    "A": (0.61380677, -0.07571286, -0.09289191, 0.06258509, 11.45202043),
    "B": (1.18746665, -0.07369619, -0.06812898, 0.05245032, -3.19008762),
    "C": (1.00402025, -0.07396326, -0.07382947, 0.05457508, 0.09208409),
}
DEBIASED = {"a": 0.0005549196, "A": 0.0056951968, "B": 0.0011376419}
HOSMER_LEMESHOW = {"a": 13.87552225, "A": 193.35209560, "B": 25.14453260}


def _cells(name):
    data = fixture()
    return pool_ties(data["y"], data[name])


@pytest.mark.parametrize("name", PUBLISHED)
def test_regression_and_z_agree_with_r(name):
    """Slope, intercept, calibration in the large and Z of the four forecasts to eight digits."""
    cells = _cells(name)
    cox, large, test = cox_calibration(cells), calibration_in_the_large(cells), spiegelhalter_test(cells)
    found = (cox.slope, cox.intercept, large.intercept, large.standard_error, test.z)
    assert found == pytest.approx(PUBLISHED[name], abs=6e-9)


def test_spiegelhalter_is_two_sided():
    """Z = -3.19 has p = .0014222966; a one-sided reading would call it .9993."""
    assert spiegelhalter_test(_cells("B")).p_value == pytest.approx(0.0014222966, abs=5e-11)


@pytest.mark.parametrize("name", DEBIASED)
def test_debiased_error_of_fifteen_bins(name):
    """Kumar's debiased squared error over 15 equal-mass bins, and below the plug-in one."""
    found = binned_calibration(_cells(name))
    assert found.debiased_squared == pytest.approx(DEBIASED[name], abs=5e-11)
    assert found.debiased_squared < found.squared
    assert found.bins == 15


@pytest.mark.parametrize("name", HOSMER_LEMESHOW)
def test_hosmer_lemeshow_of_ten_bins(name):
    """The familiar statistic on ten equal-mass bins, with ten degrees of freedom."""
    found = hosmer_lemeshow(_cells(name))
    assert found.statistic == pytest.approx(HOSMER_LEMESHOW[name], abs=6e-9)
    assert found.degrees_of_freedom == 10


def test_bins_keep_ties_together():
    """Rows with one probability fall into one bin whatever their order, so the result cannot depend on it."""
    data = fixture()
    shuffled = np.random.default_rng(0).permutation(2000)
    straight = binned_calibration(pool_ties(data["y"], data["C"]))
    mixed = binned_calibration(pool_ties(data["y"][shuffled], data["C"][shuffled]))
    assert straight == mixed
    assert binned_calibration(pool_ties([0, 1, 1], [0.5, 0.5, 0.5])).bins == 1


def test_binned_error_by_hand():
    """Bins (0.1, 0.3; no event) and (0.6, 0.8; one event): gaps 0.2 and 0.2, squares 0.04."""
    found = binned_calibration(pool_ties([0, 0, 1, 0], [0.1, 0.3, 0.6, 0.8]), bins=2)
    assert (found.absolute, found.squared) == pytest.approx((0.2, 0.04))
    assert found.debiased_squared == pytest.approx(0.04 - 0.5 * 0.5 * 0.5 / 1)


def test_expected_over_observed_has_the_exact_interval():
    """3 events of 20 where 6 were expected: 6/3, divided by 20 x the Clopper-Pearson bounds of 3/20."""
    cells = pool_ties([1] * 3 + [0] * 17, [0.3] * 20)
    found = expected_over_observed(cells)
    assert found.ratio == pytest.approx(2.0)
    assert (found.low, found.high) == pytest.approx((6 / (20 * 0.37892683), 6 / (20 * 0.03207094)), rel=1e-6)


def test_expected_over_observed_without_events_is_infinite():
    """Nothing happened: the ratio is infinite, its lower end 3 / (15 x .21801936) is not."""
    found = expected_over_observed(pool_ties([0] * 15, [0.2] * 15))
    assert (found.ratio, found.high) == (np.inf, np.inf)
    assert found.low == pytest.approx(3 / (15 * 0.21801936), rel=1e-6)
    assert ratio(0.0, 0.0) == 1.0


def test_baseball_agrees_with_val_prob(real_data):
    """R rms::val.prob on 25,165 games: slope, intercept, Z and its p-value."""
    import pandas as pd

    games = pd.read_parquet(real_data / "calibration" / "mlb_forecasters_2010_2019.parquet")
    published = {
        "fivethirtyeight": (1.01759, 0.00228, -0.547782, 0.583842),
        "vegas": (1.03133, -0.00604, -0.736524, 0.461412),
    }
    for name, expected in published.items():
        cells = pool_ties(games["y"], games[name])
        cox, test = cox_calibration(cells), spiegelhalter_test(cells)
        assert (cox.slope, cox.intercept) == pytest.approx(expected[:2], abs=6e-6)
        assert (test.z, test.p_value) == pytest.approx(expected[2:], abs=6e-7)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1.0, 1.0), st.floats(0.3, 3.0), st.integers(0, 2**31))
def test_fit_solves_its_score_equations(shift, stretch, seed):
    """At the fit, residuals sum to zero, plain and times logit(p)."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=400)
    p = 1.0 / (1.0 + np.exp(-x))
    y = (generator.random(400) < 1.0 / (1.0 + np.exp(-(shift + stretch * x)))).astype(float)
    cox = cox_calibration(pool_ties(y, p))
    residual = y - 1.0 / (1.0 + np.exp(-(cox.intercept + cox.slope * x)))
    assert abs(residual.sum()) < 1e-6
    assert abs(residual @ x) < 1e-6


def test_certain_rows_are_left_out_and_counted():
    """Rows with p of 0 or 1 have no logit: the fit is that of the others."""
    data = fixture()
    y, p = np.concatenate([data["y"], [1.0, 0.0]]), np.concatenate([data["a"], [1.0, 1.0]])
    with_certain, without = cox_calibration(pool_ties(y, p)), cox_calibration(_cells("a"))
    assert with_certain.certain_rows == 2
    assert with_certain.slope == pytest.approx(without.slope)
    assert calibration_in_the_large(pool_ties(y, p)).certain_rows == 2


@pytest.mark.parametrize(
    ("y", "p", "words"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], "no maximum"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "both outcomes"),
        ([0, 1], [0.5, 0.5], "one distinct"),
        ([0, 1], [0.0, 1.0], "both outcomes"),
    ],
)
def test_slopes_that_do_not_exist_are_refused(y, p, words):
    """Separated outcomes, one class, one probability and only certain forecasts have no slope."""
    with pytest.raises(MeasureError, match=words):
        cox_calibration(pool_ties(y, p))


def test_certain_forecasts_have_limit_values():
    """Z is 0 when certain forecasts were right and infinite when wrong; so is Hosmer-Lemeshow."""
    right, wrong = pool_ties([0, 1], [0.0, 1.0]), pool_ties([1, 1], [0.0, 1.0])
    assert spiegelhalter_test(right) == spiegelhalter_test(pool_ties([0, 1], [0.5, 0.5]))
    assert (spiegelhalter_test(wrong).z, spiegelhalter_test(wrong).p_value) == (np.inf, 0.0)
    assert (hosmer_lemeshow(right).statistic, hosmer_lemeshow(right).p_value) == (0.0, 1.0)
    assert (hosmer_lemeshow(wrong).statistic, hosmer_lemeshow(wrong).p_value) == (np.inf, 0.0)


@pytest.mark.parametrize("measure", [binned_calibration, hosmer_lemeshow, expected_over_observed])
def test_measures_that_count_rows_refuse_weights(measure):
    """Weights have no meaning where rows are counted."""
    with pytest.raises(MeasureError, match="weighted"):
        measure(pool_ties([0, 1], [0.2, 0.4], weights=[1, 2]))


@pytest.mark.parametrize("measure", [binned_calibration, hosmer_lemeshow])
def test_fewer_than_one_bin_is_refused(measure):
    """Zero bins have no error."""
    with pytest.raises(MeasureError, match="bins"):
        measure(_cells("a"), bins=0)
