"""A daemon that died: told by the command within its heartbeat, while the service goes on answering."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dagster import DagsterInstance

from forecastle.store.home import Home
from tests.e2e.stack import forecastle
from tests.serve.server import served
from tests.serve.toy import GIVEN, home_with_champion
from tests.store.weather import write_system

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

START_SECONDS = 60.0


def declared(folder: Path) -> Path:
    """A folder of systems with one called toy, as the champion is."""
    write_system(folder / "weather")
    path = (folder / "weather").rename(folder / "toy") / "system.yaml"
    path.write_text(path.read_text().replace("system: weather", "system: toy", 1))
    return folder


def pass_time(dagster_home: Path, *, seconds: float) -> None:
    """Every heartbeat becomes that much older."""
    with DagsterInstance.from_config(str(dagster_home)) as instance:
        for beat in instance.get_daemon_heartbeats().values():
            instance.add_daemon_heartbeat(beat._replace(timestamp=beat.timestamp - seconds))


def test_a_dead_daemon_is_told_and_serving_goes_on(tmp_path: Path) -> None:
    """Alive: exit status 0. Killed, three minutes later: exit status 1 and its name; answers are what they were."""
    home = Home(home_with_champion(tmp_path).root)
    systems = {"FORECASTLE_SYSTEMS": str(declared(tmp_path / "mine"))}
    home.dagster.mkdir(parents=True, exist_ok=True)
    before_start = forecastle(home.root, "health", "toy", **systems)
    environment = os.environ | {"DAGSTER_HOME": str(home.dagster), "DAGSTER_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "dagster._daemon", "run", "--empty-workspace"]
    with served(home.root) as server, (tmp_path / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
        try:
            ask = ("health", "toy", "--service", f"http://127.0.0.1:{server.port}")
            deadline = time.monotonic() + START_SECONDS
            while (alive := forecastle(home.root, *ask, **systems)).returncode != 0:
                assert time.monotonic() < deadline, alive.stdout + alive.stderr
                assert daemon.poll() is None, (tmp_path / "daemon.log").read_text()
            before = server.predict({"entity": {"market_id": 1}, "features": GIVEN})
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
            pass_time(home.dagster, seconds=180)
            dead = forecastle(home.root, *ask, **systems)
            after = server.predict({"entity": {"market_id": 1}, "features": GIVEN})
        finally:
            daemon.kill()
            daemon.wait()
    assert "Dagster was never started" in " ".join(before_start.stdout.split())
    assert "✓ daemon" in alive.stdout
    assert dead.returncode == 1
    assert "✗ daemon" in dead.stdout
    assert "✓ service" in dead.stdout
    assert before[0] == after[0] == 200
    assert before[1]["probability"] == after[1]["probability"]
