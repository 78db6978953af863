"""A stream in the graph: its source asset takes what the log holds, and everything behind it is as with a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.features import build_features, build_online
from assets.sources import build_source
from forecastle.serve.online_reader import OnlineReader
from forecastle.serve.settings import settings_from
from resources.environment import resources_from
from resources.platform import Platform
from tests.store.redis_server import RedisServer, require_redis
from tests.store.stream_world import StreamWorld
from tests.store.trades import Trade


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StreamWorld]:
    made = StreamWorld(tmp_path)
    yield made
    made.close()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    require_redis()
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


def materialise(world: StreamWorld, *, raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
    system = world.system
    assets = [build_source(system, "trades"), build_source(system, "prices"), build_features(system, "activity")]
    platform = Platform(home=str(world.home.root), data=str(world.root / "data"), now=world.now.isoformat())
    resources = resources_from({}) | {"platform": platform}
    graph = [*assets, build_online(system, "activity")]
    return dg.materialize(graph, resources=resources, raise_on_error=raise_on_error)


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
    (contract,) = [
        c for c in materialise(world).get_asset_check_evaluations() if c.check_name == "contract" and not c.passed
    ]
    assert contract.metadata["quarantined"].value == 1


def test_too_many_dead_letters_fail_the_asset_and_its_check(world: StreamWorld) -> None:
    """Above the limit the check is an error, no table is made, and the dead letters can be asked for."""
    world.push([Trade(1, 0, 1, 0.5).body(), Trade(1, 0, 1, 0.5).body(price=9)])
    world.drain()
    done = materialise(world, raise_on_error=False)
    (contract,) = [check for check in done.get_asset_check_evaluations() if not check.passed]
    assert not done.success
    assert (contract.check_name, contract.severity) == ("contract", dg.AssetCheckSeverity.ERROR)
    assert "1 of 2 rows (50.00%)" in contract.description
    assert world.warehouse.version("trades/source/trades") is None
    assert world.warehouse.version("trades/quarantine/trades").rows == 1


def test_the_online_store_is_the_one_that_the_environment_names(
    world: StreamWorld, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a URL, assets and serving use Redis, no file is made, and the URL is in no text of the settings."""
    monkeypatch.setenv("FORECASTLE_ONLINE_URL", redis_server.url)
    world.push_trades([Trade(n, n % 3, 60 * n, 0.25) for n in range(12)])
    world.drain()
    expected = world.served()
    for part in world.home.online("trades").parent.glob("*"):
        part.unlink()
    assert materialise(world).success
    settings = settings_from({"FORECASTLE_SYSTEM": "trades", "FORECASTLE_HOME": str(world.home.root), **os.environ})
    assert redis_server.url not in repr(settings)
    reader = OnlineReader(world.home.online("trades"), url=settings.online_url, system="trades")
    assert {m: (reader.read([world.view], (m,)) or {})["activity"] for m in expected} == expected
    assert not world.home.online("trades").exists()
    reader.close()
