"""The picture of feature importance: one bar for each feature, largest first.

Belongs here: how a table of importances looks.
Does not belong here: computing importances (`learn/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forecastle.draw.style import BLUE, FAINT, INK, look, note, one_axes, shortened

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@look()
def importance_bars(
    importance: pd.DataFrame,
    *,
    measured_in: str = "share of total gain",
    most_features: int = 20,
    title: str = "What the model looks at",
    subtitle: str = "",
) -> Figure:
    """Horizontal bars of `importance`, a table with `feature` and `importance` (0 or more, any scale).

    Bars are shares of the sum over all features. Beyond `most_features` the rest is one last, grey bar.
    """
    ordered = importance.sort_values("importance", ascending=False, kind="stable")
    total = float(ordered["importance"].sum()) or 1.0
    shares = [float(value) / total for value in ordered["importance"]]
    names = [str(name) for name in ordered["feature"]]
    colors = [BLUE] * len(names)
    if len(names) > most_features:
        rest = len(names) - most_features + 1
        names = [*names[:-rest], f"{rest} others"]
        shares = [*shares[:-rest], sum(shares[-rest:])]
        colors = [*colors[: len(names) - 1], FAINT]
    figure, axes = one_axes(title, subtitle, height_inches=1.2 + 0.24 * max(len(names), 3))
    axes.barh(range(len(names)), shares, height=0.66, color=colors)
    for position, share in enumerate(shares):
        note(axes, f"{share:.1%}", (share, position), offset=(4, 0), color=INK)
    axes.set_yticks(range(len(names)), [shortened(name) for name in names])
    axes.tick_params(axis="y", labelcolor=INK, length=0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.grid(visible=False)
    axes.set(
        xlim=(0.0, (max(shares, default=0.0) or 1.0) * 1.12),
        ylim=(max(len(names), 3) - 0.4, -0.6),
        xlabel=measured_in,
    )
    return figure
