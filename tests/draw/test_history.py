"""Lines over time hold the values of their table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from forecastle.draw.history import calibration_history, score_history
from forecastle.draw.images import png_bytes

if TYPE_CHECKING:
    from forecastle.measure.calibration_report import CalibrationReport


def test_score_parts_and_running_gap(report: CalibrationReport) -> None:
    """The upper lines are score and parts, the lower one the running gap within its band."""
    weeks = report.weeks
    upper, lower = calibration_history(weeks).axes
    for line, column in zip(upper.lines, ("brier", "discrimination", "miscalibration"), strict=True):
        assert np.array_equal(line.get_ydata(), weeks[column])
    assert np.array_equal(lower.lines[1].get_ydata(), weeks["running_gap"])
    band = lower.collections[0].get_paths()[0].vertices[:, 1]
    assert np.isin(weeks["running_low"], band).all()
    low, high = lower.get_ylim()
    assert low < weeks["running_gap"].min() <= weeks["running_gap"].max() < high


@pytest.mark.parametrize(
    "periods",
    [
        ["2026-01-05"],
        ["2026-01-05", "2026-01-12"],
        pd.to_datetime(["2026-01-05 10:00", "2026-01-05 11:00"], utc=True),
    ],
)
def test_one_score_with_its_band_and_reference(periods: object) -> None:
    """Dates as text or UTC times, one period or more, draw a line, a band and a named level."""
    value = np.linspace(0.2, 0.21, len(periods))
    table = pd.DataFrame({"period": periods, "brier": value, "low": value - 0.01, "high": value + 0.01})
    figure = score_history(
        table,
        value="brier",
        low="low",
        high="high",
        reference=0.25,
        reference_name="gate",
        title="Brier score",
    )
    axes = figure.axes[0]
    assert np.array_equal(axes.lines[1].get_ydata(), value)
    assert [text.get_text() for text in axes.texts] == ["gate", "brier"]
    assert png_bytes(figure)


def test_missing_periods_leave_gaps() -> None:
    """A missing value breaks the line and names it at the last known one."""
    table = pd.DataFrame({"period": ["2026-01-05", "2026-01-12", "2026-01-19"], "brier": [0.2, 0.3, np.nan]})
    axes = score_history(table, value="brier", title="Brier score").axes[0]
    assert axes.texts[0].xy[1] == 0.3
    assert np.isnan(axes.lines[0].get_ydata()[-1])


def test_names_of_lines_that_end_together_stay_apart() -> None:
    """Discrimination and miscalibration that end at one value have two readable names, in the lines' order."""
    weeks = pd.DataFrame(
        {
            "period": ["2026-01-05", "2026-01-12"],
            "brier": [0.12, 0.12], "discrimination": [0.05, 0.031], "miscalibration": [0.02, 0.030],
            "running_gap": [0.0, 0.0], "running_low": [-0.1, -0.05], "running_high": [0.1, 0.05],
        }
    )  # fmt: skip
    figure = calibration_history(weeks)
    FigureCanvasAgg(figure).draw()
    upper = figure.axes[0]
    boxes = {text.get_text(): text.get_window_extent() for text in upper.texts}
    assert not boxes["discrimination"].overlaps(boxes["miscalibration"])
    assert boxes["miscalibration"].y1 <= boxes["discrimination"].y0 < boxes["Brier score"].y0
