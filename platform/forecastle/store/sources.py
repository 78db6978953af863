"""Sources: raw files become rows with a contract, an event time and a knowledge time; rows that break it
stand apart.

Belongs here: reading, typing, quarantine, deduplication, publishing `source/<name>` and `quarantine/<name>`.
Does not belong here: what lies in which file (`source_files.py`), feature SQL, streams.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

import duckdb

from forecastle.contract.column import Column
from forecastle.contract.errors import SourceError
from forecastle.contract.source import KnownAhead, KnownAt, KnownFrom, Source
from forecastle.store.arrivals import REFUSED, ArrivalError, Arrived, look_at_arrivals
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.quarantine import (
    QuarantineError,
    check_limit,
    quarantine_lines,
    quarantine_relation,
    told_rules,
)
from forecastle.store.rules import rule_case
from forecastle.store.source_files import (
    TEXTUAL,
    FileColumns,
    SourceFile,
    file_columns,
    fingerprint,
    instant_value,
    source_paths,
    typed_value,
)
from forecastle.store.sql import SQL_TYPE, check_name, column_list, one_row, quote_ident, quote_text
from forecastle.store.warehouse import Warehouse

TIMES: Final = ("event_at", "known_at")
UNSEEN: Final = Column(dtype="timestamp")
NO_VARIABLES: Final[Mapping[str, str]] = MappingProxyType({})
UNITS_ACCEPTED: Final = "units_accepted"
"""Fact of a source's version: values known after this instant are of the size that a person accepted."""


@dataclass(frozen=True, slots=True)
class SourceRead:
    """What was read: row counts, what was odd, and the two DuckDB tables that hold the rows.

    `rows` are those of `table` (after quarantine and deduplication); `quarantined` counts rows, `quarantine`
    holds one line per broken rule (`quarantine.QUARANTINE_COLUMNS`, row numbers from 1 within the file). `absent` says
    an optional source had no file.
    """

    name: str
    rows: int
    quarantined: int
    duplicates: int
    added_columns: tuple[str, ...]
    absent: bool
    files: tuple[SourceFile, ...]
    table: str
    quarantine: str

    @property
    def rows_read(self) -> int:
        """All rows there were: good, broken and repeated ones."""
        return self.rows + self.quarantined + self.duplicates

    def facts(self) -> dict[str, str]:
        """The same as text, for a table version's commit."""
        return {
            "rows": str(self.rows),
            "quarantined": str(self.quarantined),
            "duplicates": str(self.duplicates),
            "added_columns": ",".join(self.added_columns),
            "absent": str(self.absent).lower(),
            "files": " ".join(f"{file.path}@{file.sha256}" for file in self.files),
        }


@dataclass(frozen=True, slots=True)
class Ingested:
    """A source that was read and published, and what was found in its newest rows."""

    read: SourceRead
    source: TableVersion
    quarantine: TableVersion
    arrived: tuple[Arrived, ...] = ()


def ingest(
    warehouse: Warehouse,
    system: str,
    name: str,
    source: Source,
    *,
    data: Path,
    variables: Mapping[str, str] = NO_VARIABLES,
    accept_units: bool = False,
) -> Ingested:
    """Read a source and publish its rows and its quarantine; on any error the table stays as it was.

    `variables` holds what a declaration names by `{env: NAME}`. `accept_units` says that a person knows of values of
    another size: from the newest row on they are what later ones are compared with.

    Raises:
        SourceError: see `read_source`; an `ArrivalError` when the newest rows look like another unit; a
            `QuarantineError` when too many rows are broken, after the quarantine was published.
        StoreError: see `Warehouse.publish`.
    """
    with warehouse.connect() as connection:
        seen, facts = _seen(warehouse, system, source, connection)
        try:
            read = read_source(name, source, data=data, connection=connection, seen=seen, variables=variables)
        except QuarantineError:
            _publish_quarantine(warehouse, connection, system, name, facts={"refused": "true"})
            raise
        facts |= read.facts()
        arrived = _look(warehouse, connection, system, source, read, accept_units=accept_units, facts=facts)
        quarantine = _publish_quarantine(warehouse, connection, system, name, facts=facts)
        published = warehouse.publish(
            TableName(system, "source", name),
            f"SELECT * FROM {read.table}",
            connection=connection,
            facts=facts,
        )
    return Ingested(read, published, quarantine, arrived)


