"""The door to DuckDB: connections with one time zone and bounded memory, quoted names, literals of time.

Belongs here: how a connection is opened and locked, how a name or an instant is written into SQL we generate.
Does not belong here: what is asked (`warehouse.py`, `point_in_time.py`, …), values (they are bound as
parameters).
Settings: https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview
"""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import duckdb

from forecastle.contract.errors import StoreError
from forecastle.contract.types import NAME_PATTERN

DEFAULT_MEMORY: Final = "2GB"
DEFAULT_THREADS: Final = 2

_NAME: Final = re.compile(NAME_PATTERN)
_INTERNAL_NAME: Final = re.compile(r"^[a-z_][a-z0-9_]{0,126}$")

SQL_TYPE: Final = {
    "float64": "DOUBLE",
    "int64": "BIGINT",
    "string": "VARCHAR",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
    "date": "DATE",
}
"""DuckDB type of each contract dtype."""


def check_name(name: str) -> str:
    """The name itself, when it is one a declaration may use.

    Raises:
        StoreError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise StoreError(f"got the name {name!r}; a name is {NAME_PATTERN}; rename it")
    return name


def quote_ident(name: str) -> str:
    """A name as a SQL identifier; our own names may also begin with and hold more underscores.

    Raises:
        StoreError: the name is not one of lower-case letters, digits and underscores.
    """
    if not _INTERNAL_NAME.fullmatch(name):
        raise StoreError(f"got the identifier {name!r}; lower-case letters, digits and _ are allowed; rename it")
    return f'"{name}"'


def quote_text(text: str) -> str:
    """A text as a SQL literal, for statements that take no parameters (COPY, CREATE VIEW)."""
    if "\x00" in text:
        raise StoreError(f"got a text with a zero byte ({text!r}); remove it")
    return "'" + text.replace("'", "''") + "'"


def instant(at: datetime) -> str:
    """A time as a TIMESTAMPTZ literal in UTC, to the microsecond.

    Raises:
        StoreError: the time has no zone.
    """
    if at.tzinfo is None:
        raise StoreError(f"got {at.isoformat()} without a zone; every time here has one; add tzinfo")
    return f"TIMESTAMPTZ '{at.astimezone(UTC).isoformat(sep=' ')}'"


def connect(
    *, memory_limit: str = DEFAULT_MEMORY, threads: int = DEFAULT_THREADS, temp_directory: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB for SQL that we generate: UTC, no extensions from outside, spilling to
    `temp_directory`.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "threads": threads,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
    }
    if temp_directory is not None:
        temp_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        config["temp_directory"] = str(temp_directory)
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET GLOBAL TimeZone = 'UTC'")  # for cursors of the connection too
    return connection


def session(
    *, memory_limit: str = DEFAULT_MEMORY, threads: int = DEFAULT_THREADS, temp_directory: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """As `connect`, in the process's own engine of these settings: what is temporary belongs to this connection alone.

    An engine takes 12 ms to start, which a graph of many small tables pays a hundred times.
    """
    opened = _engine(memory_limit, threads, temp_directory, os.getpid()).cursor()
    try:
        opened.execute("SELECT 1").fetchall()
    except duckdb.FatalException:  # an engine that failed fatally answers nobody any more
        _engine.cache_clear()
        opened = _engine(memory_limit, threads, temp_directory, os.getpid()).cursor()
    return opened


def connect_locked(
    readable: Iterable[Path],
    *,
    writable: Path | None = None,
    memory_limit: str = DEFAULT_MEMORY,
    threads: int = DEFAULT_THREADS,
    temp_directory: Path | None = None,
) -> duckdb.DuckDBPyConnection:
    """A connection for SQL that people write: it reads the files named and nothing else and sets nothing.

    `writable` is a file of ours, not there yet, for a COPY that we generate around their SELECT (`check_one_select`:
    a SELECT writes nothing).
    """
    connection = connect(memory_limit=memory_limit, threads=threads, temp_directory=temp_directory)
    named = [*readable, *([writable] if writable else [])]
    allowed = ", ".join(quote_text(str(path)) for path in named)
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def check_one_select(connection: duckdb.DuckDBPyConnection, sql: str, *, what: str) -> str:
    """The SQL itself, when the engine reads it as exactly one SELECT.

    Raises:
        StoreError: it is not SQL, holds several statements, or is not a SELECT.
    """
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise StoreError(f"{what} is not SQL: {error}") from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(str(s.type).rsplit(".", 1)[-1] for s in statements) or "nothing"
        raise StoreError(f"{what} holds {kinds}; exactly one SELECT is allowed; split or rewrite it")
    return sql


def describe(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, str]:
    """Column names of a query's result with their DuckDB types, in order; nothing is run."""
    return {str(row[0]): str(row[1]) for row in connection.execute(f"DESCRIBE {query}").fetchall()}


def one_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The only row of a query's result; the connection is free again, which `fetchone` would not leave it."""
    (row,) = connection.execute(query).fetchall()
    found: tuple[Any, ...] = row
    return found


def is_zoned(kind: str) -> bool:
    """Is this DuckDB type an instant (a time with zone)?"""
    return kind.startswith("TIMESTAMPTZ") or kind == "TIMESTAMP WITH TIME ZONE"


def column_list(names: Sequence[str], *, table: str = "") -> str:
    """Quoted names with commas, each qualified by `table` when given."""
    prefix = f"{table}." if table else ""
    return ", ".join(prefix + quote_ident(name) for name in names)


@lru_cache(maxsize=4)  # cleared at exit, for the engine complains of connections that outlive the interpreter
def _engine(
    memory_limit: str,
    threads: int,
    temp_directory: Path | None,
    process: int,  # noqa: ARG001  a fork needs its own
) -> duckdb.DuckDBPyConnection:
    return connect(memory_limit=memory_limit, threads=threads, temp_directory=temp_directory)


atexit.register(_engine.cache_clear)
