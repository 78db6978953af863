"""The picture of drift: every feature's effects against what is tolerated.

Belongs here: how a `measure.drift.DriftTable` looks.
Does not belong here: tests and tolerances (`measure.drift`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from forecastle.draw.style import AMBER, BLUE, FAINT, INK, MUTED, VERMILLION, look, one_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from forecastle.measure.drift import DriftTable

_MOST_TIMES = 100.0
_LABELS = {
    "distribution": "distribution", "tails": "tails", "unit": "unit", "nulls": "nulls", "unseen": "unseen category",
}  # fmt: skip


@look()
def drift_diagram(
    drift: DriftTable, *, most_features: int = 25, title: str = "Drift against the training data", subtitle: str = ""
) -> Figure:
    """One row for each feature, the largest effect first; 1 × is the tolerance.

    A row's bar is its largest effect over its tolerance (a multiple beyond 100 is drawn at 100), small dots
    are its other tests. Vermillion: an alarm, too large and beyond chance, with the test that raised it.
    Hollow amber: too large, but too few rows to tell. Blue: tolerated.
    """
    rows = _rows(drift.tests)
    shown = rows.head(most_features)
    left_out = len(rows) - len(shown)
    figure, axes = one_axes(
        title, subtitle or _summary(drift, left_out), height_inches=1.5 + 0.24 * max(len(shown), 3)
    )
    _frame(axes, list(shown["feature"]))
    for position, row in enumerate(shown.itertuples(index=False)):
        _draw_row(axes, position, row)
    return figure
