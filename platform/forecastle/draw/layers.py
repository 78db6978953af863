"""Where the boxes of a layered graph stand: layer by layer, few crossings, short edges.

Belongs here: the layout as numbers (Sugiyama, Tagawa and Toda 1981, IEEE Trans. SMC 11, 109, with the
barycentre rule and least-squares places).
Does not belong here: colours and lines (`graph`), what the boxes mean.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

from forecastle.contract.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SWEEPS = 24


@dataclass(frozen=True, slots=True)
class Layout:
    """`places`: (x, layer) of each box centre, layer 0 first; `edges`: the (x, layer) points of each edge.

    `left` and `right` bound the boxes, in the units of the widths given.
    """

    places: Mapping[str, tuple[float, int]]
    edges: Mapping[tuple[str, str], tuple[tuple[float, int], ...]]
    layers: int
    left: float
    right: float


def layered_layout(upstream: Mapping[str, Iterable[str]], widths: Mapping[str, float], *, gap: float) -> Layout:
    """Place every node of `upstream` (node → the nodes it needs) below all that it needs.

    `widths` are the boxes' widths; neighbours in a layer stand at least `gap` apart.

    Raises:
        MeasureError: no nodes, an unknown upstream node, or a cycle.
    """
    needs = {node: tuple(sorted(set(upstream[node]))) for node in sorted(upstream)}
    layer = _layers(needs)
    chains = {(source, node): _chain(source, node, layer) for node, sources in needs.items() for source in sources}
    rows: list[list[str]] = [[] for _ in range(max(layer.values()) + 1)]
    above: dict[str, list[str]] = defaultdict(list)
    below: dict[str, list[str]] = defaultdict(list)
    for node, depth in layer.items():
        rows[depth].append(node)
    for chain in chains.values():
        for step, name in enumerate(chain[1:-1], start=1):
            rows[layer[chain[0]] + step].append(name)
        for upper, lower in pairwise(chain):
            below[upper].append(lower)
            above[lower].append(upper)
    _order(rows, above, below)
    x = _across(rows, above, below, widths, gap)
    return Layout(
        places={node: (x[node], depth) for node, depth in layer.items()},
        edges={
            edge: tuple((x[name], layer[chain[0]] + step) for step, name in enumerate(chain))
            for edge, chain in chains.items()
        },
        layers=len(rows),
        left=min(x[node] - widths[node] / 2 for node in layer),
        right=max(x[node] + widths[node] / 2 for node in layer),
    )


def _layers(needs: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """The longest path down to each node; nodes that need nothing then sink to just above their first use."""
    if not needs:
        raise MeasureError("graph: got no nodes; at least one is needed; pass node → the nodes it needs")
    unknown = sorted({source for sources in needs.values() for source in sources} - needs.keys())
    if unknown:
        raise MeasureError(f"graph: {', '.join(unknown)} is needed but not a node; add it with no needs of its own")
    layer: dict[str, int] = {}
    waiting = list(needs)
    while waiting:
        ready = [node for node in waiting if all(source in layer for source in needs[node])]
        if not ready:
            raise MeasureError(f"graph: a cycle goes through {', '.join(waiting)}; leave out the edge that closes it")
        for node in ready:
            layer[node] = 1 + max((layer[source] for source in needs[node]), default=-1)
        waiting = [node for node in waiting if node not in layer]
    first_use = {
        source: min(layer[node] for node, sources in needs.items() if source in sources)
        for sources in needs.values()
        for source in sources
    }
    return {
        node: first_use[node] - 1 if not needs[node] and node in first_use else depth for node, depth in layer.items()
    }


def _chain(source: str, node: str, layer: Mapping[str, int]) -> tuple[str, ...]:
    """The edge as a path with one invisible stop in every layer that it crosses."""
    stops = (f"{source} → {node} @{depth}" for depth in range(layer[source] + 1, layer[node]))
    return (source, *stops, node)


def _order(rows: list[list[str]], above: Mapping[str, list[str]], below: Mapping[str, list[str]]) -> None:
    """Sort layers by the mean place of their neighbours, down and up by turns; keep the fewest crossings."""
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        near = above if downwards else below
        for row, other in _neighbouring(rows, downwards=downwards):
            rank = {name: place / len(other) for place, name in enumerate(other)}
            own = {name: place / len(row) for place, name in enumerate(row)}
            row.sort(key=lambda name: sum(rank[n] for n in near[name]) / len(near[name]) if near[name] else own[name])
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    rows[:] = best


def _neighbouring(rows: list[list[str]], *, downwards: bool) -> list[tuple[list[str], list[str]]]:
    """(row, the row already placed) in the order of a sweep."""
    pairs = list(pairwise(rows))
    return [(lower, upper) for upper, lower in pairs] if downwards else list(reversed(pairs))


def _crossings(rows: list[list[str]], below: Mapping[str, list[str]]) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        rank = {name: place for place, name in enumerate(lower)}
        ends = [place for name in upper for place in sorted(rank[n] for n in below.get(name, ()))]
        total += sum(1 for i, end in enumerate(ends) for other in ends[i + 1 :] if other < end)
    return total


def _across(
    rows: list[list[str]],
    above: Mapping[str, list[str]],
    below: Mapping[str, list[str]],
    widths: Mapping[str, float],
    gap: float,
) -> dict[str, float]:
    """Horizontal places: each as near to the mean of its neighbours as the widths allow, in least squares."""
    x: dict[str, float] = {}
    offsets = []
    for row in rows:
        half = np.array([widths.get(name, 0.0) / 2 for name in row])
        steps = half[1:] + half[:-1] + gap
        offset = np.concatenate([[0.0], np.cumsum(steps)])
        offsets.append(offset)
        x |= dict(zip(row, (offset - offset[-1] / 2).tolist(), strict=True))
    for sweep in range(_SWEEPS):
        near = above if sweep % 2 == 0 else below
        for row, offset in zip(rows, offsets, strict=True):
            wanted = [sum(x[n] for n in near[name]) / len(near[name]) if near[name] else x[name] for name in row]
            placed = isotonic_regression(np.array(wanted) - offset).x + offset
            x |= dict(zip(row, placed.tolist(), strict=True))
    return x
