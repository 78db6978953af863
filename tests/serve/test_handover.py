"""A restart of the code under load: new workers on the same socket, old ones end when those answer."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.serve.server import served, until
from tests.serve.toy import GIVEN


def children(parent: int) -> set[int]:
    """Process ids of the workers: children that have children's sockets, told by the kernel."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return {pid for pid in map(int, listed) if b"spawn_main" in command(pid)}


def command(pid: int) -> bytes:
    """Its command line; nothing of a process that ended in the meantime."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def processes_with_gauges(home: Path) -> set[int]:
    """Process ids whose gauges (champion in use, predictions that wait) the metrics page counts in."""
    return {int(path.stem.rpartition("_")[2]) for path in (home / "metrics").glob("*/gauge_live*.db")}


@pytest.mark.slow
def test_a_restart_under_load_loses_no_request(home):
    """SIGHUP replaces both workers while four threads ask over new connections: every request is answered 200.

    What the old ones said of their champion and their queue leaves the metrics with them.
    """
    with served(home.root, workers=2) as server:
        before = children(server.process.pid)
        assert len(before) == 2
        over, statuses, faults = threading.Event(), [], []

        def ask() -> None:
            while not over.is_set():
                try:
                    statuses.append(server.predict({"entity": {"market_id": 1}, "features": GIVEN})[0])
                except OSError as error:
                    faults.append(repr(error))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        os.kill(server.process.pid, signal.SIGHUP)
        try:
            until(lambda: len(children(server.process.pid) - before) == 2, "no new workers came")
            until(lambda: not children(server.process.pid) & before, "the old workers did not end")
            answered = len(statuses)
            until(lambda: len(statuses) > answered + 20, "the new workers do not answer")
            until(
                lambda: processes_with_gauges(home.root) == children(server.process.pid), "the metrics show old workers"
            )
        finally:
            over.set()
            for thread in threads:
                thread.join()
    assert faults == []
    assert set(statuses) == {200}


@pytest.mark.slow
def test_workers_end_with_their_parent(home):
    """When the parent is killed its workers end by themselves, and the port is free for the next service."""
    with served(home.root, workers=2) as server:
        workers = children(server.process.pid)
        server.process.kill()
        server.process.wait()
        until(lambda: not any(command(pid) for pid in workers), "the workers outlive it")
        with pytest.raises(OSError, match="refused"):
            server.ask("GET", "/livez")
