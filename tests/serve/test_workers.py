"""A worker that dies again and again is started ever more slowly, and health says so."""

from __future__ import annotations

import json
import os
import signal

import pytest

from forecastle.serve.workers import LONGEST_WAIT_SECONDS, how_ended, wait_before_start
from forecastle.serve.workers_state import workers_told, write_state
from tests.serve.server import served, until
from tests.serve.test_handover import children, processes_with_gauges


def test_waits_double_up_to_the_longest():
    """The first early death costs no wait; then 1, 2, 4 … seconds, at most a minute."""
    assert [wait_before_start(deaths) for deaths in range(6)] == [0.0, 0.0, 1.0, 2.0, 4.0, 8.0]
    assert wait_before_start(9) == wait_before_start(10_000) == LONGEST_WAIT_SECONDS == 60.0


def test_an_end_is_told_in_words():
    """Signals, statuses and processes that hang are told apart."""
    assert [how_ended(status) for status in (-9, 1, None)] == ["signal 9", "status 1", "it hung"]


def test_state_is_read_as_it_was_written(tmp_path):
    """What the parent writes the health page reads; without a file, or with a broken one, nothing is said."""
    path = tmp_path / "workers.json"
    assert workers_told(None) is workers_told(path) is None
    write_state(path, {"running": 2, "waiting": 0, "early_deaths": 0})
    assert workers_told(path) == {"running": 2, "waiting": 0, "early_deaths": 0}
    path.write_text("{")
    assert workers_told(path) is None


@pytest.mark.slow
def test_a_crash_loop_is_slowed_and_told(home):
    """Of two workers one is killed at each start: after the third death its place waits, the other one answers."""
    log = home.root / "server.log"
    with served(home.root, workers=2, log=log) as server:
        steady = min(children(server.process.pid))
        for deaths in (1, 2, 3):
            until(lambda: len(children(server.process.pid)) == 2, "no successor came")
            (victim,) = children(server.process.pid) - {steady}
            os.kill(victim, signal.SIGKILL)
            until(lambda n=deaths: log.read_text().count("died (signal 9)") == n, "the death was not told")
        status, health = server.ask("GET", "/healthz")
        assert (status, health["status"]) == (200, "degraded")
        assert health["workers"] == {"running": 1, "waiting": 1, "early_deaths": 3}
        assert server.ask("GET", "/readyz")[0] == 200
        assert processes_with_gauges(home.root) == {steady}
    assert "the next one starts in 2 s, since 3 died early in a row" in log.read_text()
    assert json.loads(next((home.root / "metrics").glob("*.workers.json")).read_text())["early_deaths"] == 3


@pytest.mark.slow
def test_a_worker_that_hangs_holds_up_nobody(home):
    """While the first worker gives no sign of life the second one's death is noticed, and so is a signal to end."""
    with served(home.root, workers=2) as server:
        first, second = sorted(children(server.process.pid))
        os.kill(first, signal.SIGSTOP)
        try:
            os.kill(second, signal.SIGKILL)
            until(lambda: len(children(server.process.pid) - {second}) == 2, "the dead one was not replaced")
            assert first in children(server.process.pid), "the parent waited until it had given up the first one"
        finally:
            os.kill(first, signal.SIGCONT)
