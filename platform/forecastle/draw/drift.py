"""The picture of drift: every feature's effects against what is tolerated.

Belongs here: how a `measure.drift.DriftTable` looks.
Does not belong here: tests and tolerances (`measure.drift`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from forecastle.draw.style import AMBER, BLUE, INK, MUTED, PAPER, VERMILLION, look, note, one_axes, shortened

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from forecastle.measure.drift import DriftTable

_MOST_TIMES = 100.0
_TICKS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
_COLORS = {"alarm": VERMILLION, "unsure": AMBER, "tolerated": BLUE}


@look()
def drift_diagram(
    drift: DriftTable,
    *,
    most_features: int = 25,
    title: str = "Drift against the training data",
    subtitle: str = "",
) -> Figure:
    """One row for each feature, alarms first, then the largest effect.

    A row's bar is its largest effect over its tolerance (a multiple beyond 100 is drawn at 100), small dots
    are its other tests. Vermillion is an alarm: too large and beyond chance. Hollow amber is too large with
    too few rows to tell. Blue is tolerated.
    """
    tests = _judged(drift.tests)
    worst = tests.drop_duplicates("feature")
    names = list(worst["feature"].head(most_features))
    figure, axes = one_axes(
        title,
        subtitle or _summary(worst, left_out=len(worst) - len(names)),
        height_inches=1.45 + 0.24 * max(len(names), 3),
    )
    farthest = float(worst["times"].max())
    _frame(axes, names, farthest=farthest)
    for position, name in enumerate(names):
        _draw_row(axes, position, tests[tests["feature"] == name])
    return figure


def _judged(tests: pd.DataFrame) -> pd.DataFrame:
    """The tests with `times` (effect over tolerance, 0 to 100) and `verdict`, in the order of drawing."""
    effect, tolerance = tests["effect_size"].to_numpy(float), tests["tolerance"].to_numpy(float)
    above = effect > tolerance
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.where(effect > 0, effect / tolerance, 0.0)
    # A unit has no size below its tolerance: either one known factor explains the shift or none does.
    times = np.where((tests["test"] == "unit") & ~above, 0.0, np.clip(times, 0.0, _MOST_TIMES))
    verdict = np.where(tests["alarm"], "alarm", np.where(above, "unsure", "tolerated"))
    judged = tests.assign(times=times, verdict=verdict)
    return judged.sort_values(["alarm", "times"], ascending=False, kind="stable")


def _summary(worst: pd.DataFrame, *, left_out: int) -> str:
    counts = worst["verdict"].value_counts()
    text = f"{len(worst)} features: {counts.get('alarm', 0)} alarm, {counts.get('tolerated', 0)} tolerated"
    if "unsure" in counts:
        text += f", {counts['unsure']} with too few rows to tell"
    return text + (f"; the {left_out} quietest are not shown" if left_out else "")


def _frame(axes: Axes, names: list[str], *, farthest: float) -> None:
    axes.set_xscale("symlog", linthresh=1.0, linscale=0.6)
    end = max(2.0, farthest) * 1.9
    axes.axvspan(1.0, end, color=VERMILLION, alpha=0.06, zorder=0)
    axes.axvline(1.0, color=MUTED, linewidth=1.0, zorder=1)
    ticks = [tick for tick in _TICKS if tick <= max(2.0, farthest) * 1.01]
    axes.set_xticks(ticks, [f"{tick:g} ×" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(names)), [shortened(name) for name in names])
    axes.tick_params(axis="y", labelcolor=INK, length=0)
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0.0, end), ylim=(max(len(names), 3) - 0.4, -0.6), xlabel="size of the change, in tolerances")
    note(axes, "tolerance", (1.0, 1.0), within=("data", "axes fraction"), offset=(0, 5), ha="center")


def _draw_row(axes: Axes, position: int, tests: pd.DataFrame) -> None:
    worst = tests.iloc[0]
    color, times = _COLORS[worst["verdict"]], float(worst["times"])
    axes.hlines(position, 0.0, times, color=color, linewidth=3.0, alpha=0.85, zorder=2)
    face = PAPER if worst["verdict"] == "unsure" else color
    axes.plot(times, position, "o", color=color, markerfacecolor=face, markersize=6.0, zorder=3)
    others = tests["times"].iloc[1:]
    others = others[others > 0.0]
    axes.plot(others, [position] * len(others), "o", color=PAPER, markeredgecolor=color, markersize=3.5, zorder=3)
    if worst["verdict"] != "tolerated":
        note(axes, str(worst["test"]), (times, position), offset=(7, 0), color=INK)
