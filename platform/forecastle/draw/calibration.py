"""Pictures of calibration: the reliability diagram with its bands and histogram, and cumulative differences.

Belongs here: how tables of `measure.curves`, `measure.bands` and `measure.cumulative` look.
Does not belong here: discrimination (`discrimination`), segments (`segments`), time (`history`),
statistics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.ticker import PercentFormatter

from forecastle.draw.style import AMBER, BLUE, FAINT, INK, MUTED, SKY, look, new_figure, note, one_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from forecastle.measure.arrays import FloatArray
    from forecastle.measure.bands import ConsistencyBand, HonestBand
    from forecastle.measure.cumulative import CumulativeCalibration

_DARK_AMBER = "#7A5300"  # amber that can be read as text


@look()
def reliability_diagram(
    curve: pd.DataFrame,
    histogram: pd.DataFrame,
    *,
    consistency: ConsistencyBand | None = None,
    honest: HonestBand | None = None,
    title: str = "How often forecasts come true",
    subtitle: str = "",
) -> Figure:
    """The isotonic event rate against the forecast probability, over a histogram of the forecasts.

    `curve` and `histogram` are the tables of `reliability_curve` and `probability_histogram`. `consistency`
    draws where a calibrated forecast would fall; `honest` shades the probabilities that are surely too high
    or too low. The block that a step belongs to is drawn as wide as its probabilities, joined by thin lines.
    """
    figure = new_figure(title, subtitle, height_inches=6.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
    if honest is not None:
        _shade_miscalibrated(upper, honest)
    if consistency is not None:
        band = consistency.table
        upper.fill_between(band["probability"], band["low"], band["high"], color=SKY, alpha=0.3, zorder=1)
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
    _draw_steps(upper, curve)
    caption = _caption(consistency, honest)
    note(upper, caption, (0.0, 1.0), within="axes fraction", offset=(0, 7), fontsize=8.0)
    upper.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), ylabel="event rate")
    _draw_histogram(lower, histogram)
    _percent(upper.yaxis)
    return figure


@look()
def cumulative_diagram(
    curve: pd.DataFrame,
    calibration: CumulativeCalibration,
    *,
    title: str = "Outcomes minus probabilities, lowest forecast first",
    subtitle: str = "",
) -> Figure:
    """Running sum of outcome minus probability: level where calibrated, rising where forecasts are too low.

    `curve` is the table of `cumulative_curve`. The triangle at the origin is two sigma high on both sides:
    what chance alone would do. The bracket spans the range, ECCE-R.
    """
    figure, axes = one_axes(title, subtitle, height_inches=4.2)
    share, difference = curve["share"].to_numpy(), curve["difference"].to_numpy()
    two_sigma = 2.0 * calibration.sigma
    axes.fill([0.0, 0.06, 0.0], [-two_sigma, 0.0, two_sigma], color=FAINT, alpha=0.7, zorder=1)
    axes.axhline(0.0, color=MUTED, linewidth=1.0)
    axes.plot(share, difference, color=BLUE, linewidth=1.6)
    note(axes, "±2 σ", (0.0, -two_sigma), offset=(4, -3), va="top", fontsize=8.0)
    _draw_range(axes, float(difference.min()), float(difference.max()), calibration)
    axes.set(xlim=(-0.02, 1.05), xlabel="share of forecasts, lowest probability first")
    axes.set_ylabel("outcome − probability, cumulated")
    axes.set_xticks(np.linspace(0, 1, 6))
    _percent(axes.xaxis)
    _label_probabilities(axes, curve)
    axes.margins(y=0.12)
    return figure


def _draw_range(axes: Axes, low: float, high: float, calibration: CumulativeCalibration) -> None:
    bracket = {
        "arrowstyle": "|-|,widthA=0.25,widthB=0.25",
        "color": INK,
        "linewidth": 1.0,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axes.annotate("", (1.03, low), (1.03, high), arrowprops=bracket)
    sizes = f"ECCE-R {calibration.range:.4f}\n{calibration.range_in_sigma:.2f} σ"
    text = f"{sizes}\n{_p_text(calibration.range_p_value)}"
    note(axes, text, (1.06, (low + high) / 2), va="center", color=INK, linespacing=1.5)


def _shade_miscalibrated(axes: Axes, honest: HonestBand) -> None:
    """Shade each range, and name neighbours of one direction once, on the side away from the steps."""
    named_upto = {"too_high": -1.0, "too_low": -1.0}
    for found in honest.miscalibrated:
        axes.axvspan(found.low, found.high, color=AMBER, alpha=0.25, zorder=0)
        if found.low > named_upto[found.direction] + 0.1:
            up = found.direction == "too_high"
            note(
                axes, "too high" if up else "too low", (found.low, 1.0 if up else 0.0),
                within=("data", "axes fraction"), offset=(3, -9 if up else 7), color=_DARK_AMBER,
            )  # fmt: skip
            named_upto[found.direction] = found.low
        named_upto[found.direction] = max(found.high, named_upto[found.direction])


def _caption(consistency: ConsistencyBand | None, honest: HonestBand | None) -> str:
    said = []
    if consistency is not None:
        said.append(f"light blue: where {consistency.level:.0%} of calibrated forecasts fall")
    if honest is not None and honest.miscalibrated:
        said.append("amber: surely off")
    return "; ".join(said)


def _draw_steps(axes: Axes, curve: pd.DataFrame) -> None:
    low, high, rate = (curve[name].to_numpy() for name in ("probability_low", "probability_high", "event_rate"))
    corners = np.column_stack([low, high]).ravel()
    axes.plot(corners, np.repeat(rate, 2), color=BLUE, linewidth=0.9, alpha=0.7, zorder=3)
    axes.hlines(rate, low, high, color=BLUE, linewidth=2.6, zorder=4)
    single = low == high
    axes.plot(low[single], rate[single], "o", color=BLUE, markersize=3.0, zorder=4)


def _draw_histogram(axes: Axes, histogram: pd.DataFrame) -> None:
    low, high = histogram["probability_low"].to_numpy(), histogram["probability_high"].to_numpy()
    weight, events = histogram["weight"].to_numpy(), histogram["events"].to_numpy()
    for height, color in ((weight, FAINT), (events, BLUE)):
        _draw_bars(axes, low, (high - low) * 0.9, height, color=color)
    axes.set_ylim(0.0, 1.05 * float(weight.max()))
    axes.set(xlabel="forecast probability", ylabel="forecasts")
    axes.grid(visible=False, axis="x")
    axes.locator_params(axis="y", nbins=3)
    caption = "blue: happened, grey: did not"
    note(axes, caption, (1.0, 1.0), within="axes fraction", offset=(0, 6), ha="right", fontsize=8.0)
    _percent(axes.xaxis)


def _draw_bars(axes: Axes, left: FloatArray, width: FloatArray, height: FloatArray, *, color: str) -> None:
    """All bars as one artist: `Axes.bar` makes one of each, which is a third of the time of a whole picture."""
    nothing = np.zeros_like(height)
    corners = np.array([(left, nothing), (left, height), (left + width, height), (left + width, nothing)])
    axes.add_collection(PolyCollection(list(corners.transpose(2, 0, 1)), facecolor=color, edgecolor="none"))


def _label_probabilities(axes: Axes, curve: pd.DataFrame) -> None:
    """A second scale on top: which probability stands at a share of forecasts."""
    top = axes.secondary_xaxis("top")
    marks = np.linspace(0.1, 0.9, 5)
    probability = np.interp(marks, curve["share"], curve["probability"])
    top.set_xticks(marks, [f"{value:.2f}" for value in probability])
    top.set_xlabel("forecast probability there", fontsize=8.5)
    top.spines["top"].set_visible(False)


def _percent(axis: Any) -> None:
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _p_text(p_value: float) -> str:
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"
