"""A system's sources as tables for tests of its SQL, and the way up to a training set.

Belongs here: what tests of every system need.
Does not belong here: anything that knows one system by name.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb

from forecastle.contract.load import LoadedSystem
from forecastle.contract.source import KnownFrom, Source
from forecastle.store.delta_log import TableVersion
from forecastle.store.feature_views import publish_view
from forecastle.store.sources import ingest, read_source
from forecastle.store.stream_log import StreamLog
from forecastle.store.stream_source import ingest_stream
from forecastle.store.training_set import publish_training_set
from forecastle.store.warehouse import Warehouse

SQL_TYPES = {
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "string": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
}


def empty_tables(system: LoadedSystem) -> duckdb.DuckDBPyConnection:
    """Every source as an empty table with its columns; the two times last, where no column of their name tells them."""
    connection = utc_connection()
    for name, source in system.declaration.sources.items():
        columns = {column: SQL_TYPES[declared.dtype] for column, declared in source.columns.items()}
        columns |= {time: "TIMESTAMPTZ" for time in _added_times(source) if time not in columns}
        listed = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
        connection.execute(f'CREATE TABLE "{name}" ({listed})')
    return connection


def _added_times(source: Source) -> tuple[str, ...]:
    """Times that no column tells: their tests write them; those that one does are left out, as the SQL reads that."""
    if isinstance(source.known_at, str):
        return ()
    return ("known_at",) if isinstance(source.known_at, KnownFrom) else ("event_at", "known_at")


def utc_connection() -> duckdb.DuckDBPyConnection:
    """An empty database in memory whose session zone is UTC."""
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def in_order(system: LoadedSystem) -> list[tuple[str, Source]]:
    """Every source, those whose knowledge time another one tells last."""
    return sorted(system.declaration.sources.items(), key=lambda item: isinstance(item[1].known_at, KnownFrom))


def train_on(
    system: LoadedSystem, data: Path, folder: Path, *, now: datetime, sql: dict[str, str] | None = None
) -> tuple[Warehouse, TableVersion]:
    """Everything up to a training set in a warehouse; `sql` replaces text of single views."""
    warehouse = Warehouse(folder, clock=lambda: now)
    for name, source in in_order(system):
        if source.kind == "stream":
            with closing(StreamLog(folder / "streams.sqlite")) as log:
                ingest_stream(warehouse, system.name, name, source, log=log, now=now)
        else:
            ingest(warehouse, system.name, name, source, data=data)
    changed = replace(system, sql={**system.sql, **(sql or {})})
    for view in system.declaration.feature_views:
        publish_view(warehouse, changed, view)
    return warehouse, publish_training_set(warehouse, system, now=now)


def sources_of(system: LoadedSystem, data: Path) -> duckdb.DuckDBPyConnection:
    """Read every source of a data folder by its contract; a stream is an empty table."""
    connection = empty_tables(system)
    for name, source in in_order(system):
        if source.kind == "stream":
            continue
        connection.execute(f'DROP TABLE "{name}"')
        seen = f'"{source.known_at.source}"' if isinstance(source.known_at, KnownFrom) else None
        read = read_source(name, source, data=data, connection=connection, seen=seen)
        connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM {read.table}')
    return connection
