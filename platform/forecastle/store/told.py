"""What callers told the service, as tables: outcomes, and feature rows that were pushed.

Belongs here: reading those logs whole and giving their columns types, for assets that ingest them.
Does not belong here: writing the logs (`outcome_log.py`, `events.py`); serving never imports this.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import pandas as pd

from forecastle.contract.push_view import PushView
from forecastle.store.events import Event, EventQueue
from forecastle.store.outcome_log import OutcomeLog, ToldOutcome

_PANDAS: Final = {"float64": "float64", "int64": "Int64", "bool": "boolean", "string": "str"}
_OUTCOME_TYPES: Final = {
    "sequence": "int64",
    "request_id": "str",
    "prediction_id": "str",
    "entity_json": "str",
    "outcome": "int64",
}

_T = TypeVar("_T", Event, ToldOutcome)


def told_outcomes(path: Path) -> pd.DataFrame:
    """Every outcome told, corrections included, as they came in; no rows when there is no log.

    Columns: sequence, request_id, prediction_id (null where an entity was named), entity_json, outcome (0 or 1),
    known_at and received_at (UTC).
    """
    rows: list[ToldOutcome] = []
    if path.is_file():
        log = OutcomeLog(path)
        try:
            rows = _all(log.since)
        finally:
            log.close()
    columns = {name: [getattr(row, name) for row in rows] for name in _OUTCOME_TYPES}
    frame = pd.DataFrame(columns).astype(_OUTCOME_TYPES)
    known_at, received_at = (row.known_at_us for row in rows), (row.received_at_us for row in rows)
    return frame.assign(known_at=_instants(known_at), received_at=_instants(received_at))


def told_until(path: Path) -> int:
    """The sequence of the newest outcome told; 0 when there is no log.

    The file says nothing of it: while a service writes, what is new lies in SQLite's log beside it.
    """
    if not path.is_file():
        return 0
    log = OutcomeLog(path)
    try:
        return log.newest()
    finally:
        log.close()


def pushed_rows(path: Path, view: PushView) -> pd.DataFrame:
    """Every row pushed into one view, in the order of the queue; no rows when there is no queue.

    Columns: the view's keys, event_at, known_at (UTC), its features, then sequence, event_id and received_at. What
    the view's features did not hold yet when a row was pushed is null.
    """
    events: list[Event] = []
    if path.is_file():
        queue = EventQueue(path)
        try:
            events = _all(lambda sequence: queue.since(sequence, view=view.name))
        finally:
            queue.close()
    entities = [json.loads(event.entity_json) for event in events]
    values = [json.loads(event.features_json) for event in events]
    frame = pd.DataFrame({name: _column([e.get(name) for e in entities], dtype) for name, dtype in view.keys.items()})
    frame = frame.assign(
        event_at=_instants(e.event_at_us for e in events), known_at=_instants(e.known_at_us for e in events)
    )
    features = {name: _column([v.get(name) for v in values], f.dtype) for name, f in view.features.items()}
    return frame.assign(
        **features,
        sequence=pd.Series([event.sequence for event in events], dtype="int64"),
        event_id=pd.Series([event.event_id for event in events], dtype="str"),
        received_at=_instants(event.received_at_us for event in events),
    )


def _all(since: Callable[[int], Sequence[_T]]) -> list[_T]:
    rows: list[_T] = []
    while batch := since(rows[-1].sequence if rows else 0):
        rows.extend(batch)
    return rows


def _column(values: Sequence[Any], dtype: str) -> pd.Series:
    return pd.Series(list(values), dtype=_PANDAS[dtype])


def _instants(microseconds: Any) -> pd.Series:
    values = pd.Series(list(microseconds), dtype="int64")
    return pd.to_datetime(values, unit="us", utc=True).astype("datetime64[us, UTC]")
