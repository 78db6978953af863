"""SQL that people write, run where it can do no harm: one SELECT over named tables, its result typed and
ordered.

Belongs here: the locked connection, tables cut to what was known, the check of result columns, streaming it
out.
Does not belong here: parsing for lineage (`contract/sql.py`), what the result means (`feature_views.py`,
`labels.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb

from forecastle.contract.errors import StoreError, did_you_mean
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.rules import takes, typed
from forecastle.store.sql import (
    check_one_select,
    column_list,
    connect_locked,
    describe,
    instant,
    is_zoned,
    quote_ident,
)
from forecastle.store.warehouse import Audit, Warehouse

BATCH_ROWS: Final = 100_000

Tables = Mapping[str, TableName | TableVersion | str]
"""Name in the SQL → table (its newest version) or one version of it."""


@dataclass(frozen=True, slots=True)
class Window:
    """Event times from `start` up to, and without, `end`; the SQL reads `lookback` further back."""

    start: datetime
    end: datetime
    lookback: timedelta = timedelta(0)

    def inside(self) -> str:
        """SQL that is true for rows of the window."""
        return f"event_at >= {instant(self.start)} AND event_at < {instant(self.end)}"


@dataclass(frozen=True, slots=True)
class Selection:
    """A SELECT that is ready to run on its locked connection, and the versions that it reads."""

    connection: duckdb.DuckDBPyConnection
    query: str
    versions: Mapping[str, TableVersion]

    @property
    def batches(self) -> Any:
        """Arrow batches of the rows, computed as they are read."""
        return self.connection.sql(self.query).to_arrow_reader(BATCH_ROWS)

    def facts(self) -> dict[str, str]:
        """Which version of which table was read, as text for a commit."""
        return {f"input.{name}": f"{v.name}@{v.version}" for name, v in sorted(self.versions.items())}


@contextmanager
def select(
    warehouse: Warehouse,
    text: str,
    tables: Tables,
    *,
    columns: Mapping[str, str],
    order_by: Sequence[str],
    what: str,
    known_until: datetime | None = None,
    event_until: datetime | None = None,
    window: Window | None = None,
    writable: Path | None = None,
) -> Iterator[Selection]:
    """Run one SELECT that gives exactly `columns` (name → contract dtype), sorted by `order_by`.

    `known_until` hides rows whose `known_at` lies after it, so that the SQL sees what it would have seen then,
    `event_until` those whose `event_at` does. `window` gives only rows whose `event_at` lies in it, made from rows
    of the window and its lookback. `writable` is the one file that the connection may write.

    Raises:
        StoreError: not one SELECT, unknown tables or columns, result columns that do not fit; nothing was
        written.
    """
    versions = {name: warehouse.resolve(table) for name, table in tables.items()}
    connection = connect_locked(
        [warehouse.verified(version) for version in versions.values()],
        writable=writable,
        memory_limit=warehouse.memory_limit,
        threads=warehouse.threads,
        temp_directory=warehouse.temp_directory,
    )
    with connection:
        cut = _cut(known_until, event_until, window)
        for name, version in versions.items():
            rows = warehouse.relation(version)
            connection.execute(f"CREATE TEMP VIEW {quote_ident(name)} AS {rows}{cut}")
        rows = typed_select(connection, text, columns, what=what)
        kept = f" WHERE {window.inside()}" if window else ""
        yield Selection(connection, f"{rows}{kept} ORDER BY {column_list(order_by)}", versions)


def publish_select(
    warehouse: Warehouse,
    table: TableName,
    text: str,
    tables: Tables,
    *,
    columns: Mapping[str, str],
    order_by: Sequence[str],
    what: str,
    audits: Sequence[Audit],
    known_until: datetime | None = None,
) -> TableVersion:
    """Publish what a SELECT gives as `table`; its rows are written, audited and hashed on the locked connection.

    Raises:
        StoreError: see `select`, or an audit found problems; the old version stays.
    """
    draft_path = warehouse.draft_path(table)
    with select(
        warehouse,
        text,
        tables,
        columns=columns,
        order_by=order_by,
        what=what,
        known_until=known_until,
        writable=draft_path,
    ) as selection:
        return warehouse.publish(
            table,
            selection.query,
            connection=selection.connection,
            draft_path=draft_path,
            audits=audits,
            facts=select_facts(text, selection),
        )


def select_facts(text: str, selection: Selection) -> dict[str, str]:
    """Commit facts of a table made by SQL."""
    return {"sql_sha256": hashlib.sha256(text.encode()).hexdigest(), **selection.facts()}


def typed_select(connection: duckdb.DuckDBPyConnection, text: str, columns: Mapping[str, str], *, what: str) -> str:
    """SQL of exactly `columns` of one SELECT, cast to their contract dtypes; the text becomes view `__selected`.

    Raises:
        StoreError: see `select`.
    """
    _check_columns(_bind(connection, text, what), columns, what)
    return f"SELECT {', '.join(typed(name, dtype) for name, dtype in columns.items())} FROM __selected"


def _cut(known_until: datetime | None, event_until: datetime | None, window: Window | None) -> str:
    limits = {"known_at": known_until, "event_at": event_until}
    conditions = [f"{time} <= {instant(until)}" for time, until in limits.items() if until]
    if window:
        conditions.append(replace(window, start=window.start - window.lookback).inside())
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _bind(connection: duckdb.DuckDBPyConnection, text: str, what: str) -> dict[str, str]:
    """View `__selected` of a text that is one SELECT; returns its columns."""
    try:
        connection.execute(f"CREATE OR REPLACE TEMP VIEW __selected AS {check_one_select(connection, text, what=what)}")
        return describe(connection, "SELECT * FROM __selected")
    except duckdb.Error as error:
        raise StoreError(f"{what} cannot be run: {error}") from error


def _check_columns(found: Mapping[str, str], columns: Mapping[str, str], what: str) -> None:
    problems = []
    for name, dtype in columns.items():
        if name not in found:
            hint = did_you_mean(name, set(found) - set(columns))
            problems.append(f"column {name}: expected {dtype}, the SQL does not give it ({hint})")
        elif dtype == "timestamp" and not is_zoned(found[name]):
            problems.append(f"column {name}: expected a time with zone, found {found[name]}; CAST(… AS TIMESTAMPTZ)")
        elif not takes(dtype, found[name]):
            problems.append(f"column {name}: expected {dtype}, found {found[name]}; cast it in the SQL")
    problems += [
        f"column {name}: not declared ({did_you_mean(name, columns)})" for name in found if name not in columns
    ]
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise StoreError(f"{what} does not give what is declared; nothing was published:{listed}")
