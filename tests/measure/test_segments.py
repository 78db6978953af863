"""Segment calibration finds the bad segment, controls false alarms, and says what it could not see."""

from __future__ import annotations

import numpy as np
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.measure.calibration_tests import expected_over_observed
from forecastle.measure.cumulative import cumulative_calibration
from forecastle.measure.decomposition import decompose
from forecastle.measure.isotonic import pool_ties
from forecastle.measure.segments import SEGMENT_COLUMNS, multicalibration_error, segment_calibration
from tests.measure.minstd import fixture


@pytest.fixture(scope="module")
def mixed():
    """2,000 rows whose last quarter, league "d", carries forecasts that are 0.1 too high."""
    data = fixture()
    league = np.repeat(["a", "b", "c", "d"], 500)
    return data["y"], np.where(league == "d", np.minimum(data["a"] + 0.1, 1.0), data["a"]), league


def test_each_row_equals_the_segment_measured_alone(mixed):
    """Counts, cumulative error, ratio and Brier parts of league "b" are those of its rows alone."""
    y, p, league = mixed
    table = segment_calibration(y, p, {"league": league})
    row = table.set_index("value").loc["b"]
    cells = pool_ties(y[league == "b"], p[league == "b"])
    error, ratio = cumulative_calibration(cells), expected_over_observed(cells)
    assert (row["n"], row["events"]) == (500, ratio.observed)
    assert (row["ecce_range"], row["range_in_sigma"], row["p_value"]) == (
        error.range,
        error.range_in_sigma,
        error.range_p_value,
    )
    assert (row["expected_over_observed"], row["ratio_low"], row["ratio_high"]) == (
        ratio.ratio,
        ratio.low,
        ratio.high,
    )
    assert row["miscalibration"] == pytest.approx(decompose(y[league == "b"], p[league == "b"]).miscalibration)


def test_the_bad_segment_stands_first_and_alone_below_the_rate(mixed):
    """The shifted league is the worst row, and the only one with q below 0.05."""
    y, p, league = mixed
    table = segment_calibration(y, p, {"league": league})
    assert tuple(table.columns) == SEGMENT_COLUMNS
    assert table["value"].iloc[0] == "d"
    assert (table["q_value"] < 0.05).tolist() == [True, False, False, False]
    error = multicalibration_error(table)
    assert (error.sigma_segment, error.sigma_value) == ("league", "d")
    assert error.range_in_sigma == table["range_in_sigma"].max()
    assert error.ecce_range == table["ecce_range"].max()


def test_pairs_cross_every_two_segments(mixed):
    """4 leagues, 2 halves: 6 rows alone and 8 crossed, whose counts add up to n in each family."""
    y, p, league = mixed
    half = np.arange(2000) % 2
    table = segment_calibration(y, p, {"league": league, "half": half}, pairs=True)
    assert table.groupby("segment")["n"].sum().to_dict() == {
        "half": 2000,
        "league": 2000,
        "league × half": 2000,
    }
    assert len(table) == 4 + 2 + 8
    crossed = table[table["value"] == "d × 1"].iloc[0]
    assert crossed["n"] == 250


def test_small_values_stay_visible_but_untested(mixed):
    """A value of 40 rows keeps its numbers, has no p or q, stands last, and leaves the others' q alone."""
    y, p, league = mixed
    labels = np.where(np.arange(2000) < 40, "tiny", league)
    table = segment_calibration(y, p, {"league": labels}, minimum_rows=100)
    last = table.iloc[-1]
    assert (last["value"], last["n"], last["is_small"]) == ("tiny", 40, True)
    assert table[["p_value", "q_value"]].isna().sum().tolist() == [1, 1]
    assert multicalibration_error(table[table["is_small"]]) is None


def test_detectable_difference_is_seen_four_times_in_five():
    """A shift by `minimum_detectable` makes |mean y - mean p| exceed 1.96 sigma in about 80 % of samples."""
    generator = np.random.default_rng(4)
    p = np.full(400, 0.5)
    table = segment_calibration(generator.integers(0, 2, 400), p, {"all": ["x"] * 400})
    shift = table.loc[0, "minimum_detectable"]
    assert shift == pytest.approx((1.959964 + 0.841621) * np.sqrt(0.25 / 400), rel=1e-6)
    rates = (generator.random((2000, 400)) < 0.5 + shift).mean(axis=1)
    assert np.mean(np.abs(rates - 0.5) > 1.959964 * np.sqrt(0.25 / 400)) == pytest.approx(0.8, abs=0.04)


def test_false_alarms_stay_rare_over_many_segments():
    """60 audits of 20 calibrated segments: any q below 0.05 in about 5 % of audits."""
    generator = np.random.default_rng(8)
    alarms = 0
    for _ in range(60):
        p = generator.random(2000)
        y = generator.random(2000) < p
        table = segment_calibration(y, p, {"group": np.arange(2000) % 20})
        alarms += bool((table["q_value"] < 0.05).any())
    assert alarms <= 8  # binomial(60, 0.05) exceeds 8 once in 3,000


@pytest.mark.parametrize("segments", [{}, {"league": ["a"] * 3}, {"league": [None] * 2000}, {"league": [["a"]] * 2000}])
def test_segments_that_do_not_fit_are_refused(mixed, segments):
    """No segments, too few labels, missing labels and two-dimensional labels are refused."""
    y, p, _ = mixed
    with pytest.raises(MeasureError):
        segment_calibration(y, p, segments)
