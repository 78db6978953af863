"""The picture of an asset graph: boxes from top to bottom in the order in which they are made.

Belongs here: how a mapping of dependencies looks.
Does not belong here: where boxes stand (`layers`), reading Dagster definitions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from forecastle.draw.layers import layered_layout
from forecastle.draw.style import (
    AMBER,
    BLUE,
    FAINT,
    GREEN,
    INK,
    MUTED,
    PAPER,
    PURPLE,
    SKY,
    VERMILLION,
    heading_inches,
    look,
    new_figure,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = (BLUE, AMBER, GREEN, VERMILLION, PURPLE, SKY)
_LETTER_INCHES, _BOX_INCHES, _LAYER_INCHES, _GAP_INCHES = 0.074, 0.27, 0.6, 0.16


@look()
def asset_graph(
    upstream: Mapping[str, Iterable[str]],
    *,
    groups: Mapping[str, str] | None = None,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """Every asset of `upstream` (asset → the assets it needs) as a box below the ones it needs.

    Boxes of one group have one colour; an asset's group is taken from `groups`, else it is the part of its
    name before the first slash. The figure is as large as the graph.

    Raises:
        MeasureError: no assets, an unknown upstream asset, or a cycle.
    """
    widths = {asset: 0.24 + _LETTER_INCHES * len(asset) for asset in upstream}
    layout = layered_layout(upstream, widths, gap=_GAP_INCHES)
    width_inches = max(layout.right - layout.left + 0.3, 4.0 if title else 0.0)
    head_inches = heading_inches(title, subtitle, width_inches=width_inches)
    height_inches = layout.layers * _LAYER_INCHES + head_inches
    figure = new_figure(title, subtitle, width_inches=width_inches, height_inches=height_inches)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0 - head_inches / height_inches))
    axes.axis("off")
    middle = (layout.left + layout.right) / 2
    axes.set(xlim=(middle - width_inches / 2, middle + width_inches / 2), ylim=(layout.layers - 0.5, -0.5))
    colors = _group_colors(upstream, groups or {})
    for points in layout.edges.values():
        _draw_edge(axes, points)
    for asset, place in layout.places.items():
        _draw_box(axes, asset, place, width=widths[asset], color=colors[asset])
    return figure


def _group_colors(upstream: Mapping[str, Iterable[str]], groups: Mapping[str, str]) -> dict[str, str]:
    """One colour for each group of two or more assets, grey for the rest."""
    of_asset = {asset: groups.get(asset, asset.partition("/")[0]) for asset in upstream}
    members = list(of_asset.values())
    shared = [group for group in dict.fromkeys(members) if members.count(group) > 1]
    colors = {group: _COLORS[place % len(_COLORS)] for place, group in enumerate(shared)}
    return {asset: colors.get(group, MUTED) for asset, group in of_asset.items()}


def _draw_edge(axes: Axes, points: tuple[tuple[float, int], ...]) -> None:
    """A smooth line from the lower side of a box to the upper side of another, with an arrow head."""
    half = _BOX_INCHES / 2 / _LAYER_INCHES
    (start_x, start), (end_x, end) = points[0], points[-1]
    head = (end_x, end - half - 0.05)
    vertices: list[tuple[float, float]] = [(start_x, start + half)]
    codes = [Path.MOVETO]
    for x, y in (*((x, layer - half) for x, layer in points[1:-1]), head):
        last_x, last_y = vertices[-1]
        bend = (y - last_y) * 0.6
        vertices += [(last_x, last_y + bend), (x, y - bend), (x, y)]
        codes += [Path.CURVE4] * 3
        if (x, y) != head:  # straight past the boxes of a layer
            vertices.append((x, y + 2 * half))
            codes.append(Path.LINETO)
    axes.add_patch(PathPatch(Path(vertices, codes), facecolor="none", edgecolor=FAINT, linewidth=1.0, zorder=1))
    axes.plot(*head, marker="v", color=FAINT, markersize=4.0, zorder=1)


def _draw_box(axes: Axes, asset: str, place: tuple[float, int], *, width: float, color: str) -> None:
    x, layer = place
    height = _BOX_INCHES / _LAYER_INCHES
    for face, edge in ((PAPER, "none"), (f"{color}1F", color)):
        axes.add_patch(
            FancyBboxPatch(
                (x - width / 2, layer - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.07",
                mutation_aspect=1 / _LAYER_INCHES, facecolor=face, edgecolor=edge, linewidth=1.0, zorder=2,
            )
        )  # fmt: skip
    axes.text(x, layer, asset, ha="center", va="center_baseline", fontsize=8.5, color=INK, zorder=3)
