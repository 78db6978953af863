"""Daily partitions: a backfill of a range, day by day or at once, is the whole-history run, row for row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import dagster as dg
import pytest

from assets.features import build_features
from assets.sources import build_source
from forecastle.contract.errors import ConflictError, StoreError
from forecastle.contract.load import LoadedSystem, load_system
from forecastle.store.feature_views import publish_view
from forecastle.store.partitions import publish_days
from forecastle.store.sources import ingest
from forecastle.store.warehouse import Warehouse
from resources.environment import resources_from
from tests.store.weather import START, write_readings, write_system

DAYS = 12
DAY = timedelta(days=1)
TABLE = "weather/features/warmth"
# The mean of what was known by then of the three days up to a reading: no row depends on anything older.
MEANS = """
SELECT here.station_id AS station_id, here.event_at AS event_at, here.known_at AS known_at,
  AVG(near.celsius ORDER BY near.event_at, near.known_at) AS celsius, MIN(near.celsius) < 0 AS is_cold
FROM readings AS here
INNER JOIN readings AS near
  ON near.station_id = here.station_id
  AND near.event_at <= here.event_at
  AND near.event_at > here.event_at - INTERVAL 3 DAY
  AND near.known_at <= here.known_at
GROUP BY here.station_id, here.event_at, here.known_at
"""


def partitioned(folder: Path, *, lookback: str = "3d", sql: str = MEANS) -> LoadedSystem:
    write_system(folder)
    (folder / "warmth.sql").write_text(sql)
    path = folder / "system.yaml"
    daily = f"ttl: 3d\n    partition: {{daily_since: 2026-01-01, lookback: {lookback}}}\n"
    path.write_text(path.read_text().replace("ttl: 3d\n", daily, 1))
    return load_system(folder)


@pytest.fixture
def system(tmp_path: Path) -> LoadedSystem:
    return partitioned(tmp_path / "weather")


def fresh(folder: Path, system: LoadedSystem, *, days: int = DAYS) -> Warehouse:
    """A warehouse that holds the readings."""
    clock: Iterator[datetime] = (START + timedelta(days=40, minutes=n) for n in count())
    warehouse = Warehouse(folder / "warehouse", clock=lambda: next(clock))
    write_readings(folder, days=days, lag_hours=2)
    ingest(warehouse, "weather", "readings", system.declaration.sources["readings"], data=folder)
    return warehouse


def test_backfill_by_range_by_day_and_whole_are_equal(tmp_path: Path, system: LoadedSystem) -> None:
    """Three ways to make the same days give the same rows in the same order: one content hash, one file."""
    hashes = []
    for name, step in (("whole", None), ("range", DAYS), ("days", 1), ("weeks", 5)):
        warehouse = fresh(tmp_path / name, system)
        if step is None:
            publish_view(warehouse, system, "warmth")
        for first in range(0, DAYS, step or DAYS):
            if step is not None:
                start = START + first * DAY
                publish_days(warehouse, system, "warmth", start=start, end=start + step * DAY)
        version = warehouse.resolve(TABLE)
        assert version.rows > DAYS * 3
        hashes.append((version.content_hash, warehouse.arrow(version).to_pylist()))
    assert all(found == hashes[0] for found in hashes)


def test_days_may_come_in_any_order(tmp_path: Path, system: LoadedSystem) -> None:
    """A gap that is filled later, and a day made twice, end in the same table."""
    whole = publish_view(fresh(tmp_path / "whole", system), system, "warmth")
    warehouse = fresh(tmp_path / "parts", system)
    for first in (9, 2, 2, 0, 5, 10, 11, 1, 7, 8, 3, 4, 6):
        version = publish_days(warehouse, system, "warmth", start=START + first * DAY, end=START + (first + 1) * DAY)
    assert version.content_hash == whole.content_hash
    assert publish_days(warehouse, system, "warmth", start=START, end=START + DAY).unchanged


def test_a_new_day_leaves_the_others_alone(tmp_path: Path, system: LoadedSystem) -> None:
    """Materialising the newest day changes rows of that day only, and the commit says which day."""
    warehouse = fresh(tmp_path, system, days=6)
    publish_days(warehouse, system, "warmth", start=START, end=START + 5 * DAY)
    before = warehouse.arrow(TABLE).to_pylist()
    version = publish_days(warehouse, system, "warmth", start=START + 5 * DAY, end=START + 6 * DAY)
    after = warehouse.arrow(TABLE).to_pylist()
    assert [row for row in after if row["event_at"] < START + 5 * DAY] == before
    assert len(after) == len(before) + 6  # three stations, each restated once on the fifth day
    assert version.facts["days"] == "2026-01-06 up to 2026-01-07"


def test_a_lookback_that_is_too_short_shows(tmp_path: Path) -> None:
    """The equality is a real test: with a lookback of one day the means differ from the whole-history run's."""
    short = partitioned(tmp_path / "short" / "weather", lookback="1d")
    whole = publish_view(fresh(tmp_path / "whole", short), short, "warmth")
    warehouse = fresh(tmp_path / "parts", short)
    for first in range(DAYS):
        version = publish_days(warehouse, short, "warmth", start=START + first * DAY, end=START + (first + 1) * DAY)
    assert version.rows == whole.rows
    assert version.content_hash != whole.content_hash


