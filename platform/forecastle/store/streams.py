"""The stream worker: events in, each once; features of the entities they touch out, online within a second.

Belongs here: one step of the worker and its loop, what survives a kill, when the online store is waited for.
Does not belong here: inputs, the log, SQL (`stream_*.py`), the terminal (`cli/`).

    take from a stream  →  rows, dead letters and offsets in one transaction  →  in memory  →  features  →  online
The log is the only state. Whatever a kill leaves undone after the transaction is done again from the log at the start;
online writes may be repeated. Memory is bounded: a step takes `BATCH_EVENTS`, and waits for the log.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from forecastle.contract.clock import Clock
from forecastle.contract.errors import ConflictError, StoreError
from forecastle.contract.load import LoadedSystem
from forecastle.store.crash import CrashHook, no_crash
from forecastle.store.events import EventQueue
from forecastle.store.home import Home
from forecastle.store.online import OnlineStore
from forecastle.store.stream_events import EventReader, Message, to_us
from forecastle.store.stream_features import Renewed, StreamState
from forecastle.store.stream_inputs import PushInput, StreamInput, Taken, Waiting
from forecastle.store.stream_kafka import KafkaInput
from forecastle.store.stream_log import StreamLog
from forecastle.store.warehouse import Warehouse

BATCH_EVENTS: Final = 5_000
TAKE_SECONDS: Final = 0.05
REFRESH_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 1.0

logger = logging.getLogger("forecastle.stream")


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did: events stored, dead letters, what became of the entities touched; `online` is False while the
    online store refuses.
    """

    stored: int
    dead_letters: int
    renewed: Renewed
    online: bool


@dataclass(frozen=True, slots=True)
class Lag:
    """How far one stream is behind: messages not taken, rows not online, and how long the first of either waits.

    A topic does not tell how long its messages wait before they are taken; that of rows taken counts there.
    """

    source: str
    waiting: int
    unapplied: int
    seconds: float


