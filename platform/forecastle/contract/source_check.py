"""Where a source's rows come from: what each kind needs, must not have, and may name.

Belongs here: faults of one source by itself that no field shows alone, each with its field and a hint.
Does not belong here: columns and other sources (`check.py`), opening anything (`store/`).
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from forecastle.contract.errors import did_you_mean
from forecastle.contract.system import ARRIVED_AT, KnownFrom, Source

OriginFault = tuple[str, str, str]
"""Field, what is wrong, hint."""

_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}?")
_OF_SQL: Final = ("url", "table", "query")
_OF_STREAM: Final = ("kafka", "history")


def origin_faults(source: Source) -> Iterator[OriginFault]:
    """What contradicts itself in where a source is read from and in which zone."""
    for name in _VARIABLE.findall(source.path):
        if name != "DATA":
            yield "path", f"path names ${{{name}}}", "only ${DATA} is known"
    if not _is_zone(source.time_zone):
        hint = did_you_mean(source.time_zone, zoneinfo.available_timezones())
        yield "time_zone", f"time_zone is {source.time_zone!r}", hint
    if source.kind != "stream":
        for field in _OF_STREAM:
            if getattr(source, field) is not None:
                yield field, f"{field} stands beside kind {source.kind}", "say kind: stream, or leave it out"
    if source.kind == "sql":
        yield from _database_faults(source)
        return
    if source.kind == "stream":
        yield from _stream_faults(source)
    if source.kind in {"csv", "parquet"} and not source.path:
        yield "kind", f"kind {source.kind} has no path", "name a file or a glob below ${DATA}/"
    for field in _OF_SQL:
        if getattr(source, field) is not None:
            yield field, f"{field} stands beside kind {source.kind}", "say kind: sql, or leave it out"


def _database_faults(source: Source) -> Iterator[OriginFault]:
    if bool(source.path) == (source.url is not None):
        yield "kind", "kind sql needs one of url and path", "write url: {env: NAME}, or path to a SQLite file"
    if (source.table is None) == (source.query is None):
        yield "kind", "kind sql needs one of table and query", "name a table, or write one SELECT"
    if source.query is not None and not _is_select(source.query):
        yield "query", "query is not one SELECT", "a source only reads: write a single SELECT"


def _stream_faults(source: Source) -> Iterator[OriginFault]:
    if source.path:
        yield "path", "path stands beside kind stream", "name a topic with kafka, or post events to /events"
    if isinstance(source.known_at, KnownFrom):
        yield "known_at", "a stream takes known_at from another source", f"name a column, such as {ARRIVED_AT}"
    arrived = source.columns.get(ARRIVED_AT)
    if arrived is not None and (arrived.dtype != "timestamp" or arrived.nullable):
        text = f"column {ARRIVED_AT!r} is {arrived.dtype}{' and nullable' if arrived.nullable else ''}"
        yield "columns", text, f"the platform fills {ARRIVED_AT}: a timestamp, never null"


def _is_select(text: str) -> bool:
    try:
        statements = sqlglot.parse(text, read="postgres")
    except SqlglotError:
        return False
    return len(statements) == 1 and isinstance(statements[0], exp.Query)


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
