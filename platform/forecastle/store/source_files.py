"""Files of a source: which ones a declaration means, that they lie in the data folder, that their columns
fit.

Belongs here: `${DATA}` and globs, SHA-256 of files, headers against the contract, SQL that reads one file
typed.
Does not belong here: rows that break the contract, duplicates, tables (`sources.py`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import duckdb

from forecastle.contract.column import Column
from forecastle.contract.errors import SourceError, did_you_mean
from forecastle.contract.source import Source
from forecastle.store.rules import takes
from forecastle.store.sql import SQL_TYPE, describe, is_zoned, quote_ident, quote_text
from forecastle.store.table_file import file_sha256

DATA_PREFIX: Final = "${DATA}/"
TEXTUAL: Final = frozenset({"csv", "sql"})
"""Kinds whose values arrive as text; what cannot be read as the contract's dtype goes to quarantine."""

_CSV_OPTIONS: Final = (
    "auto_detect = false, header = true, strict_mode = true, nullstr = '', delim = ',', quote = '\"', escape = '\"'"
)
# A text carries its own zone when one stands behind a time of day; the last part of a bare date is none.
_ZONED: Final = r"'\d{1,2}:\d{2}.*(Z|z|UTC|[+-]\d{2}(:?\d{2})?)$'"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that was read: path below the data folder, SHA-256 and size of its bytes."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class FileColumns:
    """What one file holds: SQL of its rows, contract column → (SQL name in it, DuckDB type), columns nobody
    declared.
    """

    relation: str
    columns: Mapping[str, tuple[str, str]]
    added: tuple[str, ...]


def source_paths(name: str, path: str, *, data: Path) -> list[Path]:
    """Files that a source's path means, sorted; empty when there are none.

    Raises:
        SourceError: the path does not begin with ${DATA}/, climbs with `..`, or leads out of the data folder.
    """
    pattern = path.removeprefix(DATA_PREFIX)
    parts = PurePosixPath(pattern).parts
    if pattern == path or not parts or ".." in parts or PurePosixPath(pattern).is_absolute():
        raise SourceError(
            f"source {name}: got the path {path!r}; a path is {DATA_PREFIX}… without '..'; put the file "
            "into the data folder"
        )
    root = data.resolve()
    found = sorted(p for p in root.glob(pattern) if p.is_file())
    outside = [p for p in found if not p.resolve().is_relative_to(root)]
    if outside:
        raise SourceError(f"source {name}: {outside[0]} leads out of the data folder {root}; copy the file into it")
    return found


def fingerprint(path: Path, *, data: Path) -> SourceFile:
    """Name, SHA-256 and size of a file as it is now."""
    return SourceFile(path.relative_to(data.resolve()).as_posix(), file_sha256(path), path.stat().st_size)


def file_columns(connection: duckdb.DuckDBPyConnection, name: str, source: Source, path: Path) -> FileColumns:
    """Read a file's header and match it with the contract.

    Raises:
        SourceError: the file cannot be read, or columns are missing or of another type; every one is named.
    """
    try:
        relation, found = _csv(path) if source.kind == "csv" else _parquet(connection, path)
    except (duckdb.Error, OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(
            f"source {name}: {path.name} cannot be read as {source.kind} ({_first_line(error)}); "
            "fetch it again; the last good table stays"
        ) from error
    added = tuple(column for column in found if column not in source.columns)
    problems = [
        _fault(column, declared, found, added)
        for column, declared in source.columns.items()
        if column not in found or (source.kind == "parquet" and not takes(declared.dtype, found[column][1]))
    ]
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise SourceError(
            f"source {name}: {path.name} is not what the contract says; mend the file or the contract; "
            f"the last good table stays:{listed}"
        )
    return FileColumns(relation, {c: found[c] for c in source.columns}, added)


def typed_value(column: str, dtype: str, found: str, *, kind: str, zone: str) -> str:
    """SQL of a file's column as its contract dtype; naive times and dates are local to `zone`.

    Text that cannot be read gives null; whole numbers are not made from fractions.
    """
    if kind in TEXTUAL:
        return _parsed(column, dtype, zone)
    if dtype == "timestamp":
        return _utc(column, found, zone)
    return f"{column}::{SQL_TYPE[dtype]}"


def instant_value(value: str, dtype: str, zone: str) -> str:
    """SQL of a typed column as an instant: a date is its midnight in `zone`."""
    return _utc(value, "DATE", zone) if dtype == "date" else value


def _parsed(column: str, dtype: str, zone: str) -> str:
    if dtype == "string":
        return column
    if dtype == "timestamp":
        local = f"timezone({quote_text(zone)}, TRY_CAST({column} AS TIMESTAMP))"
        absolute = f"TRY_CAST({column} AS TIMESTAMPTZ)"
        return f"CASE WHEN regexp_matches({column}, {_ZONED}) THEN {absolute} ELSE {local} END"
    cast = f"TRY_CAST({column} AS {SQL_TYPE[dtype]})"
    if dtype == "int64":
        return f"CASE WHEN regexp_full_match(trim({column}), '[+-]?[0-9]+') THEN {cast} END"
    return cast


def _utc(value: str, found: str, zone: str) -> str:
    if is_zoned(found):
        return f"{value}::TIMESTAMPTZ"
    return f"timezone({quote_text(zone)}, {value}::TIMESTAMP)"


def _csv(path: Path) -> tuple[str, dict[str, tuple[str, str]]]:
    """Text columns c0, c1, … of a comma-separated file with a header; nothing is guessed from a sample."""
    with path.open(encoding="utf-8-sig", newline="") as handle:
        header = next(csv.reader(handle, strict=True), [])
    if not header or len(set(header)) != len(header):
        raise csv.Error(f"header names must be there and be different, got {header}")
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(header)))
    scan = f"read_csv({quote_text(str(path))}, columns = {{{columns}}}, {_CSV_OPTIONS})"
    relation = f"(SELECT row_number() OVER () AS __row, * FROM {scan})"
    return relation, {name: (quote_ident(f"c{i}"), "VARCHAR") for i, name in enumerate(header)}


def _parquet(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[str, dict[str, tuple[str, str]]]:
    scan = f"read_parquet({quote_text(str(path))}, file_row_number = true)"
    found = describe(connection, f"SELECT * EXCLUDE (file_row_number) FROM {scan}")
    relation = f"(SELECT file_row_number + 1 AS __row, * FROM {scan})"
    return relation, {name: (f'"{name}"', kind) for name, kind in found.items()}


def _fault(column: str, declared: Column, found: Mapping[str, tuple[str, str]], added: tuple[str, ...]) -> str:
    if column in found:
        return f"column {column}: expected {declared.dtype}, found {found[column][1]}"
    hint = did_you_mean(column, added)
    return f"column {column}: expected {declared.dtype}, found no such column" + (f" ({hint})" if hint else "")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