def test_other_sql_needs_all_days_at_once(tmp_path: Path, system: LoadedSystem) -> None:
    """Days of two texts never stand in one table; a backfill of all days replaces them."""
    warehouse = fresh(tmp_path, system)
    publish_view(warehouse, system, "warmth")
    changed = partitioned(tmp_path / "changed" / "weather", sql=MEANS.replace("MIN", "MAX"))
    with pytest.raises(StoreError, match="made by other SQL than this; backfill all days at once"):
        publish_days(warehouse, changed, "warmth", start=START, end=START + DAY)
    assert publish_days(warehouse, changed, "warmth", start=START, end=START + DAYS * DAY).version == 1


@pytest.mark.parametrize(
    ("start", "end"),
    [(START, START), (START + DAY, START), (START + timedelta(hours=1), START + DAY), (START, START + DAY / 2)],
)
def test_only_whole_days_are_partitions(tmp_path: Path, system: LoadedSystem, start: datetime, end: datetime) -> None:
    """A range of nothing, backwards or of half a day is refused."""
    with pytest.raises(StoreError, match="two midnights in UTC"):
        publish_days(fresh(tmp_path, system), system, "warmth", start=start, end=end)


def test_a_view_without_partitions_is_run_whole(tmp_path: Path) -> None:
    """The refusal says what to declare."""
    plain = write_system(tmp_path / "weather")
    with pytest.raises(StoreError, match="declare partition"):
        publish_days(fresh(tmp_path, plain), plain, "warmth", start=START, end=START + DAY)


def test_two_runs_of_one_table_are_serialised(
    tmp_path: Path, system: LoadedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that read the table before another published it is refused: no day of the other is lost."""
    warehouse = fresh(tmp_path, system)
    publish_days(warehouse, system, "warmth", start=START, end=START + DAY)
    held = Warehouse(
        warehouse.root,
        clock=lambda: START + 50 * DAY,
        crash_at=lambda point: other() if point == "publish.after_write" else None,
    )

    def other() -> None:
        publish_days(warehouse, system, "warmth", start=START + DAY, end=START + 2 * DAY)

    with pytest.raises(ConflictError, match="run it again"):
        publish_days(held, system, "warmth", start=START + 2 * DAY, end=START + 3 * DAY)
    assert {row["event_at"].day for row in warehouse.arrow(TABLE).to_pylist()} == {1, 2}


def test_dagster_backfills_a_range_in_one_run(tmp_path: Path, system: LoadedSystem) -> None:
    """One run materialises every partition of a range; a run without partitions makes the whole history."""
    write_readings(tmp_path / "data", days=DAYS, lag_hours=2)
    now = datetime(2026, 2, 1, tzinfo=UTC).isoformat()
    names = {"HOME": str(tmp_path / "home"), "DATA": str(tmp_path / "data"), "NOW": now}
    resources = resources_from({f"FORECASTLE_{name}": value for name, value in names.items()})
    platform = resources["platform"]
    assets = [build_source(system, "readings"), build_features(system, "warmth")]
    ends = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    tags = dict(zip(ends, ("2026-01-01", "2026-01-12"), strict=True))
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize(assets[:1], instance=instance, resources=resources).success
        found = dg.materialize(assets, selection=assets[1:], instance=instance, resources=resources, tags=tags)
        assert found.success
        made = instance.get_materialized_partitions(dg.AssetKey(["weather", "features", "warmth"]))
        assert len(made) == DAYS
        backfilled = platform.warehouse().resolve(TABLE)
        assert dg.materialize(assets, instance=instance, resources=resources).success
        whole = platform.warehouse().resolve(TABLE)
    assert backfilled.facts["days"] == "2026-01-01 up to 2026-01-13"
    assert whole.content_hash == backfilled.content_hash
