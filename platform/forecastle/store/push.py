"""Push: the newest known row of each entity goes from a feature view's table to the online store.

Belongs here: choosing that row and handing it over in batches.
Does not belong here: the stores, TTL (it is applied when read, so that a stale row is told and not hidden).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import duckdb

from forecastle.contract.load import LoadedSystem
from forecastle.contract.system import Entity, FeatureView
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.feature_views import KIND
from forecastle.store.online import OnlineStore, OnlineView
from forecastle.store.sql import column_list, instant
from forecastle.store.warehouse import Warehouse

BATCH_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class PushCount:
    """What one push did: entities with a known row, rows stored (others were newer already), the version
    read.
    """

    view: str
    entities: int
    stored: int
    version: TableVersion

    def metadata(self) -> dict[str, int | str]:
        """The same, flat, for a log or a page."""
        return {
            "view": self.view,
            "entities": self.entities,
            "stored": self.stored,
            "table": str(self.version.name),
            "version": self.version.version,
        }


def push_view(
    warehouse: Warehouse, online: OnlineStore, system: LoadedSystem, name: str, *, now: datetime
) -> PushCount:
    """Push one declared view: per entity the latest event, then the latest known, of rows usable at `now`.

    A row is usable when `known_at ≤ now` and `event_at ≤ now`, as in the point-in-time join with `predict_at
    = now`.

    Raises:
        StoreError: the view has no table yet, or the online store refuses.
    """
    view = system.declaration.feature_views[name]
    columns = online_view(name, view, system.declaration.entity[view.entity])
    version = warehouse.resolve(TableName(system.name, KIND, name))
    stored = entities = 0
    with warehouse.connect() as connection:
        for batch in newest_rows_by_entity(connection, warehouse.relation(version), columns, now):
            entities += len(batch)
            stored += online.write(columns, batch)
    if not entities:
        online.write(columns, ())
    return PushCount(name, entities, stored, version)


def online_view(name: str, view: FeatureView, entity: Entity) -> OnlineView:
    """The columns of a view as the online store keeps them."""
    return OnlineView(name, dict(entity.keys), {feature: f.dtype for feature, f in view.features.items()})


def newest_rows_by_entity(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: OnlineView, now: datetime
) -> Iterator[list[tuple[Any, ...]]]:
    """Per entity the row that the online store should hold at `now`, as it takes them, in batches, by key."""
    keys = column_list(columns.keys)
    features = "".join(f", {column_list([feature])}" for feature in columns.features)
    result = connection.execute(
        f"SELECT {keys}, epoch_us(event_at), epoch_us(known_at){features} FROM ({relation})"
        f" WHERE event_at <= {instant(now)} AND known_at <= {instant(now)}"
        f" QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY event_at DESC, known_at DESC) = 1 ORDER "
        f"BY {keys}"
    )
    while batch := result.fetchmany(BATCH_ROWS):
        yield batch
