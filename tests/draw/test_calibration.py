"""The reliability diagram and the cumulative diagram hold the data that they were given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection

from forecastle.draw.calibration import cumulative_diagram, reliability_diagram
from forecastle.draw.images import markdown_image, svg_text
from forecastle.measure.bands import consistency_band, honest_band
from forecastle.measure.cumulative import cumulative_calibration
from forecastle.measure.curves import cumulative_curve, probability_histogram, reliability_curve
from forecastle.measure.isotonic import Cells, pool_ties

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def texts(figure: Figure) -> str:
    return " | ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_steps_band_and_ranges_are_the_tables(cells: Cells) -> None:
    """Steps, band and shaded ranges lie where the tables say."""
    curve, consistency, honest = reliability_curve(cells), consistency_band(cells, seed=1), honest_band(cells)
    figure = reliability_diagram(curve, probability_histogram(cells), consistency=consistency, honest=honest)
    upper = figure.axes[0]
    steps = next(c for c in upper.collections if isinstance(c, LineCollection))
    drawn = np.array(steps.get_segments())
    assert np.array_equal(drawn[:, 0], curve[["probability_low", "event_rate"]])
    assert np.array_equal(drawn[:, 1], curve[["probability_high", "event_rate"]])
    band = next(c for c in upper.collections if isinstance(c, PolyCollection))
    corners = band.get_paths()[0].vertices
    assert np.isin(consistency.table["high"], corners[:, 1]).all()
    assert honest.miscalibrated
    shaded = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in upper.patches]
    assert np.allclose(shaded, [(found.low, found.high) for found in honest.miscalibrated])
    assert "too low" in texts(figure)
    assert "too high" not in texts(figure)
    assert "90%" in texts(figure)


def test_the_histogram_shows_all_and_those_that_happened(cells: Cells) -> None:
    """Grey bars are the forecasts of a bin, blue ones those that came true."""
    histogram = probability_histogram(cells)
    lower = reliability_diagram(reliability_curve(cells), histogram).axes[1]
    forecasts, happened = ([bar.vertices[1, 1] for bar in bars.get_paths()] for bars in lower.collections)
    assert forecasts == histogram["weight"].tolist()
    assert happened == histogram["events"].tolist()


def test_without_bands_nothing_is_said_of_them(cells: Cells) -> None:
    """A diagram without bands has no caption about them."""
    figure = reliability_diagram(reliability_curve(cells), probability_histogram(cells))
    assert "light blue" not in texts(figure)
    assert not figure.axes[0].patches


def test_one_forecast_is_enough() -> None:
    """A single row draws: one step, one dot."""
    cells = pool_ties([1], [0.5])
    figure = reliability_diagram(reliability_curve(cells), probability_histogram(cells))
    assert "<svg" in svg_text(figure)
    figure = cumulative_diagram(cumulative_curve(cells), cumulative_calibration(cells))
    assert "<svg" in svg_text(figure)


def test_the_cumulative_line_its_triangle_and_its_range(cells: Cells) -> None:
    """The line is the table, the triangle is two sigma high on both sides, the range is named."""
    curve, calibration = cumulative_curve(cells), cumulative_calibration(cells)
    figure = cumulative_diagram(curve, calibration)
    axes = figure.axes[0]
    line = next(line for line in axes.lines if len(line.get_xdata()) == len(curve))
    assert np.array_equal(line.get_ydata(), curve["difference"])
    assert axes.patches[0].get_xy()[:, 1].max() == 2 * calibration.sigma
    assert f"ECCE-R {calibration.range:.4f}" in texts(figure)


def test_same_tables_same_picture_small_enough_for_metadata(cells: Cells) -> None:
    """Drawing twice gives the same Markdown, below 100 kB."""

    def drawn() -> str:
        return markdown_image(
            reliability_diagram(
                reliability_curve(cells),
                probability_histogram(cells),
                consistency=consistency_band(cells, seed=1),
            ),
            label="Reliability",
        )

    assert drawn() == drawn()
    assert len(drawn()) < 100_000
