"""The calibration report of answered rows, and the files it is left in."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.learn.build import test_rows as rows_of
from forecastle.learn.calibration import brief_calibration_of, calibration_of, write_report


@pytest.fixture(scope="module")
def rows(built) -> pd.DataFrame:
    return rows_of(built.frame, built.model)


def test_the_report_scores_what_was_evaluated(built, rows) -> None:
    """Brier score and its parts are those of the evaluation."""
    brier = calibration_of(built.system, rows).scores.decompositions[0]
    for name in ("miscalibration", "discrimination", "uncertainty"):
        assert getattr(brier, name) == pytest.approx(built.model.evaluation.value("model", name))


def test_the_report_is_left_whole(built, rows, tmp_path) -> None:
    """A page, its numbers as JSON without NaN, and one PNG a picture."""
    page = write_report(calibration_of(built.system, rows), tmp_path / "report", title="ferries", facts={"bundle": "b"})
    assert page.read_text(encoding="utf-8").startswith("<!")
    json.loads((page.parent / "report.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    pictures = list(page.parent.glob("*.png"))
    assert pictures
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


def test_the_brief_report_says_the_same(built, rows) -> None:
    """One model of many gets the verdict, the parts of the Brier score and the curve of the whole report."""
    brief, whole = brief_calibration_of(built.system, rows), calibration_of(built.system, rows)
    assert brief.verdict == whole.verdict
    assert brief.scores.decompositions == whole.scores.decompositions
    pd.testing.assert_frame_equal(brief.curves.reliability, whole.curves.reliability)
    assert brief.recalibration is None


def test_no_answered_rows_are_refused(built, rows) -> None:
    """Without a row there is nothing to report."""
    with pytest.raises(MeasureError):
        calibration_of(built.system, rows.iloc[:0])


def test_a_baseline_with_gaps_is_left_out(built, rows) -> None:
    """A baseline that was silent on some row cannot be drawn beside the model; the report is made without it."""
    report = calibration_of(built.system, rows.assign(guess=np.where(rows.index == 3, np.nan, rows["guess"])))
    assert set(report.forecasts["forecast"]) == {"forecast"}
    assert set(calibration_of(built.system, rows).forecasts["forecast"]) == {"forecast", "guess"}
