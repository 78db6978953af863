"""A layered layout puts every node below what it needs, without overlaps."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import MeasureError
from forecastle.draw.layers import layered_layout

GAP = 0.2


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Graphs of 1 to 12 nodes in which a node needs only earlier ones."""
    nodes = [f"n{i}" for i in range(draw(st.integers(1, 12)))]
    return {
        node: sorted(draw(st.sets(st.sampled_from(nodes[:place]), max_size=3))) if place else []
        for place, node in enumerate(nodes)
    }


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_every_node_stands_below_its_needs_and_beside_its_neighbours(upstream: dict[str, list[str]]) -> None:
    """Edges go down by at least one layer, and boxes of a layer keep their distance."""
    widths = {node: 0.5 + 0.1 * place for place, node in enumerate(upstream)}
    layout = layered_layout(upstream, widths, gap=GAP)
    assert set(layout.places) == set(upstream)
    for node, needs in upstream.items():
        for source in needs:
            points = layout.edges[source, node]
            assert points[0] == layout.places[source]
            assert points[-1] == layout.places[node]
            assert all(lower[1] == upper[1] + 1 for upper, lower in pairwise(points))
    for depth in range(layout.layers):
        row = sorted((x, widths[node]) for node, (x, layer) in layout.places.items() if layer == depth)
        for (x, width), (next_x, next_width) in pairwise(row):
            assert next_x - x >= (width + next_width) / 2 + GAP - 1e-9


@given(graphs())
@settings(max_examples=20, deadline=None)
def test_the_order_of_names_does_not_matter(upstream: dict[str, list[str]]) -> None:
    """The same graph written in another order has the same layout."""
    widths = dict.fromkeys(upstream, 1.0)
    turned = {node: list(reversed(upstream[node])) for node in reversed(upstream)}
    assert layered_layout(upstream, widths, gap=GAP).places == layered_layout(turned, widths, gap=GAP).places


def test_a_crossing_is_untied() -> None:
    """Edges a → d and b → c, listed so that their lines would cross, are drawn without a crossing."""
    places = layered_layout({"a": [], "b": [], "c": ["b"], "d": ["a"]}, dict.fromkeys("abcd", 1.0), gap=GAP).places
    assert (places["a"][0] < places["b"][0]) == (places["d"][0] < places["c"][0])


def test_a_source_stands_just_above_its_first_use() -> None:
    """A node that needs nothing sinks to the layer above the first node that needs it."""
    places = layered_layout(
        {"a": [], "b": ["a"], "c": ["b", "late"], "late": []},
        dict.fromkeys(["a", "b", "c", "late"], 1.0),
        gap=GAP,
    ).places
    assert {node: layer for node, (_, layer) in places.items()} == {"a": 0, "b": 1, "c": 2, "late": 1}


@pytest.mark.parametrize(
    ("upstream", "said"),
    [
        ({}, "no nodes"),
        ({"a": ["b"]}, "b is needed but not a node"),
        ({"a": ["b"], "b": ["a"], "c": []}, "cycle goes through a, b"),
    ],
)
def test_refusals(upstream: dict[str, list[str]], said: str) -> None:
    """Nothing to draw, an unknown need and a cycle are refused by name."""
    with pytest.raises(MeasureError, match=said):
        layered_layout(upstream, dict.fromkeys(upstream, 1.0), gap=GAP)
