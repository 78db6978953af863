"""Draw the pictures of README and docs anew: python -m docs.pictures

Belongs here: which pictures the documents show and what they are drawn from.
Does not belong here: how a graph looks (`forecastle.draw.graph`).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from assets.definitions import defs
from forecastle.contract.load import discover
from forecastle.draw.graph import asset_graph
from forecastle.draw.images import svg_text
from resources.environment import system_folders

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"


def main() -> None:
    """Write every picture."""
    for system in discover(system_folders({})):
        (IMAGES / f"{system}.svg").write_text(svg_text(asset_graph(assets_of(system))), encoding="utf-8")
    (IMAGES / "rooms.svg").write_text(
        svg_text(asset_graph(rooms(), groups=dict.fromkeys(rooms(), "room"))), encoding="utf-8"
    )


def assets_of(system: str) -> dict[str, list[str]]:
    """Every asset of a system → the assets it needs, without the system's name."""
    graph = defs().resolve_asset_graph()
    keys = [key for key in graph.get_all_asset_keys() if key.path[0] == system]
    return {
        "/".join(key.path[1:]): ["/".join(up.path[1:]) for up in sorted(graph.get(key).parent_keys)]
        for key in sorted(keys)
    }


def rooms() -> dict[str, list[str]]:
    """Every room → the rooms it may import, from import-linter's layers; only the next layer down is drawn."""
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [layer.split(" | ") for layer in settings["contracts"][0]["layers"]]
    found: dict[str, list[str]] = {"assets": ["resources"], "resources": list(layers[1])}
    for above, below in zip(layers, [*layers[1:], []], strict=True):
        found.update(dict.fromkeys(above, below))
    return found


if __name__ == "__main__":
    main()
