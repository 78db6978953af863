"""Source rows behind an answer: of the entity, by what was known, the newest event first."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from forecastle.contract.feature_set import ViewSpec
from forecastle.serve.source_rows import source_rows
from forecastle.store.feature_views import publish_view
from forecastle.store.sources import ingest
from forecastle.store.warehouse import Warehouse
from tests.store.weather import START, write_readings, write_system

WARMTH = ViewSpec("warmth", ("station_id",), 259_200.0, ("celsius", "is_cold"), "")


def test_an_old_event_restated_today_is_not_the_newest(tmp_path: Path) -> None:
    """Day 5 (noon of the 6th, known 30 hours later) is restated on the 9th at 18:00, when day 7 was just known.

    What is known by then: days 0 to 7 and the restatements of days 0 and 5, ten rows. The view serves day 7; its row
    comes first, and the restated day 5 stands before what it replaced.
    """
    system = write_system(tmp_path / "weather")
    write_readings(tmp_path / "data")
    warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: START + timedelta(days=30))
    ingest(warehouse, "weather", "readings", system.declaration.sources["readings"], data=tmp_path / "data")
    publish_view(warehouse, system, "warmth")
    known_at = START + timedelta(days=8, hours=18)
    features = {"celsius": {"known_at": known_at.isoformat()}}
    (rows,) = source_rows(warehouse, system, [WARMTH], entity={"station_id": 1}, features=features)
    assert (rows.count, rows.by_entity, rows.known_until) == (10, True, known_at)
    days = [(int(row["read_at"][8:10]) - 1, row["celsius"]) for row in rows.newest]
    assert days == [(7, -2.0), (6, 4.0), (5, 4.0), (5, 3.0), (4, 2.0)]
