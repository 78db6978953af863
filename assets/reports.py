"""What every calibration report shows in the UI: its check, its verdict, its picture, its numbers.

Belongs here: the check's specification and result, also where there is no report yet, and the metadata.
Does not belong here: the report (`forecastle.learn.calibration`), the assets that make one.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from assets.shown import shown_picture, shown_table
from forecastle.contract.load import LoadedSystem
from forecastle.draw.report import reliability_picture
from forecastle.measure.calibration_report import CalibrationReport

MISCALIBRATION_CHECK = "miscalibration"


def miscalibration_spec(system: LoadedSystem, asset_key: dg.AssetKey) -> dg.AssetCheckSpec:
    """What the check promises."""
    limit = system.declaration.gates.miscalibration_max
    return dg.AssetCheckSpec(MISCALIBRATION_CHECK, asset=asset_key, description=f"At most {limit:g} of Brier.")


def miscalibration_result(
    system: LoadedSystem,
    asset_key: dg.AssetKey,
    report: CalibrationReport | None,
    *,
    sentence: str,
    needs_evidence: bool = False,
) -> dg.AssetCheckResult:
    """The check's result; without a report it passes and `sentence` says why there is none.

    `needs_evidence`: the lower bound of its interval must be above the limit, not the number alone. It is asked for
    where rows are few at first and looked at every day: of 50 outcomes a perfect forecast shows 0.03 by chance.
    """
    limit = system.declaration.gates.miscalibration_max
    value = None if report is None else report.scores.decompositions[0].miscalibration
    certain = value
    if report is not None and needs_evidence:
        interval = report.scores.intervals[0].miscalibration if report.scores.intervals else None
        certain = None if interval is None else interval[0]
    numbers = {"limit": limit, MISCALIBRATION_CHECK: value, "at_least": certain}
    return dg.AssetCheckResult(
        asset_key=asset_key,
        check_name=MISCALIBRATION_CHECK,
        passed=certain is None or certain <= limit,
        severity=dg.AssetCheckSeverity.WARN,
        description=sentence if report is None else report.verdict.sentence,
        metadata={name: number for name, number in numbers.items() if number is not None},
    )


def report_metadata(report: CalibrationReport | None) -> dict[str, Any]:
    """Verdict, reliability diagram and the Brier score's parts; nothing without a report."""
    if report is None:
        return {}
    picture = reliability_picture(report)
    return {**_numbers(report), "reliability": shown_picture(picture, label="Reliability")}


def brief_report_metadata(report: CalibrationReport) -> dict[str, Any]:
    """The same with the reliability diagram as a table, for one model of many: a picture takes a third of a second."""
    return {**_numbers(report), "reliability": shown_table(report.curves.reliability)}


def _numbers(report: CalibrationReport) -> dict[str, Any]:
    brier = report.scores.decompositions[0]
    return {
        "verdict": report.verdict.sentence,
        "brier": brier.score,
        "miscalibration": brier.miscalibration,
        "discrimination": brier.discrimination,
        "uncertainty": brier.uncertainty,
    }
