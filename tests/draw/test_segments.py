"""The segment diagram holds ratios, intervals and counts of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection

from forecastle.draw.images import png_bytes
from forecastle.draw.segments import segment_diagram
from forecastle.measure.segments import segment_calibration

if TYPE_CHECKING:
    from forecastle.measure.calibration_report import CalibrationReport


def test_dots_intervals_and_counts(report: CalibrationReport) -> None:
    """Each row's dot is its ratio, its line the interval, its number the rows."""
    segments = report.segments
    axes = segment_diagram(segments).axes[0]
    dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert np.allclose(dots, segments["expected_over_observed"].clip(0.1, 10))
    lines = np.array([c.get_segments()[0] for c in axes.collections if isinstance(c, LineCollection)])
    assert np.allclose(lines[:, :, 0], segments[["ratio_low", "ratio_high"]].clip(0.1, 10))
    counts = [text.get_text() for text in axes.texts][3:]
    assert counts == [f"{n:,}" for n in segments["n"]]


def test_the_subtitle_counts(report: CalibrationReport) -> None:
    """Tested, miscalibrated, small and left-out segments are counted."""
    segments = report.segments
    found, small = int((segments["q_value"] <= 0.05).sum()), int(segments["is_small"].sum())
    subtitle = segment_diagram(segments, most_segments=4).texts[1].get_text().replace("\n", " ")
    assert f"{len(segments) - small} segments tested, {found} miscalibrated" in subtitle
    assert f"{small} too small" in subtitle
    assert f"the last {len(segments) - 4} are not shown" in subtitle


def test_segments_where_nothing_happened() -> None:
    """An infinite ratio (no event) is drawn ten times off, also when every segment is small."""
    table = segment_calibration([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4], {"half": ["a", "a", "b", "b"]})
    axes = segment_diagram(table).axes[0]
    assert max(line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o") == 10.0
    assert png_bytes(segment_diagram(table))
