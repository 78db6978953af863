"""Parity of the online store: every row that stands there is the warehouse's for the same entity and moment.

Belongs here: reading the warehouse's newest known row of each entity and the online row beside it.
Does not belong here: answers of the past (`parity.py`), pushing (`push.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import duckdb
import pandas as pd

from forecastle.contract.load import LoadedSystem
from forecastle.store.delta_log import TableName
from forecastle.store.feature_views import KIND
from forecastle.store.online import OnlineRow, OnlineStore, OnlineView
from forecastle.store.parity import DIFFERENCE_COLUMNS, ParityReport
from forecastle.store.push import newest_rows_by_entity, online_view
from forecastle.store.sql import quote_ident
from forecastle.store.warehouse import Warehouse

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def online_parity(
    warehouse: Warehouse, online: OnlineStore, system: LoadedSystem, name: str, *, now: datetime, fed: bool = False
) -> ParityReport:
    """Compare the online rows of one view with the warehouse's as of `now`; a value is one feature of one entity.

    A row that is older than the warehouse's counts as behind when the warehouse holds it too. A newer row, or one of an
    entity that the warehouse does not know, is ahead where rows also come straight to the online store (`fed`: by a
    stream, or pushed), else a difference.

    Raises:
        StoreError: the view has no table, or the online store refuses.
    """
    view = system.declaration.feature_views[name]
    columns = online_view(name, view, system.declaration.entity[view.entity])
    version = warehouse.resolve(TableName(system.name, KIND, name))
    compared = behind = ahead = found = 0
    differing: list[tuple[Any, ...]] = []
    with warehouse.connect() as connection:
        warehouse.attach(connection, {"__view": version})
        cursor = connection.cursor()
        for batch in newest_rows_by_entity(cursor, warehouse.relation(version), columns, now):
            for row in batch:
                key, offline = _split(columns, row)
                stored = online.read([columns], key)[name]
                compared += len(columns.features)
                if stored is None:
                    behind += len(columns.features)
                    continue
                found += 1
                if stored == offline:
                    continue
                if fed and _times(stored) > _times(offline):
                    ahead += len(columns.features)
                elif _was_there(connection, columns, key, stored) and _times(stored) < _times(offline):
                    behind += len(columns.features)
                else:
                    differing += _differences(columns, key, stored, offline)
        cursor.close()
    unknown = online.count(name) - found
    if unknown and not fed:
        reason = "entities online that the warehouse does not know"
        differing.append((f"view {name}", "", "PRESENT", unknown, 0, reason))
    ahead += unknown * len(columns.features) if fed else 0
    return ParityReport(compared, behind, ahead, pd.DataFrame(differing, columns=pd.Index(DIFFERENCE_COLUMNS)))


def _split(columns: OnlineView, row: tuple[Any, ...]) -> tuple[tuple[Any, ...], OnlineRow]:
    at = len(columns.keys)
    return row[:at], OnlineRow(tuple(row[at + 2 :]), row[at], row[at + 1])


def _times(row: OnlineRow) -> tuple[int, int]:
    return row.event_at_us, row.known_at_us


def _was_there(
    connection: duckdb.DuckDBPyConnection, columns: OnlineView, key: tuple[Any, ...], stored: OnlineRow
) -> bool:
    """Does the warehouse hold this very row?"""
    where = " AND ".join(f"{quote_ident(k)} = ?" for k in columns.keys)
    chosen = ", ".join(quote_ident(feature) for feature in columns.features)
    moments = [_EPOCH + timedelta(microseconds=at) for at in _times(stored)]
    rows = connection.execute(
        f"SELECT {chosen} FROM __view WHERE {where} AND event_at = ? AND known_at = ?", [*key, *moments]
    ).fetchall()
    return any(OnlineRow(row, *_times(stored)) == stored for row in rows)


def _differences(
    columns: OnlineView, key: tuple[Any, ...], stored: OnlineRow, offline: OnlineRow
) -> list[tuple[Any, ...]]:
    where = ", ".join(f"{name} {value}" for name, value in zip(columns.keys, key, strict=True))
    values = zip(columns.features, stored.values, offline.values, strict=True)
    told = [(where, f, "PRESENT", a, b, "another value than the warehouse's row") for f, a, b in values if a != b]
    times = f"of {_EPOCH + timedelta(microseconds=stored.event_at_us)}, which the warehouse does not hold"
    return told or [(where, "", "PRESENT", None, None, f"a row {times}")]
