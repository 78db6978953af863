"""The picture of a search: what each trial scored, and the best so far.

Belongs here: how a table of trials looks.
Does not belong here: searching (`learn/search.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forecastle.draw.style import BLUE, FAINT, look, one_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@look()
def trials_diagram(trials: pd.DataFrame, *, title: str = "What the search found", subtitle: str = "") -> Figure:
    """One dot for each trial and a line for the best so far; `trials` has `trial` and `log_loss` (null: it failed)."""
    judged = trials.dropna(subset=["log_loss"]).sort_values("trial", kind="stable")
    figure, axes = one_axes(title, subtitle, height_inches=3.2)
    axes.scatter(judged["trial"], judged["log_loss"], s=14, color=FAINT, zorder=2)
    axes.step(judged["trial"], judged["log_loss"].cummin(), where="post", color=BLUE, zorder=3)
    axes.set(xlabel="trial", ylabel="log loss (nats a row), walk-forward folds")
    return figure
