"""Pictures of how well forecasts tell events apart: ROC, Murphy, miscalibration against discrimination.

Belongs here: how tables of `measure.curves` and `measure.decomposition` look.
Does not belong here: the reliability diagram (`calibration`), statistics.
Which pictures, and why these: Dimitriadis, Gneiting, Jordan and Vogel 2024 (triptych),
doi:10.1016/j.ijforecast.2023.09.007.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from matplotlib.ticker import MaxNLocator

from forecastle.draw.style import BLUE, FAINT, GREEN, INK, MUTED, VERMILLION, look, note, one_axes, shortened

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from forecastle.measure.arrays import FloatArray
    from forecastle.measure.scores import AucInterval


@look()
def roc_diagram(
    curve: pd.DataFrame,
    *,
    auc: AucInterval | None = None,
    title: str = "How well forecasts rank events",
    subtitle: str = "",
) -> Figure:
    """True against false positive rate over all thresholds: the table of `roc_curve`, with the area named."""
    figure, axes = one_axes(title, subtitle, height_inches=5.2)
    false_rate, true_rate = curve["false_positive_rate"], curve["true_positive_rate"]
    axes.fill_between(false_rate, true_rate, color=BLUE, alpha=0.08)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.plot(false_rate, true_rate, color=BLUE)
    note(axes, "no skill", (0.45, 0.45), offset=(6, -8))
    if auc is not None:
        axes.text(
            0.97, 0.06, f"area {auc.auc:.3f}\n{auc.level:.0%} interval {auc.low:.3f} to {auc.high:.3f}",
            ha="right", linespacing=1.5,
        )  # fmt: skip
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="false positive rate", ylabel="true positive rate")
    return figure


@look()
def murphy_diagram(
    curve: pd.DataFrame, *, title: str = "Loss at every decision threshold", subtitle: str = ""
) -> Figure:
    """Mean elementary scores by threshold, the table of `murphy_curve`; lower is better.

    The gap from the recalibrated line up to the forecast is miscalibration, the gap from it up to the base
    rate is discrimination.
    """
    figure, axes = one_axes(title, subtitle, height_inches=5.2)
    threshold = curve["threshold"].to_numpy()
    best = curve["recalibrated_score"].to_numpy()
    axes.fill_between(threshold, best, curve["score"], color=VERMILLION, alpha=0.3)
    axes.plot(threshold, curve["reference_score"], color=MUTED, linewidth=1.4)
    axes.plot(threshold, best, color=GREEN, linewidth=1.4)
    axes.plot(threshold, curve["score"], color=BLUE)
    handles = [
        axes.plot([], [], color=BLUE, label="forecast")[0],
        axes.plot([], [], color=GREEN, label="recalibrated")[0],
        axes.plot([], [], color=MUTED, label="always the base rate")[0],
        axes.fill([], [], color=VERMILLION, alpha=0.3, label="miscalibration")[0],
    ]
    # The base rate's line peaks at the base rate: the other upper corner is always free.
    peak = threshold[int(np.argmax(curve["reference_score"].to_numpy()))]
    axes.legend(
        handles=handles, loc="upper left" if peak > 0.5 else "upper right", frameon=False,
        labelcolor=[BLUE, GREEN, MUTED, VERMILLION], fontsize=8.5,
    )  # fmt: skip
    axes.set(xlim=(0, 1), xlabel="decision threshold", ylabel="mean elementary score")
    axes.set_ylim(bottom=0.0, top=float(curve[["score", "reference_score"]].to_numpy().max()) * 1.15)
    return figure


@look()
def miscalibration_discrimination_diagram(
    forecasts: pd.DataFrame,
    *,
    rule: str = "brier",
    title: str = "Miscalibration against discrimination",
    subtitle: str = "up and to the left is better; forecasts on one grey line have the same score",
) -> Figure:
    """One dot for each forecast of `decompose_forecasts`, by the scoring `rule`.

    The first forecast, that of the report, is drawn stronger. A forecast with an infinite miscalibration (a
    certain one that was wrong, under log loss) has no place and is named in the corner.
    """
    figure, axes = one_axes(title, subtitle, height_inches=4.8)
    table = forecasts[forecasts["rule"] == rule]
    names = [shortened(str(name), letters=26) for name in table["forecast"]]
    x, y = table["miscalibration"].to_numpy(float), table["discrimination"].to_numpy(float)
    is_finite = np.isfinite(x)
    right, top = _limit(x[is_finite]), _limit(y[is_finite])
    axes.set(xlim=(-0.03 * right, right), ylim=(-0.03 * top, top))
    axes.grid(visible=False)
    _draw_score_lines(axes, float(table["uncertainty"].iloc[0]), right=right, top=top)
    axes.plot(x[is_finite][1:], y[is_finite][1:], "o", color=MUTED, markersize=5.5, zorder=5)
    axes.plot(x[is_finite][:1], y[is_finite][:1], "o", color=BLUE, markersize=8.0, zorder=5)
    _label_dots(axes, [name for name, kept in zip(names, is_finite, strict=True) if kept], x[is_finite], y[is_finite])
    lost = [name for name, kept in zip(names, is_finite, strict=True) if not kept]
    if lost:
        axes.text(0.98, 0.03, f"infinite: {', '.join(lost)}", transform=axes.transAxes, ha="right", color=MUTED)
    axes.set(xlabel="miscalibration (less is better)", ylabel="discrimination (more is better)")
    return figure


def _limit(values: FloatArray) -> float:
    return max(float(values.max(initial=0.0)) * 1.25, 1e-3)


def _draw_score_lines(axes: Axes, uncertainty: float, *, right: float, top: float) -> None:
    """Lines of equal score (miscalibration - discrimination + uncertainty), named where they leave."""
    for score in MaxNLocator(7).tick_values(uncertainty - top, uncertainty + right):
        start = uncertainty - score
        axes.plot([0.0, right], [start, start + right], color=FAINT, alpha=0.5, linewidth=0.9, zorder=0)
        leaves_above = 0.0 < top - start < right
        at = (top - start, top) if leaves_above else (right, start + right)
        if leaves_above or 0.0 < start + right < top:
            offset, side = ((0, 6), "center") if leaves_above else ((4, 0), "left")
            note(axes, f"{score:.3g}", at, offset=offset, ha=side, fontsize=8.0)


def _label_dots(axes: Axes, names: list[str], x: FloatArray, y: FloatArray) -> None:
    """Each name at the first of some places about its dot where it covers no dot and no other name."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    dots = np.column_stack([(x - left) / (right - left), (y - low) / (high - low)])
    taken: list[_Box] = [(a - 0.012, b - 0.012, a + 0.012, b + 0.012) for a, b in dots.tolist()]
    for place, (name, dot) in enumerate(zip(names, dots.tolist(), strict=True)):
        boxes = [_name_box(dot, 0.0155 * len(name) + 0.01, side, lines) for side, lines in _NAME_PLACES]
        inside = [box for box in boxes if box[0] >= 0.0 and box[2] <= 1.0]
        free = [box for box in inside if not any(_overlap(box, other) for other in taken)]
        box = (free or inside or boxes)[0]
        taken.append(box)
        label = axes.annotate(
            name, dot, xycoords="axes fraction", xytext=(box[0], (box[1] + box[3]) / 2),
            textcoords="axes fraction", va="center_baseline", color=INK if place else BLUE,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.6, "shrinkA": 2, "shrinkB": 6},
        )  # fmt: skip
        label.set_in_layout(False)  # a long name must not make the axes, and with them every other place, smaller


_NAME_PLACES = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (1, 2), (1, -2), (1, 3), (1, -3))
_Box: TypeAlias = tuple[float, float, float, float]


def _name_box(dot: tuple[float, float], width: float, side: int, lines: int) -> _Box:
    """(left, low, right, high) of a name beside its dot, in shares of the axes."""
    start = dot[0] + 0.022 if side > 0 else dot[0] - 0.022 - width
    middle = dot[1] + 0.05 * lines
    return (start, middle - 0.022, start + width, middle + 0.022)


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
