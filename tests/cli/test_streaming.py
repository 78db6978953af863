"""`forecastle stream` in a process of its own: it works, says so, serves metrics and ends on Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.store.stream_world import StreamWorld
from tests.store.trades import Trade


def command(root: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    environment = {
        **os.environ,
        "FORECASTLE_HOME": str(root / "home"),
        "FORECASTLE_SYSTEMS": str(root / "systems"),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "COLUMNS": "200",
    }
    return [sys.executable, "-m", "forecastle.cli.main", "stream", *arguments], environment


def test_the_worker_runs_until_ctrl_c(tmp_path: Path) -> None:
    """Events that wait are online when the first line says so; the metrics count them; then it stops."""
    world = StreamWorld(tmp_path)
    world.push_trades([Trade(n, n % 5, n, 0.5) for n in range(20)])
    line, environment = command(tmp_path, "trades", "--metrics-port", "0")
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        began = re.search(r"trades takes events of trades; metrics at (http\S+)\.", worker.stdout.readline())
        assert began is not None
        assert worker.stdout.readline() == "20 events, 0 dead letters, 5 entities renewed; trades 0 behind\n"
        with urllib.request.urlopen(began[1].replace("/metrics.", "/metrics"), timeout=10) as answer:
            text = answer.read().decode()
        worker.send_signal(signal.SIGINT)
        assert worker.stdout.read().splitlines()[-1] == "stopping"
    assert worker.returncode == 0
    assert "forecastle_stream_events_total 20.0" in text
    assert 'forecastle_stream_unapplied_rows{source="trades"} 0.0' in text
    assert world.served() == world.batch_online()
    world.close()


def test_a_system_without_streams_is_told(tmp_path: Path) -> None:
    """One plain message and exit status 1."""
    (tmp_path / "systems").mkdir()
    line, environment = command(tmp_path, "prediction_markets")
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, "declares no stream" in done.stderr) == (1, True)
