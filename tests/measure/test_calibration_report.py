"""The report holds every number its parts give, in a record that repeats and serialises."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.measure.bands import HonestBand, MiscalibratedRange
from forecastle.measure.calibration_report import ReportOptions, calibration_report
from forecastle.measure.calibration_tests import cox_calibration
from forecastle.measure.calibration_verdict import calibration_verdict
from forecastle.measure.cumulative import cumulative_calibration
from forecastle.measure.isotonic import pool_ties
from forecastle.measure.smooth import smooth_calibration_error
from tests.measure.minstd import fixture


@pytest.fixture(scope="module")
def full():
    """The report of forecast A with everything switched on."""
    data = fixture()
    return calibration_report(
        data["y"],
        data["A"],
        at=pd.date_range("2026-01-01", periods=2000, freq="1h", tz="UTC"),
        segments={"league": np.repeat(["x", "y"], 1000), "half": np.arange(2000) % 2},
        clusters=np.arange(2000) // 10,
        baselines={"market": data["a"], "constant": np.full(2000, 0.489)},
        options=ReportOptions(recalibrate=True, resamples=200, excluded_rows=7),
        seed=1,
    )


def test_numbers_are_those_of_the_parts(full):
    """One published number from each section of the report on forecast A."""
    brier, log = full.scores.decompositions
    assert (full.n, full.excluded_rows) == (2000, 7)
    assert (brier.miscalibration, log.miscalibration) == pytest.approx((0.0089885654, 0.0417294037), abs=5e-11)
    assert full.scores.auc.auc == pytest.approx(0.8312553276, abs=5e-11)
    assert full.numbers.cumulative.range == pytest.approx(0.0441768333, abs=5e-11)
    assert full.numbers.cox.slope == pytest.approx(0.61380677, abs=6e-9)
    assert full.numbers.spiegelhalter.z == pytest.approx(11.45202043, abs=6e-9)
    assert full.numbers.binned.debiased_squared == pytest.approx(0.0056951968, abs=5e-11)
    assert full.consistency_band.miscalibration == pytest.approx(brier.miscalibration, abs=1e-14)
    assert np.ptp(full.curves.cumulative["difference"]) == full.numbers.cumulative.range


def test_tables_cover_what_was_asked(full):
    """Forecasts, segments with pairs, weeks, months and calibrators are all there."""
    assert full.forecasts["forecast"].unique().tolist() == ["forecast", "market", "constant"]
    assert sorted(full.segments["segment"].unique()) == ["half", "league", "league × half"]
    assert full.weeks["n"].sum() == full.months["n"].sum() == 2000
    assert full.multicalibration.ecce_range == full.segments["ecce_range"].max()
    assert full.recalibration.name != "identity"
    assert max(row.gain for row in full.recalibration.table) > 0.02
    assert full.scores.intervals[0].clusters == 200


def test_sidecar_is_strict_json(full):
    """The whole report survives a strict JSON round trip."""
    record = full.to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["verdict"]["status"] == "miscalibrated"
    assert record["curves"]["roc"][0]["threshold"] == "inf"


def test_same_input_and_seed_give_the_same_report():
    """Byte for byte, bands and intervals included."""
    data = fixture()
    first, second = (
        json.dumps(calibration_report(data["y"], data["C"], options=ReportOptions(resamples=100), seed=3).to_dict())
        for _ in range(2)
    )
    assert first == second


def test_without_bands_and_extras_the_rest_stands():
    """Only outcomes and probabilities: no bands, tables or notes, all numbers."""
    data = fixture()
    report = calibration_report(data["y"], data["a"], bands=False, seed=0)
    assert (report.consistency_band, report.honest_band, report.segments, report.weeks) == (None,) * 4
    assert (report.multicalibration, report.months, report.recalibration, report.notes) == (
        None,
        None,
        None,
        (),
    )
    assert report.verdict.status == "calibrated"


def test_one_class_leaves_notes_instead_of_numbers():
    """Nothing happened: no AUC, slope, intercept or ROC, each with its reason; everything else is there."""
    report = calibration_report([0] * 30, np.linspace(0.01, 0.3, 30), options=ReportOptions(recalibrate=True), seed=0)
    assert (report.scores.auc, report.numbers.cox, report.numbers.in_the_large, report.curves.roc) == (None,) * 4
    assert report.recalibration is None
    assert len(report.notes) == 4
    assert report.numbers.expected_over_observed.ratio == np.inf
    assert report.scores.decompositions[0].skill is None
    assert report.to_dict()["numbers"]["expected_over_observed"]["ratio"] == "inf"


def test_one_row_and_certain_rows_have_reports():
    """The smallest inputs end in a record, not in an exception."""
    assert calibration_report([1], [0.7], seed=0).n == 1
    assert calibration_report([1, 0], [1.0, 0.0], seed=0).verdict.status == "calibrated"
    wrong = calibration_report([0, 1], [1.0, 0.0], seed=0)
    assert wrong.scores.decompositions[1].score == np.inf
    assert wrong.verdict.status == "miscalibrated"


@pytest.mark.parametrize(
    ("y", "p"),
    [([], []), ([0, 1], [0.5]), ([0, 1], [0.5, np.nan]), ([0, 3], [0.5, 0.5]), ([0, 1], [0.5, 1.5])],
)
def test_unclean_input_is_refused(y, p):
    """Empty, unpaired, missing and impossible input have no report."""
    with pytest.raises(MeasureError):
        calibration_report(y, p, seed=0)


def _verdict(y, p, band=None, tolerance=0.02):
    cells = pool_ties(y, p)
    slope = cox_calibration(cells)
    smooth = smooth_calibration_error(cells)
    return calibration_verdict(
        cells, cumulative_calibration(cells), smooth, band, slope=slope, level=0.95, tolerance=tolerance
    )


def test_verdict_names_the_shape_or_the_ranges():
    """With ranges it names them, without it names the slope; small effects within tolerance are
    immaterial.
    """
    data = fixture()
    by_slope = _verdict(data["y"], data["A"])
    assert "over-confident (calibration slope 0.61)" in by_slope.sentence
    ranges = (MiscalibratedRange(0.1, 0.2, "too_low"), MiscalibratedRange(0.62, 0.81, "too_high"))
    named = _verdict(data["y"], data["A"], HonestBand(pd.DataFrame(), 0.9, 50, ranges))
    assert named.status == "miscalibrated"
    assert "over-confident, too low between 0.10 and 0.20" in named.sentence
    assert "over-confident, too high between 0.62 and 0.81" in named.sentence
    assert _verdict(data["y"], data["A"], tolerance=0.1).status == "immaterial"
    assert _verdict(data["y"], data["a"]).status == "calibrated"


def test_verdict_counts_the_ranges_it_does_not_show():
    """Three widest ranges are named, the others counted."""
    data = fixture()
    ranges = tuple(MiscalibratedRange(k / 10, k / 10 + 0.01 * k, "too_high") for k in range(1, 6))
    sentence = _verdict(data["y"], data["A"], HonestBand(pd.DataFrame(), 0.9, 50, ranges)).sentence
    assert "in 2 more ranges" in sentence
    assert "between 0.10" not in sentence
    assert "under-confident, too high between 0.30 and 0.33" in sentence


def test_real_probabilities_get_a_report(real_data):
    """25,165 games with market and FiveThirtyEight: calibrated within 2 points, market more
    discriminating.
    """
    games = pd.read_parquet(real_data / "calibration" / "mlb_forecasters_2010_2019.parquet")
    report = calibration_report(
        games["y"],
        games["fivethirtyeight"],
        at=pd.to_datetime(games["date"], utc=True),
        clusters=games["date"].astype(str),
        baselines={"vegas": games["vegas"]},
        options=ReportOptions(resamples=200),
        seed=1,
    )
    assert report.verdict.status != "miscalibrated"
    parts = report.forecasts.query("rule == 'brier'").set_index("forecast")["discrimination"]
    assert parts["vegas"] > parts["forecast"]
    low, high = report.scores.intervals[0].score
    assert low < 0.242495 < high


def test_ranges_that_touch_at_two_decimals_are_one_in_the_sentence(full):
    """.699-.7169 and .719-.7386 read as 0.70 to 0.74; a range of the other direction stays apart."""
    cells = pool_ties([0, 1], [0.2, 0.8])
    found = (
        MiscalibratedRange(0.1, 0.2, "too_high"),
        MiscalibratedRange(0.699, 0.7169, "too_low"),
        MiscalibratedRange(0.719, 0.7386, "too_low"),
    )
    band = HonestBand(pd.DataFrame(), 0.9, 50, found)
    verdict = calibration_verdict(cells, full.numbers.cumulative, 0.1, band, level=0.95, tolerance=0.02)
    assert "too low between 0.70 and 0.74" in verdict.sentence
    assert "too high between 0.10 and 0.20" in verdict.sentence
    assert verdict.sentence.count("between") == 2


def test_clusters_widen_the_auc_interval():
    """With clusters the report's AUC interval counts them: rows met four times give the interval of rows met once."""
    data = fixture()
    y, p = data["y"][:400], data["a"][:400]
    once = calibration_report(y, p, bands=False, seed=1).scores.auc
    again = calibration_report(
        np.repeat(y, 4), np.repeat(p, 4), clusters=np.repeat(np.arange(400), 4), bands=False, seed=1
    ).scores.auc
    assert (again.clusters, once.clusters) == (400, None)
    assert (again.low, again.high) == pytest.approx((once.low, once.high), abs=1e-9)
