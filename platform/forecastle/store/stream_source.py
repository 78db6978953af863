"""A stream as a table: what the log holds joins the newest version of the source, each event once.

Belongs here: log rows as Arrow, what a version has of the log, publishing `source/<name>` and `quarantine/<name>`.
Does not belong here: taking events (`streams.py`), sources of files and databases (`sources.py`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.json

from forecastle.contract.source import Source
from forecastle.store.crash import CrashHook, no_crash
from forecastle.store.delta_log import NO_VERSION, TableName, TableVersion
from forecastle.store.quarantine import QUARANTINE_COLUMNS, check_limit
from forecastle.store.sources import TIMES, Ingested, SourceRead
from forecastle.store.sql import SQL_TYPE, column_list, one_row, quote_ident
from forecastle.store.stream_events import to_us
from forecastle.store.stream_log import StreamCounts, StreamLog, StreamRow
from forecastle.store.warehouse import Warehouse

SEQUENCE: Final = "__sequence"
KEEP: Final = timedelta(days=7)
"""How long the log keeps rows that the warehouse holds."""

_SORTED: Final = "SELECT * FROM __first ORDER BY {}"
_LOG_FACT: Final = "stream.log"
_SEQUENCE_FACT: Final = "stream.sequence"
_ARROW: Final = {
    "float64": pa.float64(), "int64": pa.int64(), "string": pa.string(), "bool": pa.bool_(), "date": pa.string(),
    "timestamp": pa.int64(),
}  # fmt: skip
_MICROSECONDS: Final = pa.timestamp("us", tz="UTC")


def ingest_stream(
    warehouse: Warehouse,
    system: str,
    name: str,
    source: Source,
    *,
    log: StreamLog,
    now: datetime,
    crash_at: CrashHook = no_crash,
) -> Ingested:
    """Publish the newest version of a stream's source with every row of the log that it has not yet.

    Each row is added by exactly one version: the commit names the log and the last sequence number it holds. Of rows
    equal in `key` the first known stays, then the first taken. `quarantine/<name>` holds every dead letter: its "file"
    is name/partition, its row number the offset. Rows that have been in the warehouse for a week leave the log.

    Raises:
        QuarantineError: the share of dead letters is above `quarantine_limit`; they are in quarantine, the last good
            table stays.
        StoreError: see `Warehouse.publish`; another run may have published meanwhile.
    """
    table, counts = TableName(system, "source", name), log.counts(name)
    base = warehouse.version(table)
    with warehouse.connect() as connection:
        quarantine = _publish_dead(warehouse, connection, TableName(system, "quarantine", name), log)
        _check_share(name, source, counts)
        read = _read(connection, warehouse, source, name, log=log, base=base, counts=counts)
        published = warehouse.publish(
            table,
            _SORTED.format(column_list(["known_at", "event_at", *_other_keys(source)])),
            connection=connection,
            facts={**read.facts(), _LOG_FACT: log.identity, _SEQUENCE_FACT: str(counts.last_sequence)},
            expected_version=NO_VERSION if base is None else base.version,
        )
    crash_at("stream.after_compact")
    log.forget(name, through=held(published, log), arrived_before_us=to_us(now - KEEP))
    return Ingested(read, published, quarantine)


def load_events(
    connection: duckdb.DuckDBPyConnection,
    warehouse: Warehouse,
    source: Source,
    name: str,
    *,
    table: str,
    log: StreamLog,
    base: TableVersion | None,
    through: int | None = None,
    after: str = "TRUE",
) -> int:
    """Make `table`: rows of a version, then those of the log that it has not, through a sequence number.

    `__sequence` numbers them, 0 for the version's. `after` is SQL that rows of both must meet. Returns how many rows
    there are, repeats included.
    """
    dtypes = {**{c: d.dtype for c, d in source.columns.items() if c not in TIMES}, **dict.fromkeys(TIMES, "timestamp")}
    fields = ", ".join(f"{quote_ident(c)} {SQL_TYPE[dtype]}" for c, dtype in dtypes.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({fields}, {SEQUENCE} BIGINT)")
    if base is not None:
        kept = [
            f"{quote_ident(c) if c in base.columns else 'NULL'}::{SQL_TYPE[dtype]} AS {quote_ident(c)}"
            for c, dtype in dtypes.items()
        ]
        rows = f"SELECT {', '.join(kept)}, 0 AS {SEQUENCE} FROM ({warehouse.relation(base)})"
        connection.execute(f"INSERT INTO {table} SELECT * FROM ({rows}) WHERE {after}")
    for batch in log.rows(name, after=held(base, log), through=through):
        with registered(connection, events_table(source, batch)) as rows:
            connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM {rows} WHERE {after}")
    return int(one_row(connection, f"SELECT count(*) FROM {table}")[0])


@contextmanager
def registered(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> Iterator[str]:
    """The name under which a connection reads Arrow rows while the block lasts."""
    connection.register("__rows_in", rows)
    try:
        yield "__rows_in"
    finally:
        connection.unregister("__rows_in")


def events_table(source: Source, rows: Sequence[StreamRow]) -> pa.Table:
    """Rows of the log as Arrow: the contract's columns, `event_at`, `known_at`, `__sequence`."""
    columns = {name: column.dtype for name, column in source.columns.items() if name not in TIMES}
    table = _parsed([row.values_json for row in rows], columns)
    for name, dtype in columns.items():
        if dtype in {"timestamp", "date"}:
            kind = _MICROSECONDS if dtype == "timestamp" else pa.date32()
            table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    for name, values in (("event_at", [r.event_at_us for r in rows]), ("known_at", [r.known_at_us for r in rows])):
        table = table.append_column(name, pa.array(values, pa.int64()).cast(_MICROSECONDS))
    return table.append_column(SEQUENCE, pa.array([row.sequence for row in rows], pa.int64()))


