"""The asset graph shows every asset as a box with its name inside."""

from __future__ import annotations

from matplotlib.colors import to_hex
from matplotlib.patches import FancyBboxPatch

from forecastle.draw.graph import asset_graph
from forecastle.draw.images import svg_text

UPSTREAM = {
    "source/quotes": [],
    "source/markets": [],
    "features/price_history_of_seven_days": ["source/quotes"],
    "training_set": ["features/price_history_of_seven_days", "source/markets"],
    "promotion": ["training_set", "source/quotes"],
}


def test_every_asset_has_a_box_that_holds_its_name() -> None:
    """Names are drawn inside the picture and inside their own boxes."""
    figure = asset_graph(UPSTREAM, title="prediction_markets", subtitle="five assets")
    figure.canvas.draw()
    axes = figure.axes[0]
    assert {text.get_text() for text in axes.texts} == set(UPSTREAM)
    boxes = [patch.get_window_extent() for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    for text in axes.texts:
        inside = text.get_window_extent()
        assert any(
            box.x0 <= inside.x0 and inside.x1 <= box.x1 and box.y0 <= inside.y0 and inside.y1 <= box.y1 for box in boxes
        )
        assert inside.x0 >= 0
        assert inside.x1 <= figure.bbox.x1


def test_groups_share_a_colour() -> None:
    """The two sources have one colour; assets alone in their group are grey alike; groups can be given."""

    def colours(**options: dict[str, str]) -> dict[str, str]:
        axes = asset_graph(UPSTREAM, **options).axes[0]
        edges = [to_hex(p.get_edgecolor()) for p in axes.patches if isinstance(p, FancyBboxPatch)][1::2]
        return dict(zip([text.get_text() for text in axes.texts], edges, strict=True))

    own = colours()
    assert own["source/quotes"] == own["source/markets"] != own["promotion"] == own["training_set"]
    given = colours(groups=dict.fromkeys(UPSTREAM, "one"))
    assert len(set(given.values())) == 1


def test_same_graph_same_svg() -> None:
    """The picture is the same text every time, one asset alone included."""
    assert svg_text(asset_graph(UPSTREAM)) == svg_text(asset_graph(UPSTREAM))
    assert "training_set" in svg_text(asset_graph({"training_set": []}))
