"""One table's rows as one Parquet file: how it is written, flushed and fingerprinted.

Belongs here: storable column types, the COPY, SHA-256 of bytes.
Does not belong here: versions, names, who may write (`warehouse.py`, `delta_log.py`), the hash of rows
(`content_hash.py`).
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from forecastle.contract.errors import StoreError
from forecastle.store import sql

_KEPT: Final = frozenset({"BOOLEAN", "BIGINT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP WITH TIME ZONE"})
_CAST: Final = (
    (re.compile(r"^U?(TINY|SMALL|HUGE|BIG)?INT(EGER)?$"), "BIGINT"),
    (re.compile(r"^(FLOAT|DECIMAL\(.*\))$"), "DOUBLE"),
    (re.compile(r"^(ENUM\(.*\)|UUID|JSON)$"), "VARCHAR"),
    (re.compile(r"^TIMESTAMPTZ_NS$"), "TIMESTAMPTZ"),
)


def write_table_file(
    connection: duckdb.DuckDBPyConnection, query: str, path: Path, *, what: str
) -> tuple[int, pa.Schema]:
    """Stream a query's rows into a new Parquet file (larger than memory by spilling); returns row count and
    schema.

    Narrow types are stored wide (integers as int64, floats and decimals as float64, enums and UUIDs as text),
    so that a table's schema does not depend on which engine or sample produced it. LZ4: features hardly shrink, so
    that zstd costs twice the time of every later read and saves a tenth of the bytes.

    Raises:
        StoreError: a column has no type or is a time without zone; the query fails; the disk refuses.
    """
    select = f"SELECT {_storable(connection, query, what)} FROM ({query})"
    try:
        target = f"{sql.quote_text(str(path))} (FORMAT parquet, COMPRESSION lz4_raw)"
        (rows,) = sql.one_row(connection, f"COPY ({select}) TO {target}")
        schema = connection.sql(f"SELECT * FROM read_parquet({sql.quote_text(str(path))}) LIMIT 0").to_arrow_table()
    except (duckdb.IOException, OSError) as error:
        path.unlink(missing_ok=True)
        raise StoreError(
            f"{what} could not be written to disk: {error}; the old version stays; free space and run it again"
        ) from error
    except duckdb.Error as error:
        path.unlink(missing_ok=True)
        raise StoreError(f"{what}: the query failed, nothing was published: {error}") from error
    return int(rows), schema.schema


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Force a file's bytes or a folder's entries to disk: a rename outlives loss of power only after both."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _storable(connection: duckdb.DuckDBPyConnection, query: str, what: str) -> str:
    try:
        columns = sql.describe(connection, query)
    except duckdb.Error as error:
        raise StoreError(f"{what}: the query cannot be planned, nothing was published: {error}") from error
    problems = []
    chosen = []
    for name, kind in columns.items():
        wide = next((target for pattern, target in _CAST if pattern.match(kind)), None)
        if kind.startswith("TIMESTAMP") and not sql.is_zoned(kind):
            problems.append(f"{name} is {kind}, a time without zone; convert it with timezone('UTC', {name})")
        elif kind == '"NULL"':
            problems.append(f"{name} has no type; cast it")
        identifier = sql.quote_ident(name)
        chosen.append(identifier if kind in _KEPT or wide is None else f"{identifier}::{wide} AS {identifier}")
    if problems:
        raise StoreError(f"{what}: {'; '.join(problems)}")
    return ", ".join(chosen)
