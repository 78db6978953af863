"""A training set of an earlier moment is built again bit for bit, whatever was restated or corrected since."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from forecastle.contract.load import LoadedSystem, load_system
from forecastle.store.delta_log import TableVersion
from forecastle.store.feature_views import publish_view
from forecastle.store.sources import ingest
from forecastle.store.training_set import publish_training_set, rebuild_training_set
from forecastle.store.warehouse import Warehouse
from tests.store.weather import START, write_readings, write_system

BUILT_AT = START + timedelta(days=15)


def train(folder: Path, system: LoadedSystem, warehouse: Warehouse, *, now: datetime) -> TableVersion:
    """Read every source, run every view, build the training set."""
    for name, source in system.declaration.sources.items():
        ingest(warehouse, system.name, name, source, data=folder)
    for name in system.declaration.feature_views:
        publish_view(warehouse, system, name)
    return publish_training_set(warehouse, system, now=now)


def restate(folder: Path, *, seed: int) -> None:
    """History as it is told later: values restated, outcomes corrected, late rows, all known after BUILT_AT."""
    path = folder / "weather" / "readings.parquet"
    rows = pq.read_table(path).to_pylist()
    chance = random.Random(seed)
    later = [
        {
            **row,
            "celsius": row["celsius"] * -1.0 - 0.5,
            "known_at": BUILT_AT + timedelta(hours=1 + chance.randrange(200)),
        }
        for row in rows
        if chance.random() < 0.6
    ]
    later += [{**row, "station_id": 7} for row in later[:5]]
    shuffled = [*rows, *later]
    chance.shuffle(shuffled)
    pq.write_table(pa.Table.from_pylist(shuffled, schema=pq.read_schema(path)), path)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    clock: Iterator[datetime] = (BUILT_AT + timedelta(minutes=n) for n in count())
    return Warehouse(tmp_path / "warehouse", clock=lambda: next(clock))


@pytest.mark.parametrize("seed", range(4))
def test_restated_history_changes_no_earlier_training_set(tmp_path: Path, warehouse: Warehouse, seed: int) -> None:
    """Values restated and outcomes corrected later leave the set of that day as it was; today's set is another."""
    system = write_system(tmp_path / "weather_system" / "weather")
    write_readings(tmp_path, days=25)
    first = train(tmp_path, system, warehouse, now=BUILT_AT)
    restate(tmp_path, seed=seed)
    second = train(tmp_path, system, warehouse, now=BUILT_AT + timedelta(days=20))
    assert second.content_hash != first.content_hash
    rebuilt = rebuild_training_set(warehouse, system, as_of=BUILT_AT)
    assert rebuilt.original == first
    assert rebuilt.same
    assert warehouse.arrow(rebuilt.version).equals(warehouse.arrow(first))


def test_a_label_that_asks_how_far_history_reaches_is_rebuilt_too(tmp_path: Path, warehouse: Warehouse) -> None:
    """Outcomes are told once readings reach a day further: a set built before more of them came stays as it was."""
    folder = write_system(tmp_path / "weather_system" / "weather").folder
    reaches = "(SELECT max(readings.known_at) - INTERVAL 1 DAY AS until FROM readings) AS reached"
    text = (folder / "freezes.sql").read_text().rstrip()
    (folder / "freezes.sql").write_text(f"{text}\nINNER JOIN {reaches} ON readings.known_at <= reached.until\n")
    system = load_system(folder)
    write_readings(tmp_path, days=25)
    path = tmp_path / "weather" / "readings.parquet"
    rows, known_at = pq.read_table(path), pc.field("known_at")
    before = rows.filter(known_at <= BUILT_AT - timedelta(hours=36))
    pq.write_table(before, path)
    first = train(tmp_path, system, warehouse, now=BUILT_AT)
    pq.write_table(pa.concat_tables([before, rows.filter(known_at > BUILT_AT)]), path)
    second = train(tmp_path, system, warehouse, now=BUILT_AT + timedelta(days=20))
    known = warehouse.frame(second, ["known_at"])["known_at"]
    assert (known <= BUILT_AT).sum() > first.rows, "from here, more labels seem to have been known then"
    assert rebuild_training_set(warehouse, system, as_of=BUILT_AT).same


def test_a_moment_without_a_training_set_is_built_and_not_compared(tmp_path: Path, warehouse: Warehouse) -> None:
    """Any moment can be built; only one that was built then has something to be equal to."""
    system = write_system(tmp_path / "weather_system" / "weather")
    write_readings(tmp_path, days=25)
    whole = train(tmp_path, system, warehouse, now=BUILT_AT)
    rebuilt = rebuild_training_set(warehouse, system, as_of=BUILT_AT - timedelta(days=3))
    assert (rebuilt.original, rebuilt.same) == (None, False)
    assert 0 < rebuilt.version.rows < whole.rows


def test_views_that_take_their_own_time_are_caught(tmp_path: Path, warehouse: Warehouse) -> None:
    """A view that calls restated values known from the start rewrites the past: the rebuilt set is not the same."""
    system = write_system(tmp_path / "weather_system" / "weather", known_at="readings.event_at + INTERVAL 30 HOUR")
    folder = system.folder
    sql = (folder / "warmth.sql").read_text()
    newest = "PARTITION BY readings.station_id, readings.event_at ORDER BY readings.known_at DESC"
    (folder / "warmth.sql").write_text(f"{sql.rstrip()}\nQUALIFY row_number() OVER ({newest}) = 1")
    system = load_system(folder)
    write_readings(tmp_path, days=25)
    train(tmp_path, system, warehouse, now=BUILT_AT)
    restate(tmp_path, seed=1)
    train(tmp_path, system, warehouse, now=BUILT_AT + timedelta(days=20))
    assert not rebuild_training_set(warehouse, system, as_of=BUILT_AT).same


MARKET = 886
BUILT_IN = Path(__file__).parents[2] / "platform" / "systems" / "prediction_markets"


def test_a_corrected_outcome_stays_out_of_earlier_training_sets(real_data: Path, tmp_path: Path) -> None:
    """Market 886 was resolved 1 and later corrected: sets built before the correction hold 1, later ones do not."""
    system = load_system(BUILT_IN)
    resolutions = real_data / "prediction_markets" / "resolutions.parquet"
    told = (
        duckdb.connect()
        .execute(
            f"SELECT resolved_to, known_at FROM read_parquet('{resolutions}') WHERE mid = {MARKET} ORDER BY known_at"
        )
        .fetchall()
    )
    assert len({value for value, _ in told}) > 1, "the real correction"
    before, after = (at.replace(tzinfo=UTC) + timedelta(hours=1) for at in (told[0][1], told[-1][1]))
    warehouse = Warehouse(tmp_path, clock=lambda: datetime(2026, 6, 1, tzinfo=UTC))
    for name in ("snapshots", *(n for n in system.declaration.sources if n != "snapshots")):
        ingest(warehouse, system.name, name, system.declaration.sources[name], data=real_data)
    for name in system.declaration.feature_views:
        publish_view(warehouse, system, name)
    outcomes = []
    for as_of in (before, after):
        frame = warehouse.frame(rebuild_training_set(warehouse, system, as_of=as_of).version, ["market_id", "outcome"])
        outcomes.append(set(frame.loc[frame["market_id"] == MARKET, "outcome"]))
    assert outcomes[0] == {int(told[0][0])}
    assert outcomes[1] in ({int(told[-1][0])}, set())
