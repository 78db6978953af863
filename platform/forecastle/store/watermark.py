"""Watermarks: how new the newest row of a table is, by event and by knowledge time.

Belongs here: the two instants that freshness is judged by.
Does not belong here: limits and alarms (declared per source and view, judged in `assets/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from forecastle.contract.errors import StoreError
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.online import OnlineStore
from forecastle.store.sql import one_row
from forecastle.store.warehouse import Warehouse

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Watermark:
    """The newest event and knowledge time of a table version or an online view (UTC; None without rows), and its row
    count.
    """

    event_at: datetime | None
    known_at: datetime | None
    rows: int


def watermark(warehouse: Warehouse, table: TableName | TableVersion | str) -> Watermark:
    """Read the newest times of a table (its newest version unless one is given).

    Raises:
        StoreError: the table has no version or no `event_at` and `known_at`.
    """
    version = warehouse.resolve(table)
    missing = [time for time in ("event_at", "known_at") if time not in version.columns]
    if missing:
        raise StoreError(f"{version.name} has no {' and '.join(missing)}; only sources and feature views have both")
    with warehouse.connect() as connection:
        rows = warehouse.relation(version)
        event_at, known_at = one_row(connection, f"SELECT max(event_at), max(known_at) FROM ({rows})")
    return Watermark(event_at, known_at, version.rows)


def online_watermark(store: OnlineStore, view: str) -> Watermark:
    """The newest times of a view's online rows.

    Raises:
        StoreError: the store refuses.
    """
    newest = store.newest(view)
    return Watermark(_instant(newest.event_at_us), _instant(newest.known_at_us), store.count(view))


def _instant(at_us: int | None) -> datetime | None:
    return None if at_us is None else _EPOCH + timedelta(microseconds=at_us)
