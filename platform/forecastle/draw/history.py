"""Pictures of numbers over time: calibration by week or month, and any one score with its interval.

Belongs here: how the table of `measure.periods`, or any table with one row a period, looks.
Does not belong here: what a period is, segments (`segments`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from forecastle.draw.style import BLUE, GREEN, MUTED, VERMILLION, look, new_figure, note, one_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PARTS = (("brier", "Brier score", BLUE), ("discrimination", "discrimination", GREEN),
          ("miscalibration", "miscalibration", VERMILLION))  # fmt: skip


@look()
def calibration_history(periods: pd.DataFrame, *, title: str = "Calibration over time", subtitle: str = "") -> Figure:
    """Score and parts by period, over the running gap with its confidence sequence.

    `periods` is the table of `calibration_by_period`. Where the lower band leaves zero, forecasts are too
    high (below) or too low (above) on average, however often one looked.
    """
    figure = new_figure(title, subtitle, height_inches=5.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    at = _dates(periods["period"])
    for column, name, color in _PARTS:
        _line(upper, at, periods[column].to_numpy(float), color, name)
    upper.set_ylim(bottom=0.0)
    upper.set_ylabel("Brier score and parts")
    lower.fill_between(at, periods["running_low"], periods["running_high"], color=BLUE, alpha=0.15)
    lower.axhline(0.0, color=MUTED, linewidth=1.0)
    _line(lower, at, periods["running_gap"].to_numpy(float), BLUE, "so far")
    lower.set_ylabel("outcome − probability")
    lower.set_ylim(*_settled_limits(periods))
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
    _line(axes, at, table[value].to_numpy(float), BLUE, value)
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


def _line(axes: Axes, at: Any, values: Any, color: str, name: str) -> None:
    axes.plot(at, values, color=color, marker="o" if len(at) <= 60 else None, markersize=3.5)
    known = np.flatnonzero(np.isfinite(values))
    if known.size:
        note(axes, name, (at[known[-1]], float(values[known[-1]])), offset=(7, 0), color=color)


def _date_axis(axes: Axes, at: Any) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    if len(at) == 1:
        axes.set_xlim(at[0] - np.timedelta64(7, "D"), at[0] + np.timedelta64(7, "D"))
