"""Sequential monitors: false alarms within their budget, power, state, and label maturity."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import integrate

from forecastle.contract.errors import MeasureError
from forecastle.measure.drift import drift_table, reference
from forecastle.measure.monitoring import (
    MATURITY_COLUMNS,
    DriftWatch,
    RiskMonitor,
    log_e_value,
    maturity_curve,
    start_risk_monitor,
)


def watched(rng, live_mean, *, tolerance=0.05, batches=20, size=100):
    """A monitor of 0/1 losses with source mean .2 after batches of live losses."""
    monitor = start_risk_monitor((rng.random(2000) < 0.2).astype(float), tolerance=tolerance)
    for _ in range(batches):
        monitor = monitor.update((rng.random(size) < live_mean).astype(float))
    return monitor


def test_risk_monitor_false_alarms():
    """200 live streams at the source's own risk, looked at 20 times: at most alpha raise an alarm."""
    rng = np.random.default_rng(1)
    assert sum(watched(rng, 0.2).is_alarmed for _ in range(200)) <= 10


def test_risk_monitor_at_the_tolerance():
    """A rise just as large as tolerated is no alarm either."""
    rng = np.random.default_rng(2)
    assert sum(watched(rng, 0.25).is_alarmed for _ in range(100)) <= 5


def test_risk_monitor_power():
    """A rise from .2 to .4 is found, and the alarm stays when the losses recover."""
    rng = np.random.default_rng(3)
    monitor = watched(rng, 0.4)
    assert monitor.is_alarmed
    assert monitor.update(np.zeros(5000)).is_alarmed
    assert monitor.reason.startswith("alarm: live risk 0.4")


def test_batches_do_not_matter():
    """One batch or many: the same state, to rounding, and exactly the same count."""
    rng = np.random.default_rng(4)
    start, losses = start_risk_monitor(rng.random(500)), rng.random(300)
    at_once, piecewise = start.update(losses), start
    for part in np.array_split(losses, 7):
        piecewise = piecewise.update(part)
    assert at_once.state.n == piecewise.state.n
    assert at_once.interval == pytest.approx(piecewise.interval, abs=1e-12)


def test_risk_monitor_is_json():
    """The state goes through text and comes back equal."""
    monitor = start_risk_monitor([0.1, 0.2], bounds=(0.0, 5.0)).update([0.3, 4.0])
    assert RiskMonitor.from_json(json.loads(json.dumps(monitor.to_json()))) == monitor


def test_monitor_before_any_label():
    """Nothing has been seen, and it says so."""
    monitor = start_risk_monitor([0.1, 0.2])
    assert (monitor.mean, monitor.is_alarmed, monitor.reason) == (None, False, "no outcome has arrived yet")
    assert monitor.source_mean == pytest.approx(0.15)


def test_loss_outside_the_bounds_is_refused():
    """A guarantee for losses in [0, 1] says nothing about 3."""
    with pytest.raises(MeasureError):
        start_risk_monitor([0.1, 0.2]).update([3.0])
    with pytest.raises(MeasureError, match="bounds"):
        start_risk_monitor([0.1], bounds=(1.0, 0.0))


def test_calibrator_is_an_e_value():
    """It integrates to 1 over uniform p, is 1/2 at 1, and continuous where the series takes over."""
    density = integrate.quad(lambda x: math.exp(log_e_value(math.exp(-x)) - x), 0, 600, limit=500)[0]
    # The rest of the mass lies beyond x = 600: the integrand is 1 / x² there.
    assert density + 1 / 600 == pytest.approx(1.0, abs=1e-3)
    assert log_e_value(1.0) == pytest.approx(math.log(0.5))
    assert log_e_value(math.exp(-0.999e-3)) == pytest.approx(log_e_value(math.exp(-1.001e-3)), abs=1e-5)
    p = 1e-4
    assert log_e_value(p) == pytest.approx(math.log((1 - p + p * math.log(p)) / (p * math.log(p) ** 2)))
    assert math.isfinite(log_e_value(0.0))


