"""`forecastle stream`: the stream worker in a terminal, its metrics, and an orderly end.

Belongs here: opening what the worker stands on, printing what it does, Prometheus gauges of its lag.
Does not belong here: the worker (`store/streams.py`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server
from rich.console import Console

from forecastle.cli.surroundings import Surroundings
from forecastle.contract.errors import ForecastleError
from forecastle.store.durable_file import DISK_LIMIT_BYTES, QUEUE_LIMIT, disk_limit
from forecastle.store.events import EventQueue
from forecastle.store.stream_log import StreamLog
from forecastle.store.streams import Lag, Step, StreamWorker, lock_path, open_inputs

TOLD_SECONDS: Final = 10.0
"""How often lag is measured and, when anything happened, a line is printed."""


def stream(
    system: str, around: Surroundings, *, console: Console, metrics_port: int | None, stop: threading.Event
) -> None:
    """Work until `stop` is set; a line every ten seconds in which events came.

    Raises:
        ForecastleError: the system declares no stream, another worker is at work, a source has no table yet, or the
            disk limit is none.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    loaded = around.system(system)
    with ExitStack() as opened:
        limit = disk_limit(around.environment.get(QUEUE_LIMIT, ""), variable=QUEUE_LIMIT, default=DISK_LIMIT_BYTES)
        queue = opened.enter_context(closing(EventQueue(around.home.pushed(system), disk_limit_bytes=limit)))
        log = opened.enter_context(closing(StreamLog(around.home.streams(system), disk_limit_bytes=limit)))
        online = opened.enter_context(closing(around.online(system)))
        worker = opened.enter_context(
            StreamWorker(
                loaded,
                warehouse=around.warehouse(),
                online=online,
                log=log,
                inputs=open_inputs(loaded, queue=queue, environment=around.environment),
                clock=around.clock,
                lock=lock_path(around.home, system),
            )
        )
        registry = CollectorRegistry()
        told = _Told(worker.lag, console=console, registry=registry)
        if metrics_port is not None:
            told.port = _serve(registry, metrics_port, opened)
        # Before the first step, which renews every entity and may be long: no lag is not what a scrape should see.
        console.print(_began(loaded.name, [lag.source for lag in told.measure()], told.port), highlight=False)
        worker.run(stop, on_step=told)


class _Told:
    """Hears of every step: counts it, and says now and then how things stand."""

    def __init__(self, lag: Callable[[], tuple[Lag, ...]], *, console: Console, registry: CollectorRegistry) -> None:
        self.port: int | None = None
        self._lag, self._console = lag, console
        self._next, self._stored, self._dead, self._entities = time.monotonic(), 0, 0, 0
        self._events = Counter("forecastle_stream_events", "Events stored.", registry=registry)
        self._letters = Counter(
            "forecastle_stream_dead_letters", "Events that break their contract.", registry=registry
        )
        self._renewed = Counter(
            "forecastle_stream_entities", "Entities whose features were computed.", registry=registry
        )
        self._broken = Counter("forecastle_stream_broken_rows", "Feature rows left out.", registry=registry)
        self._online = Gauge("forecastle_stream_online", "1 while the online store takes rows.", registry=registry)
        names = ("source",)
        self._waiting = Gauge("forecastle_stream_waiting_events", "Events not taken yet.", names, registry=registry)
        self._unapplied = Gauge("forecastle_stream_unapplied_rows", "Rows not online yet.", names, registry=registry)
        self._seconds = Gauge("forecastle_stream_lag_seconds", "Since the first came.", names, registry=registry)

    def __call__(self, step: Step) -> None:
        """Take one step into account."""
        self._events.inc(step.stored)
        self._letters.inc(step.dead_letters)
        self._renewed.inc(step.renewed.entities)
        self._broken.inc(step.renewed.broken)
        self._online.set(float(step.online))
        self._stored += step.stored
        self._dead += step.dead_letters
        self._entities += step.renewed.entities
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + TOLD_SECONDS
            self._tell(online=step.online)

    def measure(self) -> tuple[Lag, ...]:
        """How far each stream is behind, for whoever scrapes it."""
        lags = self._lag()
        for lag in lags:
            self._waiting.labels(lag.source).set(lag.waiting)
            self._unapplied.labels(lag.source).set(lag.unapplied)
            self._seconds.labels(lag.source).set(lag.seconds)
        return lags

    def _tell(self, *, online: bool) -> None:
        lags = self.measure()
        if self._stored or self._dead or self._entities or not online:
            behind = ", ".join(f"{lag.source} {lag.waiting + lag.unapplied} behind" for lag in lags)
            self._console.print(
                f"{self._stored} events, {self._dead} dead letters, {self._entities} entities renewed; {behind}"
                + ("" if online else "; the online store does not take rows"),
                highlight=False,
            )
            self._stored = self._dead = self._entities = 0


def _serve(registry: CollectorRegistry, port: int, opened: ExitStack) -> int:
    """Serve metrics until `opened` is closed; the port."""
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise ForecastleError(
            f"port {port} of 127.0.0.1 cannot serve metrics: {error.strerror}; name another"
        ) from error
    opened.callback(thread.join)
    opened.callback(server.server_close)
    opened.callback(server.shutdown)
    return int(server.server_port)


def _began(system: str, sources: list[str], port: int | None) -> str:
    metrics = f"; metrics at http://127.0.0.1:{port}/metrics" if port is not None else ""
    return f"{system} takes events of {', '.join(sources)}{metrics}. Ctrl-C stops."
