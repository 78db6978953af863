"""Pictures of calibration: the reliability diagram with its bands and histogram, and cumulative differences.

Belongs here: how tables of `measure.curves`, `measure.bands` and `measure.cumulative` look.
Does not belong here: discrimination (`discrimination`), segments and time (`intervals`), statistics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import PercentFormatter

from forecastle.draw.style import AMBER, BLUE, FAINT, INK, MUTED, SKY, VERMILLION, look, new_figure, one_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from forecastle.measure.bands import ConsistencyBand, HonestBand
    from forecastle.measure.cumulative import CumulativeCalibration

_DIRECTION = {"too_high": "too high", "too_low": "too low"}


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
    draws where a calibrated forecast would fall; `honest` shades the probabilities that are surely too high or
    too low. The block that a step belongs to is drawn as wide as its probabilities, joined by thin lines.
    """
    figure = new_figure(title, subtitle, height_inches=6.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
    if honest is not None:
        _shade_miscalibrated(upper, honest)
    if consistency is not None:
        _draw_consistency(upper, consistency)
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
    _draw_steps(upper, curve)
    upper.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), ylabel="event rate")
    _draw_histogram(lower, histogram)
    _percent(upper.yaxis)
    return figure


@look()
def cumulative_diagram(
    curve: pd.DataFrame,
    calibration: CumulativeCalibration,
    *,
    title: str = "Cumulative differences, lowest forecast first",
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
    axes.plot(share, difference, color=BLUE, linewidth=1.6, label="difference")
    low, high = float(difference.min()), float(difference.max())
    axes.annotate("", (1.03, low), (1.03, high), arrowprops={"arrowstyle": "|-|,widthA=0.3,widthB=0.3", "color": INK})
    axes.text(
        1.045, (low + high) / 2, f"ECCE-R {calibration.range:.4f}\n{calibration.range_in_sigma:.2f} σ\n"
        f"{_p_text(calibration.range_p_value)}", va="center", fontsize=8.5, linespacing=1.5,
    )  # fmt: skip
    axes.annotate(
        "±2 σ", (0.0, -two_sigma), xytext=(4, -2), textcoords="offset points", color=MUTED, va="top", fontsize=8.0
    )
    axes.set(xlim=(-0.02, 1.28), xlabel="share of forecasts, lowest probability first", ylabel="outcome - probability, cumulated")
    axes.set_xticks(np.linspace(0, 1, 6))
    _percent(axes.xaxis)
    _label_probabilities(axes, curve)
    axes.margins(y=0.12)
    return figure


def _shade_miscalibrated(axes: Axes, honest: HonestBand) -> None:
    for found in honest.miscalibrated:
        axes.axvspan(found.low, found.high, color=AMBER, alpha=0.25, zorder=0)
        axes.annotate(
            _DIRECTION[found.direction],
            ((found.low + found.high) / 2, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -4),
            textcoords="offset points",
            rotation=90 if found.high - found.low < 0.14 else 0,
            ha="center",
            va="top",
            fontsize=8.5,
            color="#7A5300",
        )


def _draw_consistency(axes: Axes, band: ConsistencyBand) -> None:
    table = band.table
    axes.fill_between(table["probability"], table["low"], table["high"], color=SKY, alpha=0.3, zorder=1)
    position = int(np.argmin(np.abs(table["probability"].to_numpy() - 0.75))) if len(table) else 0
    del position


def _draw_steps(axes: Axes, curve: pd.DataFrame) -> None:
    low, high, rate = (curve[name].to_numpy() for name in ("probability_low", "probability_high", "event_rate"))
    axes.plot(
        np.column_stack([low, high]).ravel(), np.repeat(rate, 2), color=BLUE, linewidth=0.9, alpha=0.7, zorder=3
    )
    axes.hlines(rate, low, high, color=BLUE, linewidth=2.6, zorder=4)
    single = low == high
    axes.plot(low[single], rate[single], "o", color=BLUE, markersize=3.0, zorder=4)


def _draw_histogram(axes: Axes, histogram: pd.DataFrame) -> None:
    low, high = histogram["probability_low"].to_numpy(), histogram["probability_high"].to_numpy()
    weight, events = histogram["weight"].to_numpy(), histogram["events"].to_numpy()
    axes.bar(low, weight, width=(high - low) * 0.9, align="edge", color=FAINT)
    axes.bar(low, events, width=(high - low) * 0.9, align="edge", color=BLUE)
    axes.set(xlabel="forecast probability", ylabel="forecasts")
    axes.grid(visible=False, axis="x")
    axes.locator_params(axis="y", nbins=3)
    axes.text(
        0.5, 1.02, "grey: did not happen   blue: happened", transform=axes.transAxes,
        ha="center", va="bottom", fontsize=8.0, color=MUTED,
    )  # fmt: skip
    _percent(axes.xaxis)


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