def test_watch_keeps_its_budget():
    """300 years of 60 days with 5 quiet features and a horizon of 60 days: at most alpha of them alarm."""
    rng = np.random.default_rng(5)
    alarmed = 0
    for _ in range(300):
        watch = DriftWatch(alpha=0.1, horizon_days=60)
        for p in rng.random((60, 5)):
            watch = watch.update(dict(zip("abcde", p.tolist(), strict=True)))
            if watch.alarms:
                alarmed += 1
                break
    assert alarmed <= 0.1 * 300


def test_watch_adds_up_weak_days():
    """A p of .01 every day alarms on no single day, but within weeks; reset starts again."""
    watch, day = DriftWatch(), 0
    while not watch.alarms and day < 60:
        watch, day = watch.update({"x": 0.01, "quiet": 0.7}), day + 1
    assert 3 < day < 30
    assert watch.alarms == ("x",)
    assert watch.reset(("x",)).alarms == ()
    assert watch.days == day
    assert DriftWatch.from_json(json.loads(json.dumps(watch.to_json()))) == watch


def test_watch_of_real_tables():
    """Daily drift tables feed the watch by feature name: a lasting shift alarms, its neighbour does not."""
    rng = np.random.default_rng(6)
    refs = {"moved": reference(rng.normal(size=5000)), "still": reference(rng.normal(size=5000))}
    watch = DriftWatch()
    for _ in range(15):
        day = drift_table(refs, {"moved": rng.normal(0.6, 1, 120), "still": rng.normal(size=120)})
        watch = watch.update(day.features.set_index("feature")["p_value"].to_dict())
    assert watch.alarms == ("moved",)


def test_watch_refuses_what_is_no_p_value():
    """NaN is not evidence."""
    with pytest.raises(MeasureError, match="must lie in"):
        DriftWatch().update({"x": float("nan")})


def test_maturity_by_hand():
    """Labels after 1, 2, 2 s, one still waiting at 1.5 s: shares 1/4, then 1/4 + 3/4 x 2/2."""
    found = maturity_curve([1.0, 2.0, 2.0], [1.5])
    assert tuple(found.curve.columns) == MATURITY_COLUMNS
    assert list(found.curve["arrived_share"]) == [0.25, 1.0]
    assert list(found.curve["at_risk"]) == [4, 2]
    assert found.horizon_seconds(share=0.25) == 1.0
    assert found.horizon_seconds(share=0.99) == 2.0
    assert (found.arrived, found.pending) == (3, 1)


def test_waiting_labels_slow_the_curve():
    """Ten labels in one hour and ninety that wait a day: 10 %, not 100 %, and no 99 % horizon."""
    found = maturity_curve(np.full(10, 3600.0), np.full(90, 86_400.0))
    assert found.curve["arrived_share"].iloc[0] == pytest.approx(0.1)
    assert found.horizon_seconds() is None
    assert found.curve["low"].iloc[0] < 0.1 < found.curve["high"].iloc[0]


def test_greenwood_bounds():
    """Half of 100 arrived: log-log interval with variance (50 / (100 x 50)) / ln(.5)²."""
    row = maturity_curve(np.ones(50), np.full(50, 2.0)).curve.iloc[0]
    half = 1.959964 * math.sqrt(50 / (100 * 50)) / -math.log(0.5)
    assert row["low"] == pytest.approx(1 - 0.5 ** math.exp(-half), abs=1e-6)
    assert row["high"] == pytest.approx(1 - 0.5 ** math.exp(half), abs=1e-6)


def test_curve_covers_the_truth():
    """Exponential delays cut off at random: the curve covers 1/2 at the median in 90 to 99 % of samples."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        delay, age = rng.exponential(1.0, 300), rng.uniform(0, 3, 300)
        curve = maturity_curve(delay[delay <= age], age[delay > age]).curve
        row = curve[curve["delay_seconds"] <= math.log(2)].iloc[-1]
        covered += row["low"] <= 0.5 <= row["high"]
    assert 0.90 <= covered / 200 <= 0.99


def test_maturity_refusals():
    """A label before its prediction is a clock error; no labels is no curve."""
    with pytest.raises(MeasureError, match="time zones"):
        maturity_curve([-1.0])
    with pytest.raises(MeasureError, match="no rows"):
        maturity_curve([])
