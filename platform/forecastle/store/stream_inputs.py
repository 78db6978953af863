"""Where a stream's messages come from: what every input does, and the embedded one, a queue that HTTP fills.

Belongs here: taking messages from an offset on, how many wait, queueing pushed events.
Does not belong here: Kafka (`stream_kafka.py`), what messages say (`stream_events.py`), which offsets were taken
(`stream_log.py`): an input is told where to go on, and goes back when told so. Standard library only: it is served.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from forecastle.contract.errors import StoreError
from forecastle.store.events import Event, EventQueue

Taken = tuple[int, int, bytes]
"""Partition, offset, body."""

LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Waiting:
    """Messages not taken yet, and when the first of them came (microseconds since 1970), where that is told."""

    messages: int
    since_us: int | None = None


class StreamInput(Protocol):
    """What the worker needs of a stream."""

    def take(self, following: Mapping[int, int], *, limit: int, timeout_seconds: float) -> list[Taken]:
        """Up to `limit` messages from each partition's offset on (its beginning where none is given), in order."""

    def waiting(self, following: Mapping[int, int]) -> Waiting:
        """What waits after those offsets, as far as is known."""

    def close(self) -> None:
        """Let go of connections."""


def push_events(queue: EventQueue, source: str, bodies: Sequence[bytes], *, ids: Sequence[str], now_us: int) -> int:
    """Queue raw events of a stream that has no topic, each id once; how many were new. On disk when this returns.

    Raises:
        ConflictError: an id was pushed with another body; nothing is queued.
        StoreError: the queue cannot be written, or a body is no UTF-8 text.
    """
    try:
        texts = [body.decode() for body in bodies]
    except UnicodeDecodeError as error:
        raise StoreError(f"an event of {source} is no UTF-8 text: {error}; send JSON") from error
    events = [
        Event(source, event_id, hashlib.sha256(body).hexdigest(), "{}", now_us, now_us, text, now_us)
        for event_id, body, text in zip(ids, bodies, texts, strict=True)
    ]
    return queue.append(events).stored


class PushInput:
    """Events pushed to one source, from the queue that serving fills: one partition, numbered by the queue."""

    def __init__(self, queue: EventQueue, source: str, *, wait: Callable[[float], None] = time.sleep) -> None:
        self._queue, self._source, self._wait = queue, source, wait
        queue.acknowledge(self._source, 0)

    def take(self, following: Mapping[int, int], *, limit: int, timeout_seconds: float) -> list[Taken]:
        """Up to `limit` events; an empty list when none came in time. Offsets already passed are acknowledged."""
        after = following.get(0, 1) - 1
        if after:
            self._queue.acknowledge(self._source, after)
        waited = 0.0
        while not (events := self._queue.since(after, view=self._source, limit=limit)) and waited < timeout_seconds:
            self._wait(LOOK_SECONDS)
            waited += LOOK_SECONDS
        return [(0, event.sequence, event.features_json.encode()) for event in events]

    def waiting(self, following: Mapping[int, int]) -> Waiting:
        """How many events wait, and since when."""
        after = following.get(0, 1) - 1
        first = self._queue.since(after, view=self._source, limit=1)
        if not first:
            return Waiting(0)
        return Waiting(self._queue.count(after, view=self._source), first[0].received_at_us)

    def close(self) -> None:
        """The queue is whoever opened it's to close."""


def pushed_sources(queue: EventQueue) -> tuple[str, ...]:
    """Sources whose pushed events a worker takes, or has taken."""
    return queue.consumers()
