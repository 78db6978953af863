"""A day of real moneylines replayed at speed, by Kafka's protocol and by push: online as the whole history has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from forecastle.contract.load import LoadedSystem
from forecastle.contract.source import Kafka
from forecastle.store.events import EventQueue
from forecastle.store.online_sqlite import SQLiteOnlineStore
from forecastle.store.push import online_view
from forecastle.store.sources import ingest
from forecastle.store.stream_inputs import push_events
from forecastle.store.stream_log import StreamLog
from forecastle.store.streams import StreamWorker, open_inputs
from forecastle.store.warehouse import Warehouse
from tests.store.kafka import mock_cluster
from tests.systems.mlb.conftest import run_sql
from tests.systems.sources import sources_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mlb_real")]

SINCE = datetime(2016, 7, 1, 12, tzinfo=UTC)
UNTIL = SINCE + timedelta(hours=24)
KAFKA = Kafka.model_validate({"bootstrap": {"env": "BROKERS"}, "topic": "lines"})

Send = Callable[[list[dict[str, Any]]], None]


@pytest.fixture(scope="module")
def day(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose archive ends where the recording of the day begins; `whole` ends with the day."""
    folder = tmp_path_factory.mktemp("day")
    lines = pq.read_table(real_data / "mlb" / "lines_2016.parquet")
    entered = lines["entered_ts"]
    for data, until in (("archive", SINCE), ("whole", UNTIL)):
        (folder / data / "mlb").mkdir(parents=True)
        for path in (real_data / "mlb").glob("*.parquet"):
            (folder / data / "mlb" / path.name).write_bytes(path.read_bytes())
        pq.write_table(lines.filter(pc.less(entered, until)), folder / data / "mlb" / "lines_2016.parquet")
    of_the_day = pc.and_(pc.greater_equal(entered, SINCE), pc.less(entered, UNTIL))
    pq.write_table(lines.filter(of_the_day), folder / "recording.parquet")
    return folder


@pytest.fixture(scope="module")
def newest(mlb: LoadedSystem, day: Path) -> dict[str, tuple[Any, ...]]:
    """Features of each game's newest line, from the whole history at once."""
    rows = run_sql(mlb, sources_of(mlb, day / "whole"), "line_movement.sql").sort_values(["event_at", "known_at"])
    features = list(mlb.declaration.feature_views["line_movement"].features)
    last = rows.drop_duplicates("game_id", keep="last").set_index("game_id")[features]
    return dict(zip(last.index, last.itertuples(index=False, name=None), strict=True))


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    """Addresses of brokers that speak Kafka's protocol."""
    with mock_cluster() as made:
        yield made.bootstrap


def by_kafka(mlb: LoadedSystem) -> LoadedSystem:
    """The system with the two lines of the declaration that name a topic."""
    sources = dict(mlb.declaration.sources)
    sources["live_lines"] = sources["live_lines"].model_copy(update={"kafka": KAFKA})
    return replace(mlb, declaration=mlb.declaration.model_copy(update={"sources": sources}))


def pushed(queue: EventQueue) -> Send:
    """What the service does with lines that are posted to /stream."""

    def send(batch: list[dict[str, Any]]) -> None:
        ids = [f"{line['game_id']}-{line['seq']}" for line in batch]
        bodies = [json.dumps(line).encode() for line in batch]
        push_events(queue, "live_lines", bodies, ids=ids, now_us=int(UNTIL.timestamp() * 1e6))

    return send


@pytest.mark.parametrize("way", ["kafka", "push"])
def test_a_day_of_real_lines_is_online_as_the_whole_history_has_it(  # noqa: PLR0917  fixtures
    mlb: LoadedSystem, day: Path, newest: dict[str, tuple[Any, ...]], brokers: str, tmp_path: Path, way: str
) -> None:
    """Though all of it was sent twice: each game's newest row is that of the whole history, value for value."""
    system = by_kafka(mlb) if way == "kafka" else mlb
    warehouse = Warehouse(tmp_path, clock=lambda: SINCE)
    for name in ("games", "lines"):
        ingest(warehouse, "mlb", name, mlb.declaration.sources[name], data=day / "archive")
    declared = mlb.declaration.feature_views["line_movement"]
    view = online_view("line_movement", declared, mlb.declaration.entity["game"])
    recording = day / "recording.parquet"
    games = sorted(set(pq.read_table(recording)["game_id"].to_pylist()))
    with ExitStack() as stack:
        queue = stack.enter_context(closing(EventQueue(tmp_path / "events.sqlite")))
        log = stack.enter_context(closing(StreamLog(tmp_path / "live.sqlite")))
        online = stack.enter_context(closing(SQLiteOnlineStore(tmp_path / "online.sqlite")))
        inputs = open_inputs(system, queue=queue, environment={"BROKERS": brokers})
        worker = stack.enter_context(
            StreamWorker(system, warehouse=warehouse, online=online, log=log, inputs=inputs,
                         clock=lambda: UNTIL, lock=tmp_path / "lock")
        )  # fmt: skip
        send = mlb.function("replay:producer")(brokers, "lines") if way == "kafka" else pushed(queue)
        replay, events = mlb.function("replay:replay"), mlb.function("replay:events")
        sent = replay(events(recording), send, speed=0)
        replay(events(recording), send, speed=0)
        # A topic keeps what was produced twice, /stream does not; the view counts a line once either way.
        expected = sent * (2 if way == "kafka" else 1)
        for _ in range(200):
            worker.step(timeout_seconds=0.2)
            (lag,) = worker.lag()
            # Kafka's lag is that of the newest watermark fetched: it may be 0 while more is on its way.
            if log.counts("live_lines").rows >= expected and not lag.waiting + lag.unapplied:
                break
        stored = log.counts("live_lines").rows
        served = {game: online.read([view], (game,))["line_movement"] for game in games}
    assert stored == expected > 2_000
    compared = {game: row.values for game, row in served.items() if row is not None}
    assert compared == {game: newest[game] for game in games if game in newest}
    assert len(compared) > 10
