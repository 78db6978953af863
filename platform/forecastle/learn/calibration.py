"""The calibration report of one set of answered predictions: a test set, a backtest, or live ones.

Belongs here: which columns of such rows the report reads, and the files it is left in.
Does not belong here: the numbers (`measure/calibration_report.py`), the page (`draw/report.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forecastle.contract.load import LoadedSystem
from forecastle.draw.images import png_bytes
from forecastle.draw.report import calibration_page, calibration_pictures
from forecastle.learn.build import cluster_column
from forecastle.learn.time_blocks import cluster_labels
from forecastle.measure.calibration_report import CalibrationReport, ReportOptions, calibration_report

# Below this many rows a segment's own numbers are noise; it is shown and not tested.
SEGMENT_ROWS_MIN = 100
RESAMPLES_MIN = 100


def calibration_of(system: LoadedSystem, rows: pd.DataFrame, *, excluded_rows: int = 0) -> CalibrationReport:
    """Measure rows that have been answered and have come true or not.

    Args:
        system: declares slices, baseline and cluster.
        rows: outcome (0/1), probability, predict_at, the slices, the cluster column and the baseline feature.
        excluded_rows: rows without an outcome yet, for the report's header.

    Raises:
        MeasureError: no rows, or values that are no outcomes or probabilities.
    """
    declared = system.declaration.evaluate
    baseline = rows[declared.baseline].to_numpy(np.float64, na_value=np.nan)
    baselines = {declared.baseline: baseline} if not np.isnan(baseline).any() else {}
    clusters = cluster_labels(rows, cluster_column(system))
    return calibration_report(
        rows["outcome"].to_numpy(np.float64),
        rows["probability"].to_numpy(np.float64),
        at=rows["predict_at"],
        segments={name: rows[name].astype(str).fillna("unknown") for name in declared.slices},
        clusters=clusters if clusters.min() != clusters.max() else None,
        baselines=baselines,
        options=ReportOptions(recalibrate=True, minimum_rows=SEGMENT_ROWS_MIN, excluded_rows=excluded_rows),
        seed=0,
    )


def brief_calibration_of(system: LoadedSystem, rows: pd.DataFrame) -> CalibrationReport:
    """The same verdict and decompositions without slices, periods, recalibration and close intervals.

    What one model of many is looked at by: a sixth of the work.
    """
    clusters = cluster_labels(rows, cluster_column(system))
    return calibration_report(
        rows["outcome"].to_numpy(np.float64),
        rows["probability"].to_numpy(np.float64),
        clusters=clusters if clusters.min() != clusters.max() else None,
        options=ReportOptions(resamples=RESAMPLES_MIN),
        seed=0,
    )


def write_report(report: CalibrationReport, folder: Path, *, title: str, facts: Mapping[str, Any]) -> Path:
    """Leave the report as `index.html`, `report.json` and one PNG a picture in `folder`; returns the page."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    page = folder / "index.html"
    page.write_text(calibration_page(report, title=title, facts=facts), encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(report.to_dict(), indent=1, allow_nan=False), encoding="utf-8")
    for name, figure in calibration_pictures(report).items():
        (folder / f"{name}.png").write_bytes(png_bytes(figure))
    return page
