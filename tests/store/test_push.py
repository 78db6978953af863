"""Pushing: the online value at an instant is the point-in-time answer at that instant."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from forecastle.contract.errors import StoreError
from forecastle.contract.load import LoadedSystem
from forecastle.store.feature_views import publish_view
from forecastle.store.online_sqlite import SQLiteOnlineStore
from forecastle.store.point_in_time import ViewJoin, point_in_time_join
from forecastle.store.push import online_view, push_view
from forecastle.store.sources import ingest
from forecastle.store.sql import instant
from forecastle.store.warehouse import Warehouse
from tests.store.weather import START, write_readings, write_system


@pytest.fixture
def system(tmp_path: Path) -> LoadedSystem:
    return write_system(tmp_path / "weather")


@pytest.fixture
def warehouse(tmp_path: Path, system: LoadedSystem) -> Warehouse:
    made = Warehouse(tmp_path / "warehouse", clock=lambda: START)
    write_readings(tmp_path / "data")
    ingest(made, "weather", "readings", system.declaration.sources["readings"], data=tmp_path / "data")
    publish_view(made, system, "warmth")
    return made


@pytest.fixture
def online(tmp_path: Path) -> SQLiteOnlineStore:
    return SQLiteOnlineStore(tmp_path / "online.sqlite")


@pytest.mark.parametrize("hours", [0, 42, 43, 100, 186, 234, 1000])
def test_online_and_offline_agree_at_any_instant(
    warehouse: Warehouse, online: SQLiteOnlineStore, system: LoadedSystem, hours: int
) -> None:
    """What is stored online after a push at t is what a label with predict_at = t joins, restatements included."""
    now = START + timedelta(hours=hours)
    pushed = push_view(warehouse, online, system, "warmth", now=now)
    view = system.declaration.feature_views["warmth"]
    columns = online_view("warmth", view, system.declaration.entity["station"])
    with warehouse.connect() as connection:
        warehouse.attach(connection, {"view": "weather/features/warmth"})
        connection.execute(
            f"CREATE TEMP TABLE labels AS SELECT i AS station_id, {instant(now)} AS predict_at FROM range(4) t(i)"
        )
        join = ViewJoin("view", "view", ("station_id",), timedelta(days=9999), tuple(view.features))
        point_in_time_join(connection, "labels", [join], output="joined")
        offline = connection.execute(
            "SELECT celsius, is_cold, epoch_us(view__event_at), epoch_us(view__known_at) FROM joined"
        ).fetchall()
    rows = [online.read([columns], (station,))["warmth"] for station in range(4)]
    found = [(*r.values, r.event_at_us, r.known_at_us) if r else (None,) * 4 for r in rows]
    assert found == offline
    assert pushed.entities == sum(row is not None for row in rows) == online.count("warmth")


def test_pushing_again_or_earlier_changes_nothing(
    warehouse: Warehouse, online: SQLiteOnlineStore, system: LoadedSystem
) -> None:
    """A repeated push leaves the same rows, and a push for an earlier instant never brings back an older value."""
    columns = online_view("warmth", system.declaration.feature_views["warmth"], system.declaration.entity["station"])
    late, early = START + timedelta(days=12), START + timedelta(days=4)
    first = push_view(warehouse, online, system, "warmth", now=late)
    before = online.read([columns], (1,))
    push_view(warehouse, online, system, "warmth", now=late)
    push_back = push_view(warehouse, online, system, "warmth", now=early)
    assert online.read([columns], (1,)) == before
    assert (first.stored, push_back.stored) == (3, 0)
    assert first.metadata() == {
        "view": "warmth", "entities": 3, "stored": 3, "table": "weather/features/warmth", "version": 0,
    }  # fmt: skip


def test_an_empty_push_still_makes_the_view(
    warehouse: Warehouse, online: SQLiteOnlineStore, system: LoadedSystem
) -> None:
    """Before anything is known there is no row, and readers are told "missing", not an error."""
    assert push_view(warehouse, online, system, "warmth", now=START).entities == 0
    assert online.count("warmth") == 0


def test_a_view_without_a_table_is_told(tmp_path: Path, online: SQLiteOnlineStore, system: LoadedSystem) -> None:
    """A view that was never materialised cannot be pushed."""
    with pytest.raises(StoreError, match="materialise it first"):
        push_view(Warehouse(tmp_path / "empty", clock=lambda: START), online, system, "warmth", now=START)
