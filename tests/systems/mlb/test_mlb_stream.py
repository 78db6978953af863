"""Lines replayed at speed into push ingestion: in order, paced, once each, and online as the whole history has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from forecastle.contract.load import LoadedSystem
from forecastle.store.events import EventQueue
from forecastle.store.online_sqlite import SQLiteOnlineStore
from forecastle.store.push import online_view
from forecastle.store.stream_inputs import push_events
from forecastle.store.stream_log import StreamLog
from forecastle.store.streams import StreamWorker, open_inputs
from tests.systems.mlb.conftest import NOW, run_sql
from tests.systems.sources import sources_of, train_on

LIVE_SINCE = NOW - timedelta(hours=12)


@pytest.fixture(scope="module")
def halves(season: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The season with an archive that ends twelve hours before now, and a recording of the lines since."""
    data = tmp_path_factory.mktemp("halves")
    (data / "mlb").mkdir()
    for path in (season / "mlb").glob("*.parquet"):
        (data / "mlb" / path.name).write_bytes(path.read_bytes())
    lines = pq.read_table(season / "mlb" / "lines_2016.parquet")
    is_live = pc.greater(lines["entered_ts"], LIVE_SINCE)
    pq.write_table(lines.filter(pc.invert(is_live)), data / "mlb" / "lines_2016.parquet")
    pq.write_table(lines.filter(is_live), data / "recording.parquet")
    return data, data / "recording.parquet"


def test_replayed_lines_are_online_as_the_whole_history_has_them(
    mlb: LoadedSystem, season: Path, halves: tuple[Path, Path], tmp_path: Path
) -> None:
    """Archive and stream together give the newest row of every game that a line touched, value for value."""
    data, recording = halves
    warehouse, _ = train_on(mlb, data, tmp_path, now=LIVE_SINCE)
    declared = mlb.declaration.feature_views["line_movement"]
    view = online_view("line_movement", declared, mlb.declaration.entity["game"])
    replay, events = mlb.function("replay:replay"), mlb.function("replay:events")
    with (
        closing(EventQueue(tmp_path / "events.sqlite")) as queue,
        closing(StreamLog(tmp_path / "live.sqlite")) as log,
        closing(SQLiteOnlineStore(tmp_path / "online.sqlite")) as online,
        StreamWorker(
            mlb,
            warehouse=warehouse,
            online=online,
            log=log,
            inputs=open_inputs(mlb, queue=queue, environment={}),
            clock=lambda: NOW,
            lock=tmp_path / "lock",
        ) as worker,
    ):

        def send(batch: list[dict[str, object]]) -> None:
            ids = [f"{line['game_id']}-{line['seq']}" for line in batch]
            bodies = [json.dumps(line).encode() for line in batch]
            push_events(queue, "live_lines", bodies, ids=ids, now_us=int(NOW.timestamp() * 1e6))
            worker.step(timeout_seconds=0)

        sent = replay(events(recording), send, speed=0)
        assert sent == log.counts("live_lines").rows > 50
        assert replay(events(recording), send, speed=0) == sent
        assert log.counts("live_lines").rows == sent
        served = {game: online.read([view], (game,))["line_movement"] for game in _games(recording)}
    whole = run_sql(mlb, sources_of(mlb, season), "line_movement.sql").sort_values(["event_at", "known_at"])
    newest = whole.drop_duplicates("game_id", keep="last").set_index("game_id")
    compared = 0
    for game, row in served.items():
        if game not in newest.index:
            continue
        assert row is not None
        assert row.values == tuple(  # noqa: PD011  a stored row
            newest.loc[game, name] for name in declared.features
        )
        compared += 1
    assert compared > 5


def test_replay_keeps_the_recorded_pace(mlb: LoadedSystem) -> None:
    """At a speed of 60 lines one and three minutes after the first go out one and three seconds after it."""
    replay = mlb.function("replay:replay")
    now, sent = [0.0], []

    def wait(seconds: float) -> None:
        now[0] += seconds

    def lines() -> Iterator[dict[str, object]]:
        for minute in (0, 1, 3):
            yield {"entered_ts": (NOW + timedelta(minutes=minute)).isoformat(), "seq": minute}

    count = replay(
        lines(), lambda batch: sent.extend((now[0], line["seq"]) for line in batch), speed=60.0,
        clock=lambda: now[0], wait=wait,
    )  # fmt: skip
    # What is due is sent before the next wait, so the line of minute 1 leaves at second 1.
    assert (count, sent) == (3, [(0.0, 0), (1.0, 1), (3.0, 3)])


def test_a_recording_is_told_as_the_stream_takes_it(mlb: LoadedSystem, halves: tuple[Path, Path]) -> None:
    """In order of entry, with exactly the columns that the stream declares."""
    told = list(mlb.function("replay:events")(halves[1]))
    assert set(told[0]) == set(mlb.declaration.sources["live_lines"].columns)
    times = [pd.Timestamp(str(line["entered_ts"])) for line in told]
    assert times == sorted(times)


def _games(recording: Path) -> list[str]:
    return sorted(set(pq.read_table(recording)["game_id"].to_pylist()))
