"""`forecastle health`: what a watchdog outside the platform is told about daemon, service and data."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from dagster import DagsterInstance

from forecastle.cli.health import daemon, freshness, ready
from forecastle.contract.load import LoadedSystem, load_system
from forecastle.store.sources import ingest
from forecastle.store.warehouse import Warehouse
from tests.cli.conftest import Forecastle
from tests.store.weather import START, write_readings, write_system


@pytest.fixture
def service() -> Iterator[str]:
    """Answers 200 to /readyz and 503 to everything else."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/readyz" else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def watched(folder: Path) -> LoadedSystem:
    """The weather system, whose readings may be six hours old."""
    write_system(folder)
    path = folder / "system.yaml"
    limit = "freshness: {warn: 1h, fail: 6h}\n    event_at: read_at"
    path.write_text(path.read_text().replace("event_at: read_at", limit, 1))
    return load_system(folder)


def test_a_service_is_well_while_it_says_ready(service: str) -> None:
    """200 is well; another status, and nobody who listens, are not."""
    assert ready(service + "/").is_well
    broken = ready(service + "/elsewhere")
    assert (broken.is_well, "503" in broken.reason) == (False, True)
    assert not ready("http://127.0.0.1:1").is_well


def test_data_is_judged_by_its_newest_row(tmp_path: Path) -> None:
    """The last reading is known on 5 January at 14:00: well six hours later, not a second after that."""
    system = watched(tmp_path / "weather")
    warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: START)
    (nothing,) = freshness(system, warehouse, now=START)
    assert (nothing.part, nothing.is_well) == ("source/readings", False)
    assert "materialise it first" in nothing.reason
    write_readings(tmp_path, days=5, stations=1, lag_hours=2)
    ingest(warehouse, "weather", "readings", system.declaration.sources["readings"], data=tmp_path)
    known_at = START + timedelta(days=4, hours=14)
    for late, is_well in ((timedelta(hours=6), True), (timedelta(hours=6, seconds=1), False)):
        (found,) = freshness(system, warehouse, now=known_at + late)
        assert found.is_well is is_well, found
        assert "2026-01-05 14:00:00 UTC" in found.reason


def test_a_daemon_that_never_was_is_dead(tmp_path: Path) -> None:
    """Dagster's own check of an instance without heartbeats."""
    with DagsterInstance.from_config(str(tmp_path)):
        pass
    found = daemon(os.environ | {"DAGSTER_HOME": str(tmp_path)}, heartbeat=timedelta(minutes=2))
    assert (found.part, found.is_well) == ("daemon", False)
    assert "no heartbeat for 0:02:00" in found.reason


def test_a_look_makes_no_storage(tmp_path: Path) -> None:
    """Before the first start the folder stays empty; a storage that is half made is not asked either."""
    for _ in range(2):
        found = daemon(os.environ | {"DAGSTER_HOME": str(tmp_path)}, heartbeat=timedelta(minutes=2))
        assert not found.is_well
        assert f"never started in {tmp_path}" in found.reason
        assert {path.name for path in tmp_path.iterdir()} <= {"schedules"}
        (tmp_path / "schedules").mkdir(exist_ok=True)
        (tmp_path / "schedules" / "schedules.db").touch()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--heartbeat", "soon"), "write a time of a second or more"),
        (("--service", "here"), "write an address such as"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    forecastle: Forecastle, arguments: tuple[str, ...], told: str
) -> None:
    """One plain message, exit status 1."""
    done = forecastle("health", "prediction_markets", *arguments)
    assert done.returncode == 1
    assert told in done.stderr
