"""ROC, Murphy and miscalibration-discrimination diagrams hold the data that they were given."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from forecastle.draw.discrimination import (
    miscalibration_discrimination_diagram,
    murphy_diagram,
    roc_diagram,
)
from forecastle.measure.curves import murphy_curve, roc_curve
from forecastle.measure.decomposition import decompose_forecasts
from forecastle.measure.isotonic import pool_ties
from forecastle.measure.scores import auc_interval_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from forecastle.measure.isotonic import Cells


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.fixture
def compared(forecasts: tuple[np.ndarray, np.ndarray]) -> pd.DataFrame:
    """Four forecasts of the same outcomes; the last is certain and sometimes wrong."""
    y, p = forecasts
    return decompose_forecasts(
        y,
        {
            "forecast": p,
            "close by": np.clip(p + 0.002, 0, 1),
            "base rate": np.full(len(y), y.mean()),
            "rounded": np.round(p),
        },
    )


def test_the_roc_curve_and_its_area(cells: Cells) -> None:
    """The line is the table; the area and its interval are written."""
    curve, auc = roc_curve(cells), auc_interval_of(cells)
    figure = roc_diagram(curve, auc=auc)
    line = max(figure.axes[0].lines, key=lambda line: len(line.get_xdata()))
    assert np.array_equal(line.get_xydata(), curve[["false_positive_rate", "true_positive_rate"]])
    assert any(f"area {auc.auc:.3f}" in text for text in texts(figure))
    assert not any("area" in text for text in texts(roc_diagram(curve)))


def test_the_murphy_lines(cells: Cells) -> None:
    """Three lines: base rate, recalibrated, forecast."""
    curve = murphy_curve(cells)
    drawn = [line.get_ydata() for line in murphy_diagram(curve).axes[0].lines if len(line.get_xdata())]
    for line, column in zip(drawn, ("reference_score", "recalibrated_score", "score"), strict=True):
        assert np.array_equal(line, curve[column])


@pytest.mark.parametrize("rule", ["brier", "log_loss"])
def test_dots_are_the_parts_of_one_rule(compared: pd.DataFrame, rule: str) -> None:
    """Every forecast with finite parts is one dot, at its own parts."""
    rows = compared[(compared["rule"] == rule) & np.isfinite(compared["miscalibration"])]
    axes = miscalibration_discrimination_diagram(compared, rule=rule).axes[0]
    dots = np.concatenate([line.get_xydata() for line in axes.lines if line.get_marker() == "o"])
    expected = rows[["miscalibration", "discrimination"]].to_numpy()
    assert np.array_equal(np.sort(dots, axis=0), np.sort(expected, axis=0))


def test_an_infinite_miscalibration_is_named(compared: pd.DataFrame) -> None:
    """A certain forecast that was wrong has no place under log loss, and is said."""
    assert "infinite: rounded" in texts(miscalibration_discrimination_diagram(compared, rule="log_loss"))
    assert "infinite: rounded" not in texts(miscalibration_discrimination_diagram(compared))


def test_lines_of_equal_score(compared: pd.DataFrame) -> None:
    """On every grey line miscalibration - discrimination + uncertainty is the number written beside it."""
    figure = miscalibration_discrimination_diagram(compared)
    uncertainty = float(compared["uncertainty"].iloc[0])
    lines = [line.get_xydata() for line in figure.axes[0].lines if line.get_marker() == "None"]
    scores = [uncertainty + across - up for across, up in (line[0] for line in lines)]
    assert all(
        uncertainty + line[1][0] - line[1][1] == pytest.approx(score) for line, score in zip(lines, scores, strict=True)
    )
    written = {text for text in texts(figure) if text.replace(".", "").isdigit()}
    assert written
    assert written <= {f"{score:.3g}" for score in scores}


def test_names_do_not_cover_each_other(compared: pd.DataFrame) -> None:
    """Two forecasts at almost one place have names side by side, not one on the other."""
    figure = miscalibration_discrimination_diagram(compared)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text() in {"forecast", "close by"}]
    assert len(boxes) == 2
    assert not boxes[0].overlaps(boxes[1])


@pytest.mark.parametrize("base_rate", [0.03, 0.15, 0.5, 0.85, 0.97])
def test_murphy_legend_leaves_the_peak_free(base_rate):
    """The legend stands in the upper corner that the base rate's line does not reach, so nothing is covered."""
    curve = murphy_curve(pool_ties([0, 1], [base_rate, base_rate], weights=[1 - base_rate, base_rate]))
    figure = murphy_diagram(curve)
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    box = axes.get_legend().get_window_extent().transformed(axes.transData.inverted())
    line = np.interp(np.linspace(box.x0, box.x1, 50), curve["threshold"], curve["reference_score"])
    assert (line < box.y0).all()


def test_long_names_stay_inside_and_apart():
    """Names of forecasts close together neither leave the axes nor cover another dot or name."""
    names = ["forecast", "market_probability_twenty_minutes_before_the_start", "market price", "base rate"]
    table = pd.DataFrame(
        {
            "forecast": names, "rule": "brier", "uncertainty": 0.25,
            "miscalibration": [0.0102, 0.0131, 0.0091, 0.0], "discrimination": [0.1034, 0.1034, 0.0993, 0.0],
        }
    )  # fmt: skip
    figure = miscalibration_discrimination_diagram(table)
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    shown = [text for text in axes.texts if text.get_text()[:4] in {"fore", "mark", "base"}]
    boxes = [Text.get_window_extent(text) for text in shown]
    inside = axes.get_window_extent()
    assert len(boxes) == 4
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
