"""Rows of a SQL database as a file that the reader of sources takes: text columns, read in chunks.

Belongs here: opening a database read-only by SQLAlchemy, one statement, values to text without loss.
Does not belong here: contracts, quarantine, times (`sources.py`), where the address stands (`resources/`, `cli/`).
https://docs.sqlalchemy.org/en/21/core/connections.html#using-server-side-cursors-a-k-a-stream-results
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from forecastle.contract.errors import SourceError
from forecastle.contract.source import Source
from forecastle.store.source_files import source_paths

CHUNK_ROWS: Final = 50_000
CONNECT_TIMEOUT_SECONDS: Final = 10
# Text may stand for every dtype: SQLite keeps times as text. Text that cannot be read goes to quarantine.
_FITTING: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str, UUID),
    "float64": (float, int, Decimal, str),
    "int64": (int, str),
    "bool": (bool, int, str),
    "timestamp": (datetime, str),
    "date": (date, str),
}


def fetch(name: str, source: Source, *, data: Path, variables: Mapping[str, str], target: Path) -> tuple[str, ...]:
    """Read a source's table or query into the Parquet file `target`, declared columns as text; returns the others.

    One statement sees one state of the database. A value is written as the text that reads back as the same value;
    times keep their offset when they have one.

    Raises:
        SourceError: the variable is not set, the database cannot be opened or read, columns are missing or of another
            type; every one is named, the address never.
    """
    with _reading(name, source, data=data, variables=variables) as connection:
        result = connection.execute(_statement(source))
        found = [str(column) for column in result.keys()]  # noqa: SIM118  a result is its rows, not its keys
        missing = [column for column in source.columns if column not in found]
        if missing:
            raise SourceError(
                f"source {name}: {origin(source)} has no column {', '.join(missing)}, it has {', '.join(found)}; "
                "mend the query or the contract; the last good table stays"
            )
        places = {column: found.index(column) for column in source.columns}
        schema = pa.schema([(column, pa.string()) for column in source.columns])
        with pq.ParquetWriter(target, schema) as writer:
            for rows in result.partitions(CHUNK_ROWS):
                columns = [_texts(name, source, column, [row[at] for row in rows]) for column, at in places.items()]
                writer.write_batch(pa.record_batch(columns, schema=schema))
    return tuple(column for column in found if column not in source.columns)


def origin(source: Source) -> str:
    """What a database source reads, in words that hold no address."""
    where = f"{Path(source.path).name}: " if source.path else ""
    return where + (f"table {source.table}" if source.table else "query")


def database_watermark(name: str, source: Source, *, data: Path, variables: Mapping[str, str]) -> str:
    """Number of rows and newest knowledge (else event) time that the database has of a source, asked and not read.

    Raises:
        SourceError: the variable is not set or the database cannot be asked; the address is never named.
    """
    rows = _statement(source).subquery() if source.query is None else _statement(source).columns().subquery()
    times = source.time_columns()
    newest: Any = sqlalchemy.column(times.get("known_at", source.event_at))
    asked = sqlalchemy.select(sqlalchemy.func.count(), sqlalchemy.func.max(newest)).select_from(rows)
    with _reading(name, source, data=data, variables=variables) as connection:
        count, until = connection.execute(asked).one()
    return f"{count} rows until {until}"


def _statement(source: Source) -> Any:
    if source.query is not None:
        # Without bound parameters a colon in the text is a colon.
        return sqlalchemy.text(source.query.strip().rstrip(";").replace(":", r"\:"))
    schema, _, table = str(source.table).rpartition(".")
    return sqlalchemy.select(sqlalchemy.text("*")).select_from(sqlalchemy.table(table, schema=schema or None))


@contextmanager
def _reading(name: str, source: Source, *, data: Path, variables: Mapping[str, str]) -> Iterator[sqlalchemy.Connection]:
    """A connection that streams and cannot write; database errors are told without the address."""
    url = _url(name, source, data=data, variables=variables)
    options: dict[str, Any] = {"stream_results": True, "max_row_buffer": CHUNK_ROWS}
    arguments: dict[str, Any] = {}
    if url.get_backend_name() == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        arguments["connect_timeout"] = CONNECT_TIMEOUT_SECONDS
    try:
        engine = sqlalchemy.create_engine(url, connect_args=arguments, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            yield connection.execution_options(**options)
    except (SQLAlchemyError, ImportError) as error:
        raise SourceError(
            f"source {name}: {origin(source)} cannot be read ({_told(error, url)}); "
            "check the database and run again; the last good table stays"
        ) from None


def _url(name: str, source: Source, *, data: Path, variables: Mapping[str, str]) -> sqlalchemy.URL:
    if source.url is None:
        paths = source_paths(name, source.path, data=data)
        if len(paths) != 1:
            raise SourceError(
                f"source {name}: {len(paths)} files match {source.path} below {data}; name one SQLite file"
            )
        # Not `immutable`: another process may be writing, and then its write-ahead log must be read too.
        return sqlalchemy.URL.create("sqlite", database=f"{paths[0].as_uri()}", query={"mode": "ro", "uri": "true"})
    text = variables.get(source.url.env, "")
    if not text:
        raise SourceError(f"source {name}: {source.url.env} is not set; put the database's SQLAlchemy URL there")
    try:
        url = sqlalchemy.make_url(text)
    except ArgumentError:
        raise SourceError(
            f"source {name}: {source.url.env} holds no SQLAlchemy URL; write dialect://user:password@host/database"
        ) from None
    if url.drivername in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    return url


def _told(error: Exception, url: sqlalchemy.URL) -> str:
    """First line of what the driver said, without password, user or host."""
    said = str(getattr(error, "orig", None) or error).strip().split("\n", 1)[0]
    for secret in (url.password, url.username, url.host):
        if secret:
            said = said.replace(str(secret), "…")
    return said


def _texts(name: str, source: Source, column: str, values: Sequence[Any]) -> pa.Array:
    dtype = source.columns[column].dtype
    fitting = _FITTING[dtype]
    wrong = next((v for v in values if v is not None and not _fits(v, dtype, fitting)), None)
    if wrong is not None:
        raise SourceError(
            f"source {name}: {origin(source)} is not what the contract says; mend the query or the contract; "
            f"the last good table stays:\n  column {column}: expected {dtype}, found {type(wrong).__name__} "
            f"({str(wrong)[:60]!r})"
        )
    return pa.array([None if value is None else _text(value, dtype) for value in values], pa.string())


def _fits(value: Any, dtype: str, fitting: tuple[type, ...]) -> bool:
    if isinstance(value, bool) and dtype in {"float64", "int64"}:
        return False
    return isinstance(value, fitting) and not isinstance(value, time)


def _text(value: Any, dtype: str) -> str:
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if dtype == "date" else value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
