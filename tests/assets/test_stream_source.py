"""A stream in the graph: its source asset takes what the log holds, and everything behind it is as with a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.features import build_features, build_online
from assets.sources import build_source
from resources.platform import Platform
from tests.store.stream_world import StreamWorld
from tests.store.trades import Trade


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StreamWorld]:
    made = StreamWorld(tmp_path)
    yield made
    made.close()


def materialise(world: StreamWorld) -> dg.ExecuteInProcessResult:
    system = world.system
    assets = [build_source(system, "trades"), build_source(system, "prices"), build_features(system, "activity")]
    platform = Platform(home=str(world.home.root), data=str(world.root / "data"), now=world.now.isoformat())
    return dg.materialize([*assets, build_online(system, "activity")], resources={"platform": platform})


def test_the_graph_ends_where_the_worker_is(world: StreamWorld) -> None:
    """The worker serves features at once; the assets make tables of the same events and the same online rows."""
    world.push_trades([Trade(n, n % 3, 60 * n, 0.25) for n in range(12)])
    world.drain()
    served = world.served()
    done = materialise(world)
    assert done.success
    assert world.warehouse.version("trades/source/trades").rows == 12
    assert (world.served(), sum(row is not None for row in served.values())) == (served, 3)
    checks = {check.check_name: check.passed for check in done.get_asset_check_evaluations()}
    assert checks["contract"]


def test_dead_letters_are_a_warning_with_their_rows(world: StreamWorld) -> None:
    """The contract check of the source counts them."""
    world.push([Trade(n, 0, n, 0.5).body() for n in range(150)] + [Trade(1, 0, 1, 0.5).body(price=9)])
    world.drain()
    (contract,) = [c for c in materialise(world).get_asset_check_evaluations() if c.check_name == "contract" and not c.passed]
    assert contract.metadata["quarantined"].value == 1