class StreamWorker:
    """The one worker of a system; a second one is refused."""

    def __init__(
        self,
        system: LoadedSystem,
        *,
        warehouse: Warehouse,
        online: OnlineStore,
        log: StreamLog,
        inputs: Mapping[str, StreamInput],
        clock: Clock,
        lock: Path,
        crash_at: CrashHook = no_crash,
        batch_events: int = BATCH_EVENTS,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the lock and load what was taken before; `inputs` has one stream for each source of that kind.

        Raises:
            ConflictError: another worker of the system is at work.
            StoreError: see `StreamState`.
        """
        self._lock = _locked(lock)
        self._system, self._warehouse, self._online, self._log = system, warehouse, online, log
        self._inputs, self._clock, self._crash_at, self._batch = dict(inputs), clock, crash_at, batch_events
        self._readers = {name: EventReader(system.declaration.sources[name]) for name in inputs}
        self._taken = {name: log.counts(name).last_sequence for name in inputs}
        self._timer, self._refresh_at, self._retry_at = timer, timer() + REFRESH_SECONDS, timer()
        try:
            self._state = StreamState(system, warehouse=warehouse, log=log, now=clock())
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        """Ready to step."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close inputs, memory and the lock; the stores belong to whoever opened them."""
        for each in self._inputs.values():
            with suppress(Exception):
                each.close()
        self._state.close()
        os.close(self._lock)

    def step(self, *, timeout_seconds: float = TAKE_SECONDS) -> Step:
        """Take what waits in every stream, store it, and renew the features it touches.

        Raises:
            StoreError: a stream or the log cannot be used; nothing is lost, and the next step goes on from the log.
        """
        stored = dead = 0
        for source in self._inputs:
            more, refused = self._take(source, timeout_seconds / len(self._inputs))
            stored, dead = stored + more, dead + refused
        renewed, online = self._renew()
        return Step(stored, dead, renewed, online)

    def run(self, stop: threading.Event, *, on_step: Callable[[Step], None]) -> None:
        """Step until told to stop; a stream or store that is away is waited for."""
        while not stop.is_set():
            try:
                on_step(self.step())
            except StoreError as error:
                logger.error("stream worker waits: %s", error)  # noqa: TRY400  expected: no trace
                stop.wait(RETRY_SECONDS)

    def lag(self) -> tuple[Lag, ...]:
        """How far each stream is behind."""
        return tuple(
            stream_lag(self._log, source, waiting=each.waiting(self._log.offsets(source)), clock=self._clock)
            for source, each in self._inputs.items()
        )

    def _take(self, source: str, timeout_seconds: float) -> tuple[int, int]:
        """One batch of one stream: into the log with its offsets, then into memory."""
        following = self._log.offsets(source)
        taken = self._inputs[source].take(following, limit=self._batch, timeout_seconds=timeout_seconds)
        stored = dead = 0
        if taken:
            stored, dead = self._store(source, taken)
        for batch in self._log.rows(source, after=self._taken[source]):
            self._state.add(source, batch)
            self._taken[source] = batch[-1].sequence
        return stored, dead

    def _store(self, source: str, taken: Sequence[Taken]) -> tuple[int, int]:
        """Rows, dead letters and offsets of one batch in one transaction."""
        self._crash_at("stream.after_take")
        now_us = to_us(self._clock())
        rows, dead = self._readers[source].read(Message(p, offset, body, now_us) for p, offset, body in taken)
        for letter in dead:
            logger.warning("%s/%s offset %s: %s", source, letter.partition, letter.offset, letter.text)
        self._crash_at("stream.before_commit")
        ends: dict[int, int] = {}
        for partition, offset, _ in taken:
            ends[partition] = max(offset + 1, ends.get(partition, 0))
        stored = self._log.append(source, rows, dead, following=ends)
        self._crash_at("stream.after_commit")
        return stored, len(dead)

    def _renew(self) -> tuple[Renewed, bool]:
        now, at = self._clock(), self._timer()
        if at < self._retry_at:
            return Renewed(), False
        try:
            if at >= self._refresh_at:
                self._state.refresh(now=now)
                self._refresh_at = at + REFRESH_SECONDS
            renewed = self._state.renew(self._online, now=now, crash_at=self._crash_at)
        except StoreError as error:
            logger.error("features wait: %s", error)  # noqa: TRY400  expected: no trace
            self._retry_at = at + RETRY_SECONDS
            return Renewed(), False
        for source, sequence in self._taken.items():
            if self._log.counts(source).applied_sequence < sequence:
                self._log.applied(source, sequence)
        if renewed.broken:
            logger.warning("%s rows break their view's contract and are not online", renewed.broken)
        return renewed, True


def stream_lag(log: StreamLog, source: str, *, waiting: Waiting, clock: Clock) -> Lag:
    """How far what is online is behind the stream; messages `waiting` are not in the log yet."""
    counts = log.counts(source)
    arrived_at_us = log.arrival(source, after=counts.applied_sequence)
    first_us = min((at for at in (arrived_at_us, waiting.since_us) if at is not None), default=None)
    seconds = 0.0 if first_us is None else max(0.0, (to_us(clock()) - first_us) / 1e6)
    return Lag(source, waiting.messages, counts.last_sequence - counts.applied_sequence, seconds)


def open_inputs(system: LoadedSystem, *, queue: EventQueue, environment: Mapping[str, str]) -> dict[str, StreamInput]:
    """The input of every stream that a system declares: its topic, or events pushed to the source.

    Raises:
        StoreError: the system declares no stream, or a variable of the environment is not set.
    """
    inputs: dict[str, StreamInput] = {}
    for name, source in system.declaration.sources.items():
        if source.kind == "stream":
            kafka = source.kafka
            inputs[name] = (
                PushInput(queue, name)
                if kafka is None
                else KafkaInput(kafka, system=system.name, environment=environment)
            )
    if not inputs:
        raise StoreError(f"{system.name} declares no stream; a source with kind: stream makes one")
    return inputs


def lock_path(home: Home, system: str) -> Path:
    """The file that a system's one worker holds locked."""
    return home.streams(system).with_suffix(".lock")


def _locked(path: Path) -> int:
    """A handle that holds the file's lock until it is closed or the process ends."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise ConflictError(f"another stream worker holds {path}; a system has one; stop it first") from error
    return handle
