"""Daily partitions: the rows of some days of a feature view are made again, all other days stay as they were.

Belongs here: replacing the days of a range in a view's table, as one new version.
Does not belong here: running a view's whole history (`feature_views.py`), which days are due (`assets/`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time

from forecastle.contract.errors import StoreError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.system import FeatureView
from forecastle.store.delta_log import NO_VERSION, TableName, TableVersion
from forecastle.store.feature_views import KIND, source_tables, view_audits, view_columns
from forecastle.store.selects import Window, select, select_facts
from forecastle.store.sql import column_list, one_row
from forecastle.store.warehouse import Warehouse


def publish_days(
    warehouse: Warehouse, system: LoadedSystem, name: str, *, start: datetime, end: datetime
) -> TableVersion:
    """Make the rows of a view with `event_at` from `start` up to, and without, `end` anew and publish the table.

    `start` and `end` are midnights in UTC. Source rows from `start − lookback` are read. The new version holds those
    rows and, value for value, those of all other days; commit facts name the days. Days nobody made are not there.

    Raises:
        StoreError: the view has no partitions; the range is not whole days; other days were made by other SQL; or what
            `run_view` raises. The old version stays.
        ConflictError: another run published the view meanwhile.
    """
    view = system.declaration.feature_views[name]
    window = _window(name, view, start, end)
    entity, text = system.declaration.entity[view.entity], system.sql[view.sql]
    table, what = TableName(system.name, KIND, name), f"feature view {name}"
    base, reads = warehouse.version(table), source_tables(system, view.sql)
    columns, order = view_columns(view, entity), (*entity.keys, "known_at", "event_at")
    with (
        select(warehouse, text, reads, columns=columns, order_by=order, what=what, window=window) as selection,
        warehouse.connect() as connection,
    ):
        connection.register("__made", selection.batches)
        facts = {**select_facts(text, selection), "days": f"{start:%Y-%m-%d} up to {end:%Y-%m-%d}"}
        relations = ["__made"]
        if base is not None:
            others = f"({warehouse.relation(base)}) WHERE NOT ({window.inside()})"
            (kept,) = one_row(connection, f"SELECT count(*) FROM {others}")
            _check_same_sql(base, facts["sql_sha256"], columns=tuple(columns), kept=kept)
            relations += [others] if kept else []
        return warehouse.publish(
            table,
            _together(relations, columns=tuple(columns), order_by=order),
            connection=connection,
            audits=view_audits(view, entity),
            facts=facts,
            expected_version=NO_VERSION if base is None else base.version,
        )


def _together(relations: Sequence[str], *, columns: Sequence[str], order_by: Sequence[str]) -> str:
    rows = " UNION ALL ".join(f"SELECT {column_list(columns)} FROM {relation}" for relation in relations)
    return f"SELECT * FROM ({rows}) ORDER BY {column_list(order_by)}"


def _window(name: str, view: FeatureView, start: datetime, end: datetime) -> Window:
    if view.partition is None:
        raise StoreError(
            f"feature view {name} has no partitions; declare partition: {{daily_since: …}} or run it whole"
        )
    first, last = start.astimezone(UTC), end.astimezone(UTC)
    if any(at.time() != time.min for at in (first, last)) or first >= last:
        raise StoreError(f"got {start.isoformat()} to {end.isoformat()}; give two midnights in UTC, the later one last")
    return Window(first, last, lookback=view.partition.lookback)


def _check_same_sql(base: TableVersion, sql_sha256: str, *, columns: tuple[str, ...], kept: int) -> None:
    """Days of one table come from one text of SQL, so that a change of it is a backfill of all days."""
    if kept and (base.facts.get("sql_sha256") != sql_sha256 or tuple(base.columns) != columns):
        raise StoreError(
            f"{base.name}: {kept} row(s) of other days were made by other SQL than this; backfill all days at once"
        )
