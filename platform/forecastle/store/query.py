"""Questions that people ask in SQL: every table of a system as a view, read-only, as it is or as it was.

Belongs here: names of the views, the locked connection, one SELECT and its rows.
Does not belong here: SQL of a declaration (`selects.py`), printing (`cli/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from forecastle.contract.errors import StoreError, did_you_mean
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.sql import check_one_select, connect_locked, describe, quote_ident
from forecastle.store.warehouse import Warehouse

ONLY: Final = "all"
"""Name of the one table of a kind that has no others; its view bears the kind's name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Column names with DuckDB types, and Arrow batches that are computed as they are read."""

    columns: Mapping[str, str]
    batches: Any


def view_name(table: TableName) -> str:
    """How a table is called in a question: `kind.name`, or just `training_set` where a kind has one table."""
    return table.kind if table.name == ONLY else f"{table.kind}.{table.name}"


def view_versions(warehouse: Warehouse, system: str, *, as_of: datetime | None = None) -> dict[str, TableVersion]:
    """Each view's name and the version it shows: the newest, or the newest written at or before `as_of`."""
    found = {}
    for table in warehouse.tables(system):
        version = warehouse.version(table) if as_of is None else warehouse.at(table, as_of)
        if version is not None:
            found[view_name(table)] = version
    return found


@contextmanager
def ask(warehouse: Warehouse, system: str, text: str, *, as_of: datetime | None = None) -> Iterator[Answer]:
    """Run one SELECT over a system's tables; it can read those it names and nothing else, and change nothing.

    Raises:
        StoreError: not one SELECT, a table that is not there, an error of the SQL.
        CorruptionError: the bytes of a table named are not those that were written.
    """
    views = view_versions(warehouse, system, as_of=as_of)
    named = _named(text, views)
    connection = connect_locked(
        [warehouse.verified(version) for version in named.values()],
        memory_limit=warehouse.memory_limit,
        threads=warehouse.threads,
        temp_directory=warehouse.temp_directory,
    )
    with connection:
        for view, version in named.items():
            schema, _, name = view.rpartition(".")
            if schema:
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_ident(schema)}")
            target = f"{quote_ident(schema)}.{quote_ident(name)}" if schema else quote_ident(name)
            connection.execute(f"CREATE VIEW {target} AS {warehouse.relation(version)}")
        try:
            checked = check_one_select(connection, text, what="the question")
            columns = describe(connection, checked)
            yield Answer(columns, connection.sql(checked).to_arrow_reader())
        except duckdb.Error as error:
            raise StoreError(f"the question cannot be answered: {error}") from error


def _named(text: str, views: Mapping[str, TableVersion]) -> dict[str, TableVersion]:
    """The views that a question names; only these are opened and verified."""
    try:
        parsed = sqlglot.parse_one(text, read="duckdb")
    except SqlglotError as error:
        raise StoreError(f"the question is not SQL: {str(error).splitlines()[0]}") from None
    if not isinstance(parsed, exp.Query):
        raise StoreError("the question is no SELECT; exactly one SELECT is allowed: tables are made by assets")
    inside = {cte.alias_or_name for cte in parsed.find_all(exp.CTE)}
    named = {}
    for table in parsed.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            continue  # a function such as range(10); what reads files is refused by the locked connection
        name = f"{table.db}.{table.name}" if table.db else table.name
        if name in views:
            named[name] = views[name]
        elif name not in inside:
            raise StoreError(f"there is no table {name!r}; {did_you_mean(name, views)}")
    return named
