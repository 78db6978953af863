"""Calibration by week and month: the calendar is UTC's, and the running interval may be watched."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.measure.decomposition import decompose
from forecastle.measure.periods import PERIOD_COLUMNS, calibration_by_period
from tests.measure.minstd import fixture


def _times(*texts):
    return pd.to_datetime(list(texts), utc=True)


def test_weeks_start_on_monday_and_months_on_the_first():
    """Sunday 2026-03-01 23:59 belongs to the week of 2026-02-23, the next minute to that of 2026-03-02."""
    at = _times("2026-03-01T23:59:59", "2026-03-02T00:00:00", "2026-02-28T12:00:00")
    weeks = calibration_by_period([0, 1, 1], [0.2, 0.7, 0.6], at)
    assert weeks["period"].tolist() == ["2026-02-23", "2026-03-02"]
    assert weeks["n"].tolist() == [2, 1]
    months = calibration_by_period([0, 1, 1], [0.2, 0.7, 0.6], at, period="month")
    assert months["period"].tolist() == ["2026-02-01", "2026-03-01"]
    assert months["n"].tolist() == [1, 2]
    assert tuple(months.columns) == PERIOD_COLUMNS


def test_other_zones_are_read_as_utc():
    """Half past midnight on Monday in Berlin is still Sunday in UTC; times before 1970 have weeks too."""
    at = pd.DatetimeIndex(["2026-03-02T00:30:00", "1969-12-31T00:00:00"], tz="Europe/Berlin")
    weeks = calibration_by_period([0, 1], [0.2, 0.7], at)
    assert weeks["period"].tolist() == ["1969-12-29", "2026-02-23"]


def test_periods_are_measured_as_if_alone():
    """Brier score and miscalibration of the second half equal its own decomposition."""
    data = fixture()
    at = pd.date_range("2026-01-05", periods=2000, freq="10min", tz="UTC")
    weeks = calibration_by_period(data["y"], data["A"], at)
    first = 7 * 24 * 6
    alone = decompose(data["y"][first:], data["A"][first:])
    assert weeks.loc[1, ["brier", "miscalibration", "discrimination", "uncertainty"]].tolist() == pytest.approx(
        [alone.score, alone.miscalibration, alone.discrimination, alone.uncertainty]
    )


def test_running_gap_is_the_mean_so_far_with_its_sequence():
    """After all 2,000 rows: mean y - p, and s/sqrt(n) sqrt(2 (n r + 1)/(n r) ln(sqrt(n r + 1)/.05)), tuned to
    5,000.
    """
    data = fixture()
    at = pd.date_range("2026-01-05", periods=2000, freq="10min", tz="UTC")
    last = calibration_by_period(data["y"], data["a"], at).iloc[-1]
    gaps = data["y"] - data["a"]
    r = (-2 * np.log(0.05) + np.log(-2 * np.log(0.05) + 1)) / 5000
    half = gaps.std() / np.sqrt(2000) * np.sqrt(2 * (2000 * r + 1) / (2000 * r) * np.log(np.sqrt(2000 * r + 1) / 0.05))
    assert last["running_gap"] == pytest.approx(gaps.mean())
    assert last["running_high"] - last["running_gap"] == pytest.approx(half)


def test_running_interval_holds_at_every_week():
    """Of 100 calibrated histories of 20 weeks at most 5 % ever leave zero outside (here with much to
    spare).
    """
    generator = np.random.default_rng(21)
    at = pd.date_range("2026-01-05", periods=2000, freq="100min", tz="UTC")
    left = 0
    for _ in range(100):
        p = generator.random(2000)
        table = calibration_by_period(generator.random(2000) < p, p, at)
        left += bool(((table["running_low"] > 0.0) | (table["running_high"] < 0.0)).any())
    assert left <= 5


def test_one_class_has_no_intercept():
    """A week in which nothing happened has a missing intercept, not an infinite one."""
    week = calibration_by_period([0, 0], [0.2, 0.3], _times("2026-03-02", "2026-03-03")).iloc[0]
    assert np.isnan(week["in_the_large"])
    assert week["base_rate"] == 0.0


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (pd.DatetimeIndex(["2026-01-01", "2026-01-02"]), "zone"),
        (pd.DatetimeIndex(["2026-01-01", None], tz="UTC"), "missing times"),
        (pd.DatetimeIndex(["2026-01-01"], tz="UTC"), "different lengths"),
        (["yesterday", "today?"], "cannot be read"),
    ],
)
def test_times_that_do_not_fit_are_refused(at, words):
    """Times without a zone, missing times and unpaired times are refused."""
    with pytest.raises(MeasureError, match=words):
        calibration_by_period([0, 1], [0.2, 0.3], at)


def test_other_periods_are_refused():
    """Only weeks and months are tabled."""
    with pytest.raises(MeasureError, match="allowed: week, month"):
        calibration_by_period([0, 1], [0.2, 0.3], _times("2026-03-02", "2026-03-03"), period="day")
