"""Raw events of a stream, pushed: durably queued for the stream worker, which checks them by the source's contract.

Belongs here: the body of `stream`.
Does not belong here: feature rows of a view (`push_events.py`), the worker (`store/streams.py`), HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from forecastle.contract.clock import Clock
from forecastle.contract.errors import ConflictError, StoreError, did_you_mean
from forecastle.contract.request import Violation, shown
from forecastle.serve.parse import json_object, object_in, rows_in, top_faults, word_in
from forecastle.serve.receipt import json_text, microseconds
from forecastle.serve.refusal import Refusal, broken_contract
from forecastle.store.events import EventQueue
from forecastle.store.stream_inputs import push_events, pushed_sources

KEYS: Final = ("source", "events")
EVENT_KEYS: Final = ("event_id", "event")


@dataclass(slots=True)
class StreamPush:
    """Takes raw events for sources whose stream worker has made the queue at `path`."""

    path: Path
    clock: Clock
    executor: Executor
    rows_limit: int
    queue_limit_bytes: int
    _queue: EventQueue | None = None

    async def push(self, body: bytes) -> bytes:
        """How many events are on disk now; it returns after all of them are.

        Raises:
            Refusal: no worker takes the source's events, an event is no object, an id is taken, or the queue cannot be
                written; nothing is stored.
        """
        return await asyncio.get_running_loop().run_in_executor(self.executor, self._push, body)

    def close(self) -> None:
        """Close the queue."""
        if self._queue is not None:
            self._queue.close()

    def _open(self) -> EventQueue | None:
        """The queue; None as long as no worker has ever taken pushed events."""
        if self._queue is None and self.path.exists():
            self._queue = EventQueue(self.path, disk_limit_bytes=self.queue_limit_bytes)
        return self._queue

    def _push(self, body: bytes) -> bytes:
        data = json_object(body, KEYS)
        faults = top_faults(data, KEYS)
        source = data.get("source")
        queue = self._open()
        sources = pushed_sources(queue) if queue is not None else ()
        if not isinstance(source, str) or source not in sources:
            rule = "missing" if "source" not in data else "unknown"
            hint = did_you_mean(str(shown(source)), sources) or "no stream worker of this system takes pushed events"
            faults.append(
                Violation("source", shown(source), rule, f"source {shown(source)!r} takes no events ({hint})")
            )
        if faults or queue is None:
            raise broken_contract(faults)
        ids, bodies = [], []
        for index, item in enumerate(rows_in(data, "events", limit=self.rows_limit)):
            event_id, text = _event(item, index)
            ids.append(event_id)
            bodies.append(text)
        stored = self._queued(queue, str(source), ids, bodies)
        return json_text({"source": source, "stored": stored, "repeated": len(ids) - stored}).encode()

    def _queued(self, queue: EventQueue, source: str, ids: list[str], bodies: list[bytes]) -> int:
        try:
            return push_events(queue, source, bodies, ids=ids, now_us=microseconds(self.clock()))
        except ConflictError as error:
            raise Refusal("request_id_reused", str(error)) from error
        except StoreError as error:
            raise Refusal("log_unavailable", "the event queue cannot be written; nothing was stored") from error


def _event(item: Any, index: int) -> tuple[str, bytes]:
    """The id of one event, its digest where it has none, and its text."""
    if not isinstance(item, dict):
        text = f"an event is an object with {', '.join(EVENT_KEYS)}"
        raise broken_contract([Violation("events", shown(item), "dtype", text, index)])
    faults = top_faults(item, EVENT_KEYS)
    event = object_in(item, "event", faults)
    event_id = word_in(item, "event_id", faults)
    if "event" not in item:
        faults.append(Violation("event", None, "missing", "event is missing"))
    if faults or event is None:
        raise broken_contract([Violation(f.feature, f.value, f.rule, f.text, index) for f in faults])
    text_of = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    return event_id or hashlib.sha256(text_of).hexdigest(), text_of
