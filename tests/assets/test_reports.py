"""The check of every calibration report: a number beyond its limit, and where asked for the evidence that it is."""

from __future__ import annotations

import dagster as dg
import numpy as np
import pytest

from assets.reports import miscalibration_result
from forecastle.contract.load import LoadedSystem, load_system
from forecastle.measure.calibration_report import CalibrationReport, calibration_report
from tests.assets.world import FOLDER

KEY = dg.AssetKey(["prediction_markets", "live_calibration"])


@pytest.fixture(scope="module")
def system() -> LoadedSystem:
    return load_system(FOLDER)


def report(rows: int, *, flipped: float) -> CalibrationReport:
    """Outcomes of perfect forecasts, of which a share comes out the other way."""
    random = np.random.default_rng(0)
    probabilities = random.uniform(0.02, 0.98, rows)
    outcomes = random.random(rows) < probabilities
    return calibration_report((outcomes ^ (random.random(rows) < flipped)).astype(float), probabilities, seed=0)


@pytest.mark.parametrize(
    ("rows", "flipped", "alone", "with_evidence"),
    [
        (50, 0.0, False, True),  # chance: the isotonic fit to 50 outcomes finds 0.04 where there is nothing
        (400, 0.0, True, True),
        (400, 0.5, False, False),  # the truth moved
    ],
)
def test_few_outcomes_are_no_evidence(
    system: LoadedSystem, rows: int, flipped: float, *, alone: bool, with_evidence: bool
) -> None:
    """The limit is 0.03: a number alone passes or not by chance, its lower bound says what is certain."""
    found = report(rows, flipped=flipped)
    assert miscalibration_result(system, KEY, found, sentence="").passed == alone
    assert miscalibration_result(system, KEY, found, sentence="", needs_evidence=True).passed == with_evidence
