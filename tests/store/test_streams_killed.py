"""kill -9 of the stream worker at every point: nothing is lost, nothing doubled, and online is what batch says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from forecastle.store.crash import CRASH_POINTS, STREAM_CRASH_POINTS
from tests.store.stream_world import StreamWorld
from tests.store.trades import Trade

CHILD = """
import sys
from pathlib import Path
from forecastle.store.crash import crash_hook
from tests.store.stream_world import StreamWorld
world = StreamWorld(Path(sys.argv[1]))
hook = crash_hook(sys.argv[2])
world.drain(batch_events=4, crash_at=hook)
world.compact(crash_at=hook)
print("survived")
"""

STEPS = (
    CHILD.partition("hook =")[0]
    + """
with world.worker(batch_events=3) as worker:
    while True:
        worker.step(timeout_seconds=0)
        print("stepped", flush=True)
"""
)


def run_until_killed(root: Path, armed: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(root), armed]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def test_a_kill_at_any_point_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """One life after another ends at the first or second passage of each point; then every event is there once."""
    world = StreamWorld(tmp_path, origin="\n    quarantine_limit: 0.5")
    sent: list[Trade] = []
    for life, point in enumerate(STREAM_CRASH_POINTS):
        more = [Trade(10 * life + n, n % 3, 60 * life + n, 0.25) for n in range(9)]
        world.push([*(trade.body() for trade in more), more[0].body(price=7)])
        sent += more
        run_until_killed(tmp_path, point if point.endswith("compact") else f"{point}::{1 + life % 2}")
        stored = [row.offset for batch in world.log.rows("trades", after=0) for row in batch]
        assert len(stored) == len(set(stored))
    world.drain()
    assert world.log.counts("trades").rows == len(sent)
    assert world.log.counts("trades").dead_letters == len(STREAM_CRASH_POINTS)
    assert world.compact().rows == len(sent)
    assert world.warehouse.arrow("trades/source/trades")["trade_id"].to_pylist() == [t.trade_id for t in sent]
    assert world.served() == world.batch_online()
    world.close()


@pytest.mark.slow
def test_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    """A worker that is killed after some of its steps, five times over, while events go on arriving."""
    world = StreamWorld(tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    sent: list[Trade] = []
    for life in range(5):
        more = [Trade(100 * life + n, n % 5, 60 * life + n, 0.25) for n in range(60)]
        world.push_trades(more)
        sent += more
        command = [sys.executable, "-c", STEPS, str(tmp_path)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(2 + 3 * life):
                assert child.stdout.readline() == "stepped\n"
            child.send_signal(signal.SIGKILL)
    world.drain()
    assert world.compact().rows == len(sent)
    assert world.log.counts("trades").rows == len(sent)
    assert world.served() == world.batch_online()
    world.close()


def test_points_have_names_of_their_own() -> None:
    """No point of the worker is one of a publish."""
    assert len({*CRASH_POINTS, *STREAM_CRASH_POINTS}) == len(CRASH_POINTS) + len(STREAM_CRASH_POINTS)