def read_source(
    name: str,
    source: Source,
    *,
    data: Path,
    connection: duckdb.DuckDBPyConnection,
    seen: str | None = None,
    variables: Mapping[str, str] = NO_VARIABLES,
) -> SourceRead:
    """Read the files or the database of a source into two tables of `connection`: good rows and quarantine.

    Good rows carry the contract's columns plus `event_at` and `known_at` (UTC). Of rows equal in `key` the first known
    stays. Same rows, same tables, in the same order. `seen`: the relation that `known_at` is taken from, if it is.

    Raises:
        SourceError: no file (unless optional), an unreadable file or database, columns that do not fit, a file that
            changed while it was read, or a share of broken rows above `quarantine_limit`.
    """
    check_name(name)
    reader = _Reader(name, source, connection)
    reader.create()
    if source.kind == "sql":
        files, added = _insert_database(reader, data=data, variables=variables)
    else:
        files, added = _insert_files(reader, data=data)
    reader.know(seen)
    total, broken = reader.counts()
    reader.quarantine(total, broken)
    rows = reader.deduplicate()
    return SourceRead(
        name=name,
        rows=rows,
        quarantined=broken,
        duplicates=total - broken - rows,
        added_columns=tuple(dict.fromkeys(added)),
        absent=not files,
        files=tuple(files),
        table=reader.table,
        quarantine=reader.quarantined,
    )


def _publish_quarantine(
    warehouse: Warehouse,
    connection: duckdb.DuckDBPyConnection,
    system: str,
    name: str,
    *,
    facts: Mapping[str, str],
) -> TableVersion:
    rows = f"SELECT * FROM {quarantine_relation(name)}"
    return warehouse.publish(TableName(system, "quarantine", name), rows, connection=connection, facts=facts)


def _look(
    warehouse: Warehouse,
    connection: duckdb.DuckDBPyConnection,
    system: str,
    source: Source,
    read: SourceRead,
    *,
    accept_units: bool,
    facts: dict[str, str],
) -> tuple[Arrived, ...]:
    """What is odd in the newest rows; refused where an older table can stay. Acceptance is kept in the facts."""
    before = warehouse.version(TableName(system, "source", read.name))
    accepted = before.facts.get(UNITS_ACCEPTED) if before else None
    if accept_units:
        (newest,) = one_row(connection, f"SELECT max(known_at) FROM {read.table}")
        accepted = newest.isoformat() if newest else accepted
    if accepted:
        facts[UNITS_ACCEPTED] = accepted
    since = datetime.fromisoformat(accepted) if accepted else None
    arrived = look_at_arrivals(connection, read.table, source, since=since)
    refused = any(not found.is_well and found.question in REFUSED for found in arrived)
    if refused and before is not None and not accept_units:
        raise ArrivalError(read.name, arrived)
    return arrived


def _insert_files(reader: _Reader, *, data: Path) -> tuple[list[SourceFile], tuple[str, ...]]:
    """Append every file of a source; the files read, and the columns that nobody declared."""
    name, source = reader.name, reader.source
    paths = source_paths(name, source.path, data=data)
    if not paths and not source.optional:
        raise SourceError(
            f"source {name}: no file matches {source.path} below {data}; put it there, or declare optional: true"
        )
    files = [fingerprint(path, data=data) for path in paths]
    added = tuple(c for path, file in zip(paths, files, strict=True) for c in reader.insert(path, file.path))
    changed = [f.path for p, f in zip(paths, files, strict=True) if fingerprint(p, data=data) != f]
    if changed:
        raise SourceError(f"source {name}: {changed[0]} changed while it was read; wait for its writer and run again")
    return files, added


