"""Sources: where rows come from, which columns are their clocks, and what another source must tell.

Belongs here: faults of a source that no field shows alone, each with its place below the source and a hint.
Does not belong here: contracts of columns (`faults.py`), lines (`check.py`), opening anything (`store/`).
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from forecastle.contract.document import Place
from forecastle.contract.errors import did_you_mean
from forecastle.contract.source import ARRIVED_AT, Closes, KnownAhead, KnownFrom, Source

PlacedFault = tuple[Place, str, str]
"""Place, what is wrong, hint."""

TIME_COLUMNS: Final = ("event_at", "known_at")
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}?")
# An id is the same whether it is stored as a number or as text.
_IDS: Final = frozenset({"int64", "string"})
_OF_SQL: Final = ("url", "table", "query")
_OF_STREAM: Final = ("kafka", "history")


def source_faults(name: str, sources: Mapping[str, Source]) -> Iterator[PlacedFault]:
    """What is wrong with one source, beside the contracts of its columns; places begin below it."""
    source = sources[name]
    for word in TIME_COLUMNS:
        column = source.time_columns().get(word)
        yield from _time_faults((word,), source, column)
        if word in source.columns and column != word:
            text = f"column {word!r} would be hidden by the source's own {word}"
            yield (word,), text, f"say {word}: {word} or rename the column"
    yield from _time_faults(("ingested_at",), source, source.ingested_at)
    yield from origin_faults(source)
    if isinstance(source.known_at, KnownAhead):
        yield from _time_faults(("known_at", "before"), source, source.known_at.before)
        if source.event_at != "known_at":
            text = f"event_at is {source.event_at!r} where known_at has a lead"
            yield ("event_at",), text, "the row is the announcement: say event_at: known_at"
    if isinstance(source.known_at, KnownFrom):
        yield from _known_from_faults(name, source.known_at, sources)
    if source.closes is not None:
        yield from _closes_faults(name, source.closes, sources)


def name_faults(place: Place, names: Sequence[str], allowed: Iterable[str], what: str) -> Iterator[PlacedFault]:
    """Names in a list (or alone) that must exist, each once."""
    known = set(allowed)
    for index, name in enumerate(names):
        if name not in known:
            yield (*place, index), f"{place[-1]} names unknown {what} {name!r}", did_you_mean(name, known)
        elif name in names[:index]:
            yield (*place, index), f"{place[-1]} names {name!r} twice", ""


def origin_faults(source: Source) -> Iterator[PlacedFault]:
    """What contradicts itself in where a source is read from and in which zone."""
    yield from _path_faults(source.path)
    yield from _zone_faults(source)
    for kind, fields in (("stream", _OF_STREAM), ("sql", _OF_SQL)):
        for field in fields if source.kind != kind else ():
            if getattr(source, field) is not None:
                yield (field,), f"{field} stands beside kind {source.kind}", f"say kind: {kind}, or leave it out"
    if source.kind == "sql":
        yield from _database_faults(source)
    elif source.kind == "stream":
        yield from _stream_faults(source)
    elif not source.path:
        yield ("kind",), f"kind {source.kind} has no path", "name a file or a glob below ${DATA}/"


def _zone_faults(source: Source) -> Iterator[PlacedFault]:
    named: dict[Place, str] = {("time_zones", name): zone for name, zone in source.time_zones.items()}
    named["time_zone",] = source.time_zone
    for place, zone in named.items():
        if not _is_zone(zone):
            yield place, f"time_zone is {zone!r}", did_you_mean(zone, zoneinfo.available_timezones())
    for name in source.time_zones:
        declared = source.columns.get(name)
        if declared is None:
            yield ("time_zones", name), f"time_zones names unknown column {name!r}", did_you_mean(name, source.columns)
        elif declared.dtype not in {"timestamp", "date"}:
            yield ("time_zones", name), f"column {name!r} is {declared.dtype}", "only timestamps and dates have a zone"


def _path_faults(path: str) -> Iterator[PlacedFault]:
    for name in _VARIABLE.findall(path):
        if name != "DATA":
            yield ("path",), f"path names ${{{name}}}", "only ${DATA} is known"
    if path and not _is_below_data(path):
        yield ("path",), f"path is {path!r}", "a path is ${DATA}/… without '..'"


def _database_faults(source: Source) -> Iterator[PlacedFault]:
    if bool(source.path) == (source.url is not None):
        yield ("kind",), "kind sql needs one of url and path", "write url: {env: NAME}, or path to a SQLite file"
    if (source.table is None) == (source.query is None):
        yield ("kind",), "kind sql needs one of table and query", "name a table, or write one SELECT"
    if source.query is not None and not _is_select(source.query):
        yield ("query",), "query is not one SELECT", "a source only reads: write a single SELECT"


def _stream_faults(source: Source) -> Iterator[PlacedFault]:
    if source.path:
        yield ("path",), "path stands beside kind stream", "name a topic with kafka, or post events to /stream"
    if isinstance(source.known_at, KnownFrom | KnownAhead):
        yield ("known_at",), "a stream takes known_at from another source", f"name a column, such as {ARRIVED_AT}"
    arrived = source.columns.get(ARRIVED_AT)
    if arrived is not None and (arrived.dtype != "timestamp" or arrived.nullable):
        text = f"column {ARRIVED_AT!r} is {arrived.dtype}{' and nullable' if arrived.nullable else ''}"
        yield ("columns",), text, f"the platform fills {ARRIVED_AT}: a timestamp, never null"


def _known_from_faults(name: str, known: KnownFrom, sources: Mapping[str, Source]) -> Iterator[PlacedFault]:
    """The other source is there, has the columns, and does not wait for this one in turn."""
    place: Place = ("known_at",)
    yield from name_faults((*place, "on"), known.on, sources[name].columns, "column")
    if (known.latest is None) == (known.earliest is None):
        got = "neither latest nor earliest" if known.latest is None else "latest and earliest"
        yield place, f"known_at of {name!r} has {got}", "latest: rows may be revised; earliest: they never change"
        return
    word = "earliest" if known.latest is None else "latest"
    yield from name_faults((*place, word), [known.source], sources, "source")
    if known.source not in sources:
        return
    if _waits_for(known.source, name, sources):
        text = f"known_at of {name!r} is taken from {known.source!r}, which itself waits for {name!r}"
        yield (*place, word), text, "one source of a chain must know its own time"
    yield from _shared_faults(place, known.on, name, known.source, sources, alike=_IDS)


def _closes_faults(name: str, closes: Closes, sources: Mapping[str, Source]) -> Iterator[PlacedFault]:
    """The source that tells an end is another one, has the columns, and waits for none in turn."""
    place: Place = ("closes",)
    yield from name_faults((*place, "source"), [closes.source], sources, "source")
    yield from name_faults((*place, "on"), closes.on, sources[name].columns, "column")
    if closes.source not in sources:
        return
    other = sources[closes.source]
    if closes.source == name or other.closes is not None or isinstance(other.known_at, KnownFrom):
        text = f"closes names {closes.source!r}, which waits for a source itself"
        yield (*place, "source"), text, "name a source that knows its own times"
        return
    yield from _time_faults((*place, "at"), other, closes.at)
    yield from _shared_faults(place, closes.on, name, closes.source, sources)


def _shared_faults(
    place: Place,
    on: Sequence[str],
    name: str,
    other: str,
    sources: Mapping[str, Source],
    *,
    alike: frozenset[str] = frozenset(),
) -> Iterator[PlacedFault]:
    """Columns that two sources must share, of one dtype or of two that are `alike`."""
    here, there = sources[name].columns, sources[other].columns
    for index, column in enumerate(on):
        spot = (*place, "on", index)
        if column not in there:
            hint = did_you_mean(column, set(here) & set(there))
            yield spot, f"on names column {column!r}, which {other!r} has not", hint
        elif column in here and {here[column].dtype, there[column].dtype} not in ({there[column].dtype}, alike):
            text = f"column {column!r} is {here[column].dtype}, in {other!r} {there[column].dtype}"
            yield spot, text, "declare one dtype"


def _time_faults(place: Place, source: Source, column: str | None) -> Iterator[PlacedFault]:
    if column is None:
        return
    yield from name_faults(place, [column], source.columns, "column")
    declared = source.columns.get(column)
    if declared is not None and declared.dtype not in {"timestamp", "date"}:
        yield place, f"{place[-1]} column {column!r} is {declared.dtype}", "declare dtype timestamp or date"


def _waits_for(source: str, other: str, sources: Mapping[str, Source]) -> bool:
    """Does the knowledge time of `source` come, over any number of sources, from `other`?"""
    passed: set[str] = set()
    while source in sources and source not in passed and source != other:
        passed.add(source)
        known = sources[source].known_at
        if not isinstance(known, KnownFrom):
            return False
        source = known.source
    return source == other


def _is_below_data(path: str) -> bool:
    """Does it stay in the data folder, as `store/source_files.py` asks; other variables are another fault."""
    variable, _, rest = path.partition("/")
    return variable.startswith("${") and bool(rest) and not rest.startswith("/") and ".." not in rest.split("/")


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
