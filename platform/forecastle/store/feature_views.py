"""Feature views: a view's SQL over source tables becomes a published table that keeps its contract.

Belongs here: running a view, its audits, the table of rows that can ever win a point-in-time join.
Does not belong here: the join (`point_in_time.py`), pushing online (`push.py`), label SQL (`labels.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import duckdb

from forecastle.contract.column import Column
from forecastle.contract.load import LoadedSystem
from forecastle.contract.system import Entity, FeatureView
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.rules import broken_rules
from forecastle.store.selects import Tables, publish_select
from forecastle.store.sql import column_list, one_row, quote_ident
from forecastle.store.warehouse import Audit, Warehouse

KIND: Final = "features"
TIMES: Final = ("event_at", "known_at")


def publish_view(
    warehouse: Warehouse, system: LoadedSystem, name: str, *, as_of: datetime | None = None
) -> TableVersion:
    """Run one declared view of a system over its published sources and publish `features/<name>`.

    Raises:
        StoreError: see `run_view`, or a source has no table yet.
    """
    view = system.declaration.feature_views[name]
    return run_view(
        warehouse,
        TableName(system.name, KIND, name),
        view,
        entity=system.declaration.entity[view.entity],
        text=system.sql[view.sql],
        sources=source_tables(system, view.sql),
        as_of=as_of,
    )


def run_view(
    warehouse: Warehouse,
    table: TableName,
    view: FeatureView,
    *,
    entity: Entity,
    text: str,
    sources: Tables,
    as_of: datetime | None = None,
) -> TableVersion:
    """Run a view's SQL (`text`) over its sources' whole history and publish the result as `table`.

    `as_of` reads the versions of sources that were written at or before that time.

    Columns: entity keys, `event_at`, `known_at`, features in declared order; sorted by keys, `known_at`,
    `event_at`. Commit facts name the SHA-256 of the SQL and the version of every source read.

    Raises:
        StoreError: the SQL or its columns do not fit, a value breaks its contract, a key or time is null, or two rows
            share keys, `event_at` and `known_at` (which of them would win is undefined). The old version stays.
    """
    return publish_select(
        warehouse,
        table,
        text,
        {name: warehouse.resolve(source, as_of=as_of) for name, source in sources.items()},
        columns=view_columns(view, entity),
        order_by=(*entity.keys, "known_at", "event_at"),
        what=f"feature view {table.name}",
        audits=view_audits(view, entity),
    )


def source_tables(system: LoadedSystem, file: str) -> dict[str, TableName]:
    """The tables that a SQL file of the system reads."""
    return {name: TableName(system.name, "source", name) for name in system.reads(file)}


def view_columns(view: FeatureView, entity: Entity) -> dict[str, str]:
    """Columns of a view's table in order: name → contract dtype."""
    features = {name: feature.dtype for name, feature in view.features.items()}
    return {**entity.keys, **dict.fromkeys(TIMES, "timestamp"), **features}


def view_audits(view: FeatureView, entity: Entity) -> tuple[Audit, ...]:
    """What a view's rows must keep before they are visible."""
    plain = {name: Column(dtype=dtype) for name, dtype in entity.keys.items()}
    times = {name: Column(dtype="timestamp") for name in TIMES}
    return (contract_audit({**plain, **times, **view.features}), unique_audit((*entity.keys, "known_at", "event_at")))


def contract_audit(columns: Mapping[str, Column]) -> Audit:
    """An audit: every value keeps its column's contract."""

    def audit(connection: duckdb.DuckDBPyConnection, relation: str) -> list[str]:
        return broken_rules(connection, relation, columns)

    return audit


def unique_audit(columns: Sequence[str]) -> Audit:
    """An audit: no two rows share these columns; told in one pass where the rows are sorted by them."""

    def audit(connection: duckdb.DuckDBPyConnection, relation: str) -> list[str]:
        if _is_strictly_sorted(connection, relation, columns):
            return []
        keys = column_list(columns)
        example, groups = one_row(
            connection,
            f"SELECT any_value(row({keys})::VARCHAR), count(*) FROM"
            f" (SELECT {keys} FROM {relation} GROUP BY {keys} HAVING count(*) > 1)",
        )
        shared = ", ".join(columns)
        told = f"{groups} group(s) of rows share {shared}, such as {example}; aggregate them in the SQL"
        return [told] if groups else []

    return audit


def _is_strictly_sorted(connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str]) -> bool:
    """Does each row come after the one before it? Then no two are equal, without grouping millions of rows."""
    before = [f"lag({quote_ident(name)}) OVER () AS before_{number}" for number, name in enumerate(columns)]
    comes_after = "FALSE"
    for number, name in reversed(list(enumerate(columns))):
        value = quote_ident(name)
        comes_after = f"({value} > before_{number} OR ({value} = before_{number} AND {comes_after}))"
    (unproven,) = one_row(
        connection,
        f"SELECT count(*) FROM (SELECT {column_list(columns)}, row_number() OVER () AS place, {', '.join(before)}"
        f" FROM {relation}) WHERE place > 1 AND ({comes_after}) IS NOT TRUE",
    )
    return bool(unproven == 0)