def _insert_database(
    reader: _Reader, *, data: Path, variables: Mapping[str, str]
) -> tuple[list[SourceFile], tuple[str, ...]]:
    """Append the rows of a database by way of a temporary file, whose fingerprint stands for them."""
    from forecastle.store.source_database import fetch, origin

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder).resolve() / "rows.parquet"
        added = fetch(reader.name, reader.source, data=data, variables=variables, target=target)
        what = origin(reader.source)
        read = replace(fingerprint(target, data=Path(folder)), path=what)
        reader.insert(target, what)
    return [read], added


def _seen(
    warehouse: Warehouse, system: str, source: Source, connection: duckdb.DuckDBPyConnection
) -> tuple[str | None, dict[str, str]]:
    """The relation that a knowledge time is taken from, and which version it is, for the commit."""
    if not isinstance(source.known_at, KnownFrom):
        return None, {}
    other = source.known_at.source
    versions = warehouse.attach(connection, {f"__seen_{other}": TableName(system, "source", other)})
    (version,) = versions.values()
    return quote_ident(f"__seen_{other}"), {f"input.{other}": f"{version.name}@{version.version}"}


class _Reader:
    """The three tables of one source in one connection: everything read, what broke a rule, what is good."""

    def __init__(self, name: str, source: Source, connection: duckdb.DuckDBPyConnection) -> None:
        self.name = name
        self.source = source
        self.connection = connection
        self.raw = quote_ident(f"__raw_{name}")
        self.table = quote_ident(f"__source_{name}")
        self.quarantined = quarantine_relation(name)
        self.time_columns = source.time_columns()
        announced = {source.known_at.before} if isinstance(source.known_at, KnownAhead) else set()
        self.required = {*source.key, *self.time_columns.values(), *announced}
        for time in TIMES:
            if time in source.columns and self.time_columns.get(time) != time:
                raise SourceError(
                    f"source {name}: column {time} is declared but is not the source's {time}; rename the column"
                )

    @property
    def columns(self) -> dict[str, Column]:
        """Contract columns that stand in the table beside the two times."""
        return {name: column for name, column in self.source.columns.items() if name not in TIMES}

    def create(self) -> None:
        fields = [f"{quote_ident(c)} {SQL_TYPE[d.dtype]}" for c, d in self.source.columns.items()]
        fields += [f"{quote_ident(f'__text_{c}')} VARCHAR" for c in self.source.columns]
        fields += [f"{quote_ident(f'__{time}')} TIMESTAMPTZ" for time in TIMES]
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {self.raw} (__file VARCHAR, __row BIGINT, {', '.join(fields)})"
        )

    def insert(self, path: Path, file: str) -> tuple[str, ...]:
        """Append one file's rows; returns the columns that nobody declared."""
        columns = file_columns(self.connection, self.name, self.source, path)
        try:
            self.connection.execute(f"INSERT INTO {self.raw} {self._select(columns, file)}")
        except duckdb.Error as error:
            line = str(error).strip().split("\n", 1)[0]
            raise SourceError(
                f"source {self.name}: {path.name} is damaged or cut short ({line}); fetch it again; "
                "the last good table stays"
            ) from error
        return columns.added

    def _select(self, columns: FileColumns, file: str) -> str:
        kind = self.source.kind
        values, texts = [], []
        for name, declared in self.source.columns.items():
            column, found = columns.columns[name]
            typed = typed_value(column, declared.dtype, found, kind=kind, zone=self.source.zone_of(name))
            values.append(f"{typed} AS {quote_ident(name)}")
            texts.append(
                f"{column} AS {quote_ident(f'__text_{name}')}" if kind in TEXTUAL else f"NULL AS __text_{name}"
            )
        times = [self._time(time) for time in TIMES]
        inner = f"SELECT __row, {', '.join([*values, *texts])} FROM {columns.relation}"
        return f"SELECT {quote_text(file)}, *, {', '.join(times)} FROM ({inner})"

    def _time(self, time: str) -> str:
        source = self.source
        if isinstance(source.known_at, KnownAhead) and time not in self.time_columns:
            told, seconds = source.known_at.before, int(source.known_at.lead.total_seconds())
            announced = instant_value(quote_ident(told), source.columns[told].dtype, source.zone_of(told))
            return f"{announced} - INTERVAL {seconds} SECOND"
        if time == "known_at" and isinstance(source.known_at, KnownAt):
            seconds = int(source.known_at.delay.total_seconds())
            return f"{self._time('event_at')} + INTERVAL {seconds} SECOND"
        column = self.time_columns.get(time)
        if column is None:
            return "NULL::TIMESTAMPTZ"
        return instant_value(quote_ident(column), source.columns[column].dtype, source.zone_of(column))

    def _rule(self, name: str, column: Column) -> str:
        unparsed = f"{quote_ident(f'__text_{name}')} IS NOT NULL AND {quote_ident(name)} IS NULL"
        return rule_case(
            name,
            column,
            required=name in self.required,
            unparsed=unparsed if self.source.kind in TEXTUAL else None,
        )

    def know(self, seen: str | None) -> None:
        """Take the knowledge time of every row from the rows of relation `seen`, where it is declared so."""
        known = self.source.known_at
        if not isinstance(known, KnownFrom):
            return
        if seen is None:
            raise SourceError(f"source {self.name}: known_at is taken from {known.source}; read {known.source} first")
        chosen = "min(known_at)" if known.latest is None else "max(known_at)"
        told_at = f"SELECT {column_list(known.on)}, {chosen} AS __seen_at FROM {seen} GROUP BY ALL"
        # As text: one of the two may store an id as a number, the other as its digits.
        same = " AND ".join(f"{self.raw}.{c}::VARCHAR = __told.{c}::VARCHAR" for c in map(quote_ident, known.on))
        told = [f"__{time} = __seen_at" for time in TIMES if time not in self.time_columns]
        self.connection.execute(f"UPDATE {self.raw} SET {', '.join(told)} FROM ({told_at}) AS __told WHERE {same}")

    @property
    def _rules(self) -> dict[str, tuple[str, str]]:
        """Column → SQL of the rule that its value breaks, SQL of that value as text."""
        rules = {
            name: (
                self._rule(name, column),
                f"coalesce({quote_ident(f'__text_{name}')}, {quote_ident(name)}::VARCHAR)",
            )
            for name, column in self.source.columns.items()
        }
        if isinstance(self.source.known_at, KnownFrom):
            rules["known_at"] = (rule_case("__known_at", UNSEEN), "__known_at::VARCHAR")
        return rules

    @property
    def _broken(self) -> str:
        return f"coalesce({', '.join(rule for rule, _ in self._rules.values())}, NULL) IS NOT NULL"

    def counts(self) -> tuple[int, int]:
        """Rows read, and how many of them break a rule."""
        broken = f"count(*) FILTER (WHERE {self._broken})"
        total, found = one_row(self.connection, f"SELECT count(*), {broken} FROM {self.raw}")
        return int(total), int(found)

    def quarantine(self, total: int, broken: int) -> None:
        lines = quarantine_lines(self.raw, self._rules, broken=self._broken)
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {self.quarantined} AS {lines}")
        listed = told_rules(self.connection, self.name, {"known_at": UNSEEN, **self.source.columns})
        check_limit(self.name, self.source, quarantined=broken, rows=total, listed=listed)

    def deduplicate(self) -> int:
        """Keep the first known of rows equal in the key; returns how many stay."""
        chosen = [quote_ident(name) for name in self.columns]
        chosen += ['__event_at AS "event_at"', '__known_at AS "known_at"']
        key = [f"__{name}" if name in TIMES else quote_ident(name) for name in self.source.key]
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {self.table} AS SELECT {', '.join(chosen)} FROM {self.raw}"
            f" WHERE NOT ({self._broken}) QUALIFY row_number() OVER"
            f" (PARTITION BY {', '.join(key)} ORDER BY __known_at, __event_at, __file, __row) = 1"
            f" ORDER BY __known_at, __event_at, {', '.join(key)}"
        )
        self.connection.execute(f"DROP TABLE {self.raw}")
        return int(one_row(self.connection, f"SELECT count(*) FROM {self.table}")[0])
