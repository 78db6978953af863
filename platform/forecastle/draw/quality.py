"""The picture of data quality: the most unusual series day by day, the alarming ones first.

Belongs here: how the tables of `measure.quality` look.
Does not belong here: what is alarming about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, num2date
from matplotlib.ticker import FixedFormatter, FixedLocator

from forecastle.draw.style import BLUE, MUTED, VERMILLION, look, new_figure, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_INCHES = 1.15
_NAMES = {"volume": "rows", "null_rate": "null", "outlier_rate": "outlying", "unit_jump_rate": "jumping"}


@look()
def quality_history(profile: pd.DataFrame, judged: pd.DataFrame, *, most: int = 6) -> Figure:
    """The `most` most unusual series of a daily profile, one panel each: the alarming ones, then by p-value.

    `profile` and `judged` are what `judge_quality` takes and gives.
    """
    shown = judged.sort_values(["alarm", "p_value"], ascending=[False, True]).head(most)
    alarms = int(judged["alarm"].sum())
    title = "Data quality" if alarms else "Data quality: as usual"
    subtitle = f"{alarms} of {len(judged)} series alarm; the {len(shown)} most unusual, by day of knowledge time"
    figure = new_figure(title, subtitle, height_inches=1.0 + _ROW_INCHES * max(len(shown), 1))
    panels = figure.subplots(max(len(shown), 1), 1, sharex=True, squeeze=False)[:, 0]
    for axes, row in zip(panels, shown.itertuples(), strict=False):
        names = zip(("table", "column", "measure"), (row.table, row.column, row.measure), strict=True)
        days = profile
        for column, value in names:
            days = days[days[column] == value]
        days = days.sort_values("day")
        values = days["found"] if row.measure == "volume" else days["found"] / days["rows"].where(days["rows"] > 0)
        at = pd.to_datetime(days["day"]).to_numpy()
        axes.plot(at, values.to_numpy(float), color=VERMILLION if row.alarm else BLUE, marker="o", markersize=2.5)
        axes.axhline(row.expected, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.set_ylim(bottom=0.0)
        name = f"{row.table}{'.' if row.column else ''}{row.column}: {_NAMES[str(row.measure)]}"
        axes.set_title(shortened(name, letters=70), loc="left", fontsize=8.5)
    if len(shown):
        _settle_dates(panels[0])
    return figure


def _settle_dates(axes: Axes) -> None:
    """The dates of the shared axis, chosen once: while it is laid out every panel asks for them dozens of times."""
    locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    limits: Any = (num2date(limit) for limit in axes.get_xlim())  # type: ignore[no-untyped-call]
    ticks = locator.tick_values(*limits)  # type: ignore[no-untyped-call]
    labels = ConciseDateFormatter(locator).format_ticks(ticks)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter(labels))
