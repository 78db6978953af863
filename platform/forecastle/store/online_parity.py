"""Parity of the online store: every row that stands there is the warehouse's for the same entity and moment.

Belongs here: reading the warehouse's newest known row of each entity and the online row beside it.
Does not belong here: answers of the past (`parity.py`), pushing (`push.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import duckdb
import pandas as pd
import pyarrow as pa

from forecastle.contract.load import LoadedSystem
from forecastle.store.delta_log import TableName
from forecastle.store.feature_views import KIND
from forecastle.store.online import OnlineRow, OnlineStore, OnlineView
from forecastle.store.parity import DIFFERENCE_COLUMNS, ParityReport
from forecastle.store.push import newest_rows_by_entity, online_view
from forecastle.store.sql import column_list, quote_ident
from forecastle.store.warehouse import Warehouse

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Pair(NamedTuple):
    """One entity's online row beside the warehouse's newest known one."""

    key: tuple[Any, ...]
    stored: OnlineRow
    offline: OnlineRow


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
    width = len(columns.features)
    compared = behind = ahead = found = 0
    differing: list[tuple[Any, ...]] = []
    with warehouse.connect() as connection, connection.cursor() as cursor:
        warehouse.attach(connection, {"__view": version})
        for batch in newest_rows_by_entity(cursor, warehouse.relation(version), columns, now):
            pairs = _pairs(online, columns, batch)
            compared, found, behind = compared + len(batch), found + len(pairs), behind + len(batch) - len(pairs)
            unlike = [pair for pair in pairs if pair.stored != pair.offline]
            held = _held(connection, columns, unlike)
            for number, pair in enumerate(unlike):
                if fed and _times(pair.stored) > _times(pair.offline):
                    ahead += 1
                elif number in held and _times(pair.stored) < _times(pair.offline):
                    behind += 1
                else:
                    differing += _differences(columns, pair)
    unknown = online.count(name) - found
    if unknown and not fed:
        differing.append(
            (f"view {name}", "", "PRESENT", unknown, 0, "entities online that the warehouse does not know")
        )
    ahead += unknown if fed else 0
    differences = pd.DataFrame(differing, columns=pd.Index(DIFFERENCE_COLUMNS))
    return ParityReport(compared * width, behind * width, ahead * width, differences)


def _pairs(online: OnlineStore, columns: OnlineView, batch: list[tuple[Any, ...]]) -> list[_Pair]:
    """Entities of a batch that have an online row."""
    at, pairs = len(columns.keys), []
    for row in batch:
        stored = online.read([columns], row[:at])[columns.name]
        if stored is not None:
            pairs.append(_Pair(row[:at], stored, OnlineRow(tuple(row[at + 2 :]), row[at], row[at + 1])))
    return pairs


def _held(connection: duckdb.DuckDBPyConnection, columns: OnlineView, pairs: Sequence[_Pair]) -> frozenset[int]:
    """Numbers of the pairs whose very online row the warehouse holds."""
    if not pairs:
        return frozenset()
    asked: dict[str, list[Any]] = {key: [pair.key[n] for pair in pairs] for n, key in enumerate(columns.keys)}
    times = zip(*(_times(pair.stored) for pair in pairs), strict=True)
    asked |= dict(zip(("__event_at_us", "__known_at_us"), map(list, times), strict=True))
    connection.register("__asked", pa.table({"__number": list(range(len(pairs))), **asked}))
    same = " AND ".join(f"v.{key} = a.{key}" for key in map(quote_ident, columns.keys))
    rows = connection.execute(
        f"SELECT a.__number, {column_list(columns.features, table='v')} FROM __asked AS a JOIN __view AS v ON {same}"
        " AND epoch_us(v.event_at) = a.__event_at_us AND epoch_us(v.known_at) = a.__known_at_us"
    ).fetchall()
    connection.unregister("__asked")
    return frozenset(
        number for number, *values in rows if pairs[number].stored == (tuple(values), *_times(pairs[number].stored))
    )


def _times(row: OnlineRow) -> tuple[int, int]:
    return row.event_at_us, row.known_at_us


def _differences(columns: OnlineView, pair: _Pair) -> list[tuple[Any, ...]]:
    key, stored, offline = pair
    where = ", ".join(f"{name} {value}" for name, value in zip(columns.keys, key, strict=True))
    values = zip(columns.features, stored.values, offline.values, strict=True)
    told = [(where, f, "PRESENT", a, b, "another value than the warehouse's row") for f, a, b in values if a != b]
    times = f"of {_EPOCH + timedelta(microseconds=stored.event_at_us)}, which the warehouse does not hold"
    return told or [(where, "", "PRESENT", None, None, f"a row {times}")]
