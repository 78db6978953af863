"""The picture of segments: expected over observed events of each, with its interval, worst first.

Belongs here: how the table of `measure.segments` looks.
Does not belong here: the tests behind it, fairness, time (`history`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from forecastle.draw.style import BLUE, FAINT, INK, MUTED, VERMILLION, look, note, one_axes, shortened

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TICKS = (0.1, 0.2, 0.5, 0.8, 1.0, 1.25, 2.0, 5.0, 10.0)
_CLOSE_TICKS = (0.8, 1.25)
_FARTHEST = 10.0


@look()
def segment_diagram(
    segments: pd.DataFrame,
    *,
    alpha: float = 0.05,
    most_segments: int = 20,
    title: str = "Expected over observed events, by segment",
    subtitle: str = "",
) -> Figure:
    """One row for each of the first `most_segments` rows of `segment_calibration`, which has the worst first.

    The dot is expected over observed (right of 1: forecasts too high) with its exact interval. Vermillion:
    q <= `alpha`. Grey: too few rows to test; such an interval may leave the axis, which ends where the tested
    ones do, at ten times off at most.
    """
    shown = segments.head(most_segments)
    figure, axes = one_axes(
        title,
        subtitle or _summary(segments, alpha, left_out=len(segments) - len(shown)),
        height_inches=1.55 + 0.24 * max(len(shown), 3),
    )
    _frame(axes, shown)
    for position, row in enumerate(shown.itertuples(index=False)):
        _draw_row(axes, position, row, alpha)
    return figure


def _summary(segments: pd.DataFrame, alpha: float, *, left_out: int) -> str:
    small = int(segments["is_small"].sum())
    found = int((segments["q_value"] <= alpha).sum())
    text = f"{len(segments) - small} segments tested, {found} miscalibrated (q ≤ {alpha:g})"
    if small:
        text += f", {small} too small to test"
    return text + (f"; the last {left_out} are not shown" if left_out else "")


def _frame(axes: Axes, shown: pd.DataFrame) -> None:
    farthest = _farthest(shown[~shown["is_small"]] if not shown["is_small"].all() else shown)
    axes.set_xscale("log")
    ticks = [
        tick for tick in _TICKS if 1.0 / farthest <= tick <= farthest and (farthest < 4.0 or tick not in _CLOSE_TICKS)
    ]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.axvline(1.0, color=MUTED, linewidth=1.0, zorder=1)
    axes.set_yticks(range(len(shown)), [shortened(f"{row.segment}: {row.value}") for row in shown.itertuples()])
    axes.tick_params(axis="y", labelcolor=INK, length=0)
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(1.0 / farthest, farthest), ylim=(max(len(shown), 3) - 0.4, -0.6))
    axes.set_xlabel("expected over observed events")
    for text, across, side in (("forecasts too low", 0.0, "left"), ("forecasts too high", 1.0, "right")):
        note(axes, text, (across, 1.0), within="axes fraction", offset=(0, 6), ha=side, fontsize=8.0)
    note(axes, "n", (1.0, 1.0), within="axes fraction", offset=(34, 6), ha="right")


def _farthest(tested: pd.DataFrame) -> float:
    """How many times off the axis reaches: all intervals of `tested`, at least 1.3 and at most ten."""
    ends = tested[["ratio_low", "ratio_high"]].to_numpy(float)
    known = ends[np.isfinite(ends) & (ends > 0.0)]
    times_off = float(np.exp(np.abs(np.log(known)).max(initial=0.0)))
    return min(max(times_off * 1.1, 1.3), _FARTHEST)


def _draw_row(axes: Axes, position: int, row: Any, alpha: float) -> None:
    color = FAINT if row.is_small else VERMILLION if row.q_value <= alpha else BLUE
    low, ratio, high = (
        min(max(value, 1.0 / _FARTHEST), _FARTHEST)
        for value in (row.ratio_low, row.expected_over_observed, row.ratio_high)
    )
    axes.hlines(position, low, high, color=color, linewidth=2.0)
    axes.plot(ratio, position, "o", color=color, markersize=6.0)
    note(axes, f"{row.n:,}", (1.0, position), within=("axes fraction", "data"), offset=(34, 0), ha="right")
