"""Pictures of numbers over time: calibration by week or month, and any one score with its interval.

Belongs here: how the table of `measure.periods`, or any table with one row a period, looks.
Does not belong here: what a period is, segments (`segments`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from scipy.optimize import isotonic_regression

from forecastle.draw.style import BLUE, GREEN, MUTED, VERMILLION, look, new_figure, note, one_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PARTS = (("brier", "Brier score", BLUE), ("discrimination", "discrimination", GREEN),
          ("miscalibration", "miscalibration", VERMILLION))  # fmt: skip

_NAME_HEIGHT_RATIO = 0.075  # of the axes: one line of text with a little air


@look()
def calibration_history(periods: pd.DataFrame, *, title: str = "Calibration over time", subtitle: str = "") -> Figure:
    """Score and parts by period, over the running gap with its confidence sequence.

    `periods` is the table of `calibration_by_period`. Where the lower band leaves zero, forecasts are too
    high (below) or too low (above) on average, however often one looked.
    """
    figure = new_figure(title, subtitle, height_inches=5.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    at = _dates(periods["period"])
    lines = [(periods[column].to_numpy(float), color, name) for column, name, color in _PARTS]
    for values, color, _ in lines:
        _line(upper, at, values, color)
    upper.set_ylim(bottom=0.0)
    _name_ends(upper, at, lines)
    upper.set_ylabel("Brier score and parts")
    lower.fill_between(at, periods["running_low"], periods["running_high"], color=BLUE, alpha=0.15)
    lower.axhline(0.0, color=MUTED, linewidth=1.0)
    running = periods["running_gap"].to_numpy(float)
    _line(lower, at, running, BLUE)
    lower.set_ylabel("outcome − probability")
    lower.set_ylim(*_settled_limits(periods))
    _name_ends(lower, at, [(running, BLUE, "so far")])
    _date_axis(lower, at)
    return figure


@look()
def score_history(
    table: pd.DataFrame,
    *,
    value: str,
    period: str = "period",
    low: str | None = None,
    high: str | None = None,
    reference: float | None = None,
    reference_name: str = "reference",
    title: str,
    subtitle: str = "",
) -> Figure:
    """One column `value` of `table` by `period` (dates, times or ISO text), with a band from `low` to `high`.

    `reference` is a level line with its name: a baseline, a gate, a tolerance.
    """
    figure, axes = one_axes(title, subtitle, height_inches=3.6)
    at = _dates(table[period])
    if low is not None and high is not None:
        axes.fill_between(at, table[low].to_numpy(float), table[high].to_numpy(float), color=BLUE, alpha=0.15)
    if reference is not None:
        axes.axhline(reference, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        note(axes, reference_name, (1.0, reference), offset=(7, 0), within=("axes fraction", "data"))
    values = table[value].to_numpy(float)
    _line(axes, at, values, BLUE)
    _name_ends(axes, at, [(values, BLUE, value)])
    axes.set_ylabel(value)
    _date_axis(axes, at)
    return figure


def _settled_limits(periods: pd.DataFrame) -> tuple[float, float]:
    """Limits for the running gap by its last interval: the first ones are so wide that they would hide it."""
    last = float(periods["running_high"].iloc[-1] - periods["running_low"].iloc[-1])
    limit = max(1.5 * last, 1.2 * float(periods["running_gap"].abs().max()), 1e-6)
    return -limit, limit


def _dates(periods: pd.Series) -> Any:
    times = pd.DatetimeIndex(periods)
    return (times if times.tz is None else times.tz_convert("UTC").tz_localize(None)).to_numpy()


def _line(axes: Axes, at: Any, values: Any, color: str) -> None:
    axes.plot(at, values, color=color, marker="o" if len(at) <= 60 else None, markersize=3.5)


def _name_ends(axes: Axes, at: Any, lines: list[tuple[Any, str, str]]) -> None:
    """Each line's name at its last known value, moved up or down as little as keeps the names apart."""
    known = [(values[np.isfinite(values)], color, name) for values, color, name in lines]
    ends = sorted((float(values[-1]), color, name) for values, color, name in known if values.size)
    if not ends:
        return
    low, high = axes.get_ylim()
    steps = np.arange(len(ends)) * _NAME_HEIGHT_RATIO * (high - low)
    places = isotonic_regression(np.array([value for value, _, _ in ends]) - steps).x + steps
    last = max(int(np.flatnonzero(np.isfinite(values))[-1]) for values, _, _ in lines if np.isfinite(values).any())
    for place, (_, color, name) in zip(places.tolist(), ends, strict=True):
        note(axes, name, (at[last], place), offset=(7, 0), color=color)


def _date_axis(axes: Axes, at: Any) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    if len(at) == 1:
        axes.set_xlim(at[0] - np.timedelta64(7, "D"), at[0] + np.timedelta64(7, "D"))
