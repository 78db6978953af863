"""The picture of a leaderboard: each model's Brier difference from the baseline with its interval, best first.

Belongs here: how the table of `learn.leaderboard` looks.
Does not belong here: scores, intervals, the choice (`learn/`, `promote/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from forecastle.draw.style import BLUE, FAINT, GREEN, INK, MUTED, look, note, one_axes, shortened

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@look()
def leaderboard_diagram(
    table: pd.DataFrame,
    *,
    most_models: int = 40,
    title: str = "Brier minus the baseline's, on test rows",
    subtitle: str = "",
) -> Figure:
    """One line for each of the first `most_models` models of the table that have a difference, lowest first.

    Green: chosen on held-out rows. Blue: better than the baseline after the correction for many models. Grey: the rest.
    """
    models = table[table["difference"].notna()].sort_values("difference", kind="stable")
    shown = models.head(most_models)
    left_out = len(models) - len(shown)
    told = subtitle or "green: chosen on held-out rows, before the test" + (
        f"; the last {left_out} are not shown" if left_out else ""
    )
    figure, axes = one_axes(title, told, height_inches=1.4 + 0.22 * max(len(shown), 3))
    axes.axvline(0.0, color=MUTED, linewidth=1.0, zorder=1)
    for position, row in enumerate(shown.to_dict("records")):
        color = _color(row)
        axes.hlines(position, row["difference_low"], row["difference_high"], color=color, linewidth=2.0)
        axes.plot(row["difference"], position, "o", color=color, markersize=5.0)
    axes.set_yticks(range(len(shown)), [shortened(str(name)) for name in shown["forecaster"]])
    axes.tick_params(axis="y", labelcolor=INK, length=0)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(max(len(shown), 3) - 0.4, -0.6)
    axes.set_xlabel("difference in Brier (left of 0: better than the baseline)")
    if shown.empty:
        note(axes, "no model was compared with the baseline", (0.5, 0.5), within="axes fraction", ha="center")
    return figure


def _color(row: Mapping[Any, Any]) -> str:
    if row["chosen"]:
        return GREEN
    return BLUE if row["p_adjusted"] < 0.05 and row["difference"] < 0 else FAINT