def first_known(source: Source, relation: str) -> str:
    """SQL of a relation's rows without repeats: of rows equal in the key the first known, then the first taken."""
    return (
        f"SELECT * EXCLUDE ({SEQUENCE}) FROM {relation} QUALIFY row_number() OVER"
        f" (PARTITION BY {column_list(source.key)} ORDER BY known_at, event_at, {SEQUENCE}) = 1"
    )


def held(version: TableVersion | None, log: StreamLog) -> int:
    """The last sequence number of this log that a version holds; 0 when it is another log's or nobody's."""
    if version is None or version.facts.get(_LOG_FACT) != log.identity:
        return 0
    return int(version.facts[_SEQUENCE_FACT])


def _parsed(lines: Sequence[bytes], columns: Mapping[str, str]) -> pa.Table:
    schema = pa.schema([(name, _ARROW[dtype]) for name, dtype in columns.items()])
    if not lines:
        return schema.empty_table()
    text = b"\n".join(lines)
    return pyarrow.json.read_json(
        io.BytesIO(text),
        # One block: a row that lay in two could not be read.
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )


def _read(
    connection: duckdb.DuckDBPyConnection,
    warehouse: Warehouse,
    source: Source,
    name: str,
    *,
    log: StreamLog,
    base: TableVersion | None,
    counts: StreamCounts,
) -> SourceRead:
    """Table `__first`: rows of the version and of the log without repeats."""
    taken = load_events(
        connection, warehouse, source, name, table="__events", log=log, base=base, through=counts.last_sequence
    )
    connection.execute(f"CREATE TEMP TABLE __first AS {first_known(source, '__events')}")
    rows = int(one_row(connection, "SELECT count(*) FROM __first")[0])
    return SourceRead(name, rows, counts.dead_letters, taken - rows, (), False, (), "__first", "__dead")


def _check_share(name: str, source: Source, counts: StreamCounts) -> None:
    total = counts.rows + counts.dead_letters
    check_limit(name, source, quarantined=counts.dead_letters, rows=total, what="events", sender="sender")


def _publish_dead(
    warehouse: Warehouse, connection: duckdb.DuckDBPyConnection, table: TableName, log: StreamLog
) -> TableVersion:
    """Every dead letter of a source as its quarantine, also as table `__dead`."""
    name = table.name
    letters = log.dead_letters(name)
    kinds = (pa.string(), pa.int64(), pa.string(), pa.string(), pa.string(), pa.string())
    told = [
        (f"{name}/{d.partition}", d.offset, d.column, d.value, d.rule, d.body.decode(errors="replace")) for d in letters
    ]
    columns = list(zip(*told, strict=True)) or [()] * len(kinds)
    arrays = {n: pa.array(c, k) for n, c, k in zip(QUARANTINE_COLUMNS, columns, kinds, strict=True)}
    connection.register("__dead", pa.table(arrays))
    return warehouse.publish(table, "SELECT * FROM __dead", connection=connection)


def _other_keys(source: Source) -> list[str]:
    return [column for column in source.key if column not in TIMES]
