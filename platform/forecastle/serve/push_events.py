"""Pushed feature rows: checked by the contract, durably queued, then written online where none newer stands.

Belongs here: the body of `events`, and bringing the online store up to the queue.
Does not belong here: the queue (`store/events.py`), the online store, HTTP (`application.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, Final

from forecastle.contract.clock import Clock
from forecastle.contract.errors import ConflictError, StoreError, did_you_mean
from forecastle.contract.push_view import PushView
from forecastle.contract.request import Violation, check_value, shown
from forecastle.serve.champion import Champion
from forecastle.serve.parse import entity_faults, instant_in, json_object, object_in, rows_in, top_faults, word_in
from forecastle.serve.receipt import json_text, microseconds
from forecastle.serve.refusal import Refusal, broken_contract
from forecastle.store.events import ONLINE, Event, EventQueue
from forecastle.store.online import OnlineStore, OnlineView

KEYS: Final = ("view", "rows")
ROW_KEYS: Final = ("event_id", "entity", "event_at", "known_at", "features")
REQUIRED: Final = ("entity", "event_at", "features")
BATCH_ROWS: Final = 10_000
RETRY_SECONDS: Final = 1.0
logger = logging.getLogger("forecastle.serve")


@dataclass(slots=True)
class EventPush:
    """Takes pushed rows; what is queued and not yet online is written with the next push, or by `follow`."""

    champion: Callable[[], Champion]
    queue: EventQueue
    open_online: Callable[[], OnlineStore]
    clock: Clock
    executor: Executor
    rows_limit: int
    behind: bool = True

    async def push(self, body: bytes) -> bytes:
        """What became of one push; it returns after every row is on disk.

        Raises:
            Refusal: a row breaks its contract, an id is taken, or the queue cannot be written; nothing is stored.
        """
        views = {view.name: view for view in self.champion().bundle.views}
        now_us = microseconds(self.clock())

        def work() -> bytes:
            view, events = _read(body, views, now_us=now_us, limit=self.rows_limit)
            return self._stored(view, events)

        return await asyncio.get_running_loop().run_in_executor(self.executor, work)

    async def follow(self) -> None:
        """For ever: what a fault has kept from the online store is tried again."""
        while True:
            if self.behind:
                await asyncio.get_running_loop().run_in_executor(self.executor, self.catch_up)
            await asyncio.sleep(RETRY_SECONDS)

    @property
    def pending(self) -> int:
        """Rows that are queued and not online yet."""
        return self.queue.pending(ONLINE)

    def catch_up(self) -> bool:
        """Write queued events to the online store; False, with a line in the log, when it cannot be done now."""
        try:
            self._catch_up({view.name: view for view in self.champion().bundle.views})
        except (StoreError, Refusal) as error:
            if not self.behind:
                logger.error("pushed rows are not online yet: %s", error)  # noqa: TRY400  expected: no trace
            self.behind = True
        else:
            self.behind = False
        return not self.behind

    def _stored(self, view: PushView, events: Sequence[Event]) -> bytes:
        try:
            appended = self.queue.append(events)
        except ConflictError as error:
            raise Refusal("request_id_reused", str(error)) from error
        except StoreError as error:
            raise Refusal("log_unavailable", "the event queue cannot be written; nothing was stored") from error
        online = "written" if self.catch_up() else "pending"
        told = {"view": view.name, "stored": appended.stored, "repeated": appended.repeated, "online": online}
        return json_text(told).encode()

    def _catch_up(self, views: Mapping[str, PushView]) -> None:
        # Every process begins at the acknowledged event, whoever stored it: rows written twice change nothing.
        position = self.queue.position(ONLINE)
        events = self.queue.since(position, limit=BATCH_ROWS)
        if not events:
            return
        online = self.open_online()
        try:
            while events:
                for name in dict.fromkeys(event.view for event in events):
                    if name in views:  # a view that the champion does not know is read by nobody
                        rows = [_online_row(views[name], event) for event in events if event.view == name]
                        online.write(_online_view(views[name]), rows)
                self.queue.acknowledge(ONLINE, events[-1].sequence)
                events = self.queue.since(events[-1].sequence, limit=BATCH_ROWS)
        finally:
            online.close()


def _read(body: bytes, views: Mapping[str, PushView], *, now_us: int, limit: int) -> tuple[PushView, list[Event]]:
    data = json_object(body, KEYS)
    faults = top_faults(data, KEYS)
    name = data.get("view")
    if not isinstance(name, str) or name not in views:
        rule = "missing" if "view" not in data else "unknown"
        hint = did_you_mean(str(shown(name)), views) or "the champion takes no pushed rows"
        faults.append(Violation("view", shown(name), rule, f"view {shown(name)!r} takes no rows ({hint})"))
    if faults:
        raise broken_contract(faults)
    view = views[str(name)]
    events = []
    for index, row in enumerate(rows_in(data, "rows", limit=limit)):
        event = _event(row, view, now_us=now_us)
        if isinstance(event, Event):
            events.append(event)
        else:
            faults += [replace(fault, row=index) for fault in event]
    if faults:
        raise broken_contract(faults)
    return view, events


def _event(row: Any, view: PushView, *, now_us: int) -> Event | list[Violation]:
    """One row as an event, or every fault of it."""
    if not isinstance(row, dict):
        return [Violation("rows", shown(row), "dtype", f"a row is an object with {', '.join(ROW_KEYS)}")]
    faults = top_faults(row, ROW_KEYS)
    faults += [Violation(name, None, "missing", f"{name} is missing") for name in REQUIRED if name not in row]
    entity = object_in(row, "entity", faults)
    if entity is not None:
        faults += entity_faults(entity, view.keys)
    features = object_in(row, "features", faults)
    if features is not None:
        faults += _feature_faults(features, view)
    event_at_us = instant_in(row, "event_at", faults, now_us=now_us)
    known_at_us = instant_in(row, "known_at", faults, now_us=now_us)
    event_id = word_in(row, "event_id", faults)
    if faults or entity is None or features is None or event_at_us is None:
        return faults
    values = {name: _as_declared(features[name], feature.dtype) for name, feature in view.features.items()}
    # Without a known_at of its own a row is known from now on; said again later it is the same row all the same.
    content = json.dumps([entity, event_at_us, known_at_us, values], sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Event(
        view=view.name,
        event_id=event_id or digest,
        content_sha256=digest,
        entity_json=json_text({name: entity[name] for name in view.keys}),
        event_at_us=event_at_us,
        known_at_us=now_us if known_at_us is None else known_at_us,
        features_json=json_text(values),
        received_at_us=now_us,
    )


def _as_declared(value: Any, dtype: str) -> Any:
    return float(value) if dtype == "float64" and value is not None else value


def _feature_faults(features: Mapping[str, Any], view: PushView) -> list[Violation]:
    faults = []
    for name, value in features.items():
        contract = view.features.get(name)
        if contract is None:
            hint = did_you_mean(name, view.features) if len(name) <= 80 else ""
            faults.append(
                Violation(shown(name), shown(value), "unknown", f"{view.name} has no feature {shown(name)!r} ({hint})")
            )
        elif fault := check_value(name, value, contract):
            faults.append(fault)
    missing = [name for name in view.features if name not in features]
    return faults + [Violation(name, None, "missing", f"{name} is missing; null is said as null") for name in missing]


def _online_view(view: PushView) -> OnlineView:
    return OnlineView(view.name, dict(view.keys), {name: feature.dtype for name, feature in view.features.items()})


def _online_row(view: PushView, event: Event) -> tuple[Any, ...]:
    entity, features = json.loads(event.entity_json), json.loads(event.features_json)
    keys = (entity[name] for name in view.keys)
    return (*keys, event.event_at_us, event.known_at_us, *(features.get(name) for name in view.features))
