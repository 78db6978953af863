"""The parent of several workers: one that dies is replaced, one that dies again and again ever more slowly.

Belongs here: when a worker is started again, what is said about it, the file that tells the workers' health page.
Does not belong here: where the service listens and its limits (`runner.py`), requests.
https://uvicorn.dev/deployment/#built-in (the supervisor that this one extends)
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Final

from prometheus_client.multiprocess import mark_process_dead
from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from forecastle.serve.workers_state import write_state

STEADY_SECONDS: Final = 10.0
FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 60.0
logger = logging.getLogger("forecastle.serve")


@dataclass(slots=True)
class _Place:
    """One worker's place: its process, since when, and how often in a row it died before it was steady.

    `called_at` is when it was asked for a sign of life that it has not given yet.
    """

    process: Process
    started_at: float
    early_deaths: int = 0
    start_again_at: float | None = None
    called_at: float | None = None


class Workers(Multiprocess):
    """Uvicorn's supervisor, except that a crash loop does not spin.

    A worker that dies within `STEADY_SECONDS` of its start waits 1, 2, 4 … up to `LONGEST_WAIT_SECONDS` before the
    next one takes its place; the others answer meanwhile. A worker that could not start at all still ends the service.
    Nobody waits for a worker's sign of life: one that hangs or dies before it gives one would hold up all signals.
    On SIGHUP each worker's successor starts on the same socket, and once it is ready the old one stops accepting,
    answers what it has, and ends.
    """

    def __init__(
        self,
        config: Config,
        sockets: list[socket],
        *,
        state: Path,
        metrics: Path,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """`state` is the file that the health page reads, `metrics` the workers' folder; `timer` counts seconds."""
        super().__init__(config, sockets)
        self._state, self._metrics, self._timer = state, metrics, timer
        self._places: dict[int, _Place] = {}

    def keep_subprocess_alive(self) -> None:
        """Look at each worker once: the supervisor's loop calls this twice a second."""
        for index, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            self._look(index, process)

    def _look(self, index: int, process: Process) -> None:
        place = self._places.get(index)
        if place is None or place.process is not process:  # new here: at the start, or by a restart of the code
            if place is not None:
                self._forget(place.process)
            place = self._places[index] = _Place(process, self._timer())
            self._tell()
        if place.start_again_at is not None:
            if self._timer() >= place.start_again_at:
                self._start(index, place)
        elif not self._is_alive(place):
            self._buried(index, place)
        elif place.early_deaths and self._timer() - place.started_at >= STEADY_SECONDS:
            place.early_deaths = 0
            self._tell()

    def _is_alive(self, place: _Place) -> bool:
        """Whether a worker lives, and gave its sign of life in time or may still do so."""
        if not place.process.process.is_alive():
            return False
        pipe = place.process.parent_conn
        try:
            while pipe.poll():
                pipe.recv()
                place.called_at = None
            if place.called_at is None:
                pipe.send(b"ping")
                place.called_at = self._timer()
        except (OSError, EOFError):
            return False
        return self._timer() - place.called_at < self.config.timeout_worker_healthcheck

    def _buried(self, index: int, place: _Place) -> None:
        """A worker has died or hangs: its successor starts at once, or after a wait when this one did not last."""
        place.process.kill()
        place.process.join()
        self._forget(place.process)
        exit_status = place.process.exitcode
        if exit_status == STARTUP_FAILURE:
            logger.error("worker %s could not start; the service ends", place.process.pid)
            self.should_exit.set()
            return
        lasted_seconds = self._timer() - place.started_at
        place.early_deaths = place.early_deaths + 1 if lasted_seconds < STEADY_SECONDS else 0
        wait_seconds = wait_before_start(place.early_deaths)
        logger.error(
            "worker %s died (%s) after %.1f s; the next one starts %s",
            place.process.pid, how_ended(exit_status), lasted_seconds,
            f"in {wait_seconds:g} s, since {place.early_deaths} died early in a row" if wait_seconds else "now",
        )  # fmt: skip
        place.start_again_at = self._timer() + wait_seconds
        self._tell()
        if not wait_seconds:
            self._start(index, place)

    def _start(self, index: int, place: _Place) -> None:
        place.process = self.processes[index] = Process(self.config, self.sockets)
        place.process.start()
        place.started_at, place.start_again_at, place.called_at = self._timer(), None, None
        self._tell()

    def _forget(self, process: Process) -> None:
        """What a process that ended said of its present (its champion, what waits in it) is true no longer."""
        if process.pid is not None:
            mark_process_dead(process.pid, str(self._metrics))

    def _tell(self) -> None:
        """Write what the health page says of the workers, whole or not at all."""
        places = self._places.values()
        told = {
            "running": sum(place.start_again_at is None for place in places),
            "waiting": sum(place.start_again_at is not None for place in places),
            "early_deaths": max((place.early_deaths for place in places), default=0),
        }
        try:
            write_state(self._state, told)
        except OSError as error:  # a full disk must not stop the one that replaces workers
            logger.warning("%s cannot be written: %s", self._state, error)


def wait_before_start(early_deaths: int) -> float:
    """Seconds before the next start: none after one early death, then 1, 2, 4 … up to the longest."""
    if early_deaths <= 1:
        return 0.0
    return min(FIRST_WAIT_SECONDS * 2.0 ** min(early_deaths - 2, 30), LONGEST_WAIT_SECONDS)


def how_ended(exit_status: int | None) -> str:
    """A process's end in words."""
    if exit_status is None:
        return "it hung"
    return f"signal {-exit_status}" if exit_status < 0 else f"status {exit_status}"
