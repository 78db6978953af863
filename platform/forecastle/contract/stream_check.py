"""Views that follow a stream: whose rows an event can change, found in the SQL's own lineage.

Belongs here: which column of a source holds an entity's key, and what a view must be for events to renew it alone.
Does not belong here: where a stream comes from (`source_check.py`), running anything (`store/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from forecastle.contract.errors import did_you_mean
from forecastle.contract.sql import ParsedSql, column_lineage
from forecastle.contract.system import FeatureView, System

StreamFault = tuple[str, str]
"""What is wrong, hint."""


def key_columns(lineage: Mapping[str, Sequence[tuple[str, str]]], keys: Sequence[str]) -> dict[str, dict[str, str]]:
    """Source → entity key → the source's column that holds it, for sources in which one column tells every key.

    A row of such a source can change no other entity's rows than its own.
    """
    told: dict[str, dict[str, set[str]]] = {}
    for key in keys:
        for source, column in lineage[key]:
            told.setdefault(source, {}).setdefault(key, set()).add(column)
    return {
        source: {key: next(iter(columns[key])) for key in keys}
        for source, columns in told.items()
        if len(columns) == len(keys) and all(len(names) == 1 for names in columns.values())
    }


def stream_faults(system: System, view: FeatureView, parsed: ParsedSql | None) -> Iterator[StreamFault]:
    """Why the events of the stream that a view names cannot renew its rows."""
    if view.stream is None:
        return
    streams = [name for name, source in system.sources.items() if source.kind == "stream"]
    if view.stream not in streams:
        hint = did_you_mean(view.stream, streams) or "declare a source of kind stream"
        yield f"stream names {view.stream!r}, which is no stream", hint
        return
    if not view.online:
        yield "stream stands beside online: false", "events renew online rows: leave one of them out"
    if parsed is None or view.entity not in system.entity:
        return
    if view.stream not in parsed.tables:
        yield f"stream names {view.stream!r}, which the SQL does not read", f"it reads {', '.join(parsed.tables)}"
        return
    keys = system.entity[view.entity].keys
    if not set(keys) <= set(parsed.outputs):
        return
    schema = {name: [*source.columns, "event_at", "known_at"] for name, source in system.sources.items()}
    found = key_columns(column_lineage(parsed, schema=schema), tuple(keys)).get(view.stream)
    if found is None:
        text = f"{', '.join(keys)} cannot be told from one event of {view.stream!r}"
        yield text, f"give each key from one column of {view.stream}"
        return
    columns = system.sources[view.stream].columns
    for key, column in found.items():
        declared = columns.get(column)
        if declared is not None and declared.dtype != keys[key]:
            text = f"key {key!r} is {keys[key]}, its column {column!r} of {view.stream!r} {declared.dtype}"
            yield text, "declare one dtype"
