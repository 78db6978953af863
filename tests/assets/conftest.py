"""What tests of the graph share: one small world, made once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from tests.assets.world import World, make_data, small_system


@dataclass(frozen=True)
class Made:
    """A world whose whole graph ran once, and how that went."""

    world: World
    result: dg.ExecuteInProcessResult


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The whole graph of prediction markets, from source files to a packed champion. Do not change it: `copy`."""
    folder = tmp_path_factory.mktemp("graph")
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(small_system(), make_data(folder / "data"), folder / "home", instance)
        yield Made(world, world.run())


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Iterator[World]:
    """The made world once more, for tests that break something."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield made.world.copy(tmp_path, instance=instance)
