"""Streams: each event once through kills and repeats, and the same features as the whole history gives."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import ConflictError, SourceError, StoreError
from forecastle.store.online import OnlineStore, OnlineView
from forecastle.store.online_sqlite import SQLiteOnlineStore
from forecastle.store.stream_features import StreamState
from forecastle.store.stream_inputs import PushInput, Waiting, push_events
from forecastle.store.stream_log import StreamLog
from forecastle.store.streams import open_inputs
from tests.store.stream_world import MARKETS, StreamWorld
from tests.store.trades import START, Trade

TRADES = [Trade(1, 0, 10, 0.5), Trade(2, 0, 20, 0.7), Trade(3, 1, 25, 0.2), Trade(4, 0, 24 * 60 + 15, 0.9)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[StreamWorld]:
    made = StreamWorld(tmp_path)
    yield made
    made.close()


def test_events_become_features_and_a_table(world: StreamWorld) -> None:
    """Hand count: of market 0's trades two lie in the last 24 h of its newest one (minutes 20 and 1455), mean 0.8."""
    world.push_trades(TRADES)
    with world.worker() as worker:
        step = worker.step()
        assert (step.stored, step.dead_letters, step.renewed.entities, step.online) == (4, 0, 2, True)
        assert worker.step(timeout_seconds=0).stored == 0
    row = world.served()[0]
    assert row is not None
    assert row.values == (2, (0.7 + 0.9) / 2, (0 + 1 + 1) / 20 - (0.7 + 0.9) / 2)
    assert world.served() == world.batch_online()
    table = world.warehouse.arrow("trades/source/trades").to_pydict()
    assert table["trade_id"] == [1, 2, 3, 4]
    assert table["traded_at"] == table["event_at"]
    assert (table["side"], table["day"][0]) == (["buy"] * 4, START.date())


def test_a_stream_without_events_is_an_empty_table(world: StreamWorld) -> None:
    """Views can be built before the first event has come."""
    assert world.batch_rows().num_rows == 0
    assert world.served() == dict.fromkeys(MARKETS)


def test_an_event_pushed_twice_counts_once(world: StreamWorld) -> None:
    """The same id is one event; the same trade under another id is one row; other content under an id is refused."""
    body = TRADES[0].body()
    assert push_events(world.queue, "trades", [body, body], ids=["a", "a"], now_us=1) == 1
    assert push_events(world.queue, "trades", [body], ids=["b"], now_us=2) == 1
    with pytest.raises(ConflictError, match="new id"):
        push_events(world.queue, "trades", [TRADES[1].body()], ids=["a"], now_us=3)
    world.drain()
    assert world.log.counts("trades").rows == 2
    assert world.compact().rows == 1
    row = world.served()[0]
    assert row is not None
    assert row.values[0] == 1


POISON = {
    b"\xff\xfe": "json",
    b"{": "json",
    b"[1, 2]": "json",
    b"": "json",
    b"[" * 100_000: "json",
    b'{"trade_id": 1}': "missing",
    TRADES[0].body(price=1.5): "max",
    TRADES[0].body(price="0.5"): "dtype",
    TRADES[0].body(price=None): "nullable",
    TRADES[0].body(trade_id=None): "nullable",
    TRADES[0].body(trade_id=2**80): "dtype",
    TRADES[0].body(trade_id=True): "dtype",
    TRADES[0].body(side="hold"): "allowed",
    TRADES[0].body(traded_at="2026-01-01T00:00:00"): "dtype",
    TRADES[0].body(traded_at="2026-02-30T00:00:00Z"): "dtype",
    TRADES[0].body(traded_at="2027-01-01T00:00:00Z"): "future",
    TRADES[0].body(price=0.5, note="x" * (1 << 20)): "size",
}


class GivenMessages:
    """An input that holds given bodies, for those the queue's text column cannot hold."""

    def __init__(self, bodies: list[bytes]) -> None:
        self.bodies = bodies

    def take(self, following, *, limit, timeout_seconds):
        start = following.get(0, 0)
        return [(0, start + n, body) for n, body in enumerate(self.bodies[start : start + limit])]

    def waiting(self, following) -> Waiting:
        return Waiting(len(self.bodies) - following.get(0, 0))

    def close(self) -> None:
        self.bodies = []


def test_poison_goes_to_the_dead_letters_and_the_worker_goes_on(world: StreamWorld) -> None:
    """Every kind of bad message stands there with its offset and rule; the good ones between them are stored."""
    bodies = [each for poison in POISON for each in (poison, Trade(len(poison), 0, 1, 0.5).body())]
    world.drain(inputs={"trades": GivenMessages(bodies)}, batch_events=5)
    letters = world.log.dead_letters("trades")
    assert [(letter.offset, letter.rule) for letter in letters] == [(2 * n, r) for n, r in enumerate(POISON.values())]
    assert all(
        len(letter.body) <= 4096 and poison.startswith(letter.body)
        for letter, poison in zip(letters, POISON, strict=True)
    )
    assert world.log.counts("trades").rows == len(POISON)


def test_dead_letters_become_the_quarantine_table(world: StreamWorld) -> None:
    """Few of them stand in the table; too many fail the source, and its last good table stays."""
    world.push([Trade(n, 0, n, 0.5).body() for n in range(200)] + [TRADES[0].body(price=2)])
    world.drain()
    assert world.compact().rows == 200
    assert world.warehouse.arrow("trades/quarantine/trades").to_pylist() == [
        {
            "file": "trades/0",
            "row_number": 201,
            "column": "price",
            "value": "2",
            "rule": "max",
            "row_json": TRADES[0].body(price=2).decode(),
        }
    ]
    world.push([TRADES[0].body(price=n) for n in range(2, 5)])
    world.drain()
    with pytest.raises(SourceError, match="4 of 204 events break the contract"):
        world.compact()
    assert world.warehouse.version("trades/source/trades").rows == 200
    assert world.warehouse.version("trades/quarantine/trades").rows == 4


def test_a_quarantine_of_an_earlier_version_is_followed_by_whole_lines(world: StreamWorld) -> None:
    """A home that is older than the column `row_json`: the log has each body, so the next run has it too."""
    world.push([Trade(n, 0, n, 0.5).body() for n in range(200)] + [TRADES[0].body(price=2)])
    world.drain()
    world.compact()
    whole = world.warehouse.arrow("trades/quarantine/trades")
    world.warehouse.publish("trades/quarantine/trades", whole.drop_columns(["row_json"]))
    world.compact()
    assert world.warehouse.arrow("trades/quarantine/trades").equals(whole)


trades = st.lists(
    st.builds(
        Trade,
        st.integers(0, 12),
        st.integers(0, 2),
        st.integers(0, 4 * 24 * 60),
        st.sampled_from([0.1, 0.25, 0.5]),
        st.sampled_from([0, 1, 60, 3000]),
    ),
    max_size=14,
    unique_by=lambda trade: trade.trade_id,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=trades, repeats=st.integers(0, 3), chance=st.randoms(), size=st.integers(1, 7), cut=st.integers(0, 14))
def test_any_order_ends_in_the_features_of_the_whole_history(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    found: list[Trade],
    repeats: int,
    chance: random.Random,
    size: int,
    cut: int,
) -> None:
    """Late, repeated and shuffled events, in batches of any size, with a compaction and a restart in between."""
    world = StreamWorld(tmp_path_factory.mktemp("streams"))
    arriving = found + found[:repeats]
    chance.shuffle(arriving)
    world.push_trades(arriving[:cut])
    world.drain(batch_events=size)
    world.compact()
    world.push_trades(arriving[cut:])
    world.drain(batch_events=size)
    assert world.served() == world.batch_online()
    state = StreamState(world.system, warehouse=world.warehouse, log=world.log, now=world.now)
    batch = world.warehouse.arrow("trades/features/activity")
    assert state.rows("activity", [(market,) for market in MARKETS]).equals(batch)
    some = batch.filter(batch["market_id"].to_numpy() == 1)
    assert state.rows("activity", [(1,)]).equals(some)
    state.close()
    world.close()


def test_features_are_served_when_they_become_known(world: StreamWorld) -> None:
    """A trade known in an hour changes nothing now and everything then, without a further event and after a restart."""
    world.now = START + timedelta(minutes=10)
    world.push_trades([Trade(1, 0, 5, 0.5), Trade(2, 0, 9, 0.7, late=5)])
    with world.worker() as worker:
        worker.step()
        before = world.served()[0]
        assert before is not None
        assert before.values[0] == 1
        world.later(timedelta(minutes=4))
        assert worker.step(timeout_seconds=0).renewed.entities == 1
        assert worker.step(timeout_seconds=0).renewed.entities == 0
        after = world.served()[0]
    assert after is not None
    assert after.values[0] == 2
    assert world.served() == world.batch_online()


class Refusing(SQLiteOnlineStore):
    """An online store that is away while told so."""

    away = False

    def write(self, view: OnlineView, rows) -> int:
        if self.away:
            raise StoreError("away")
        return super().write(view, rows)


def test_an_online_store_that_is_away_is_waited_for(world: StreamWorld) -> None:
    """Events go on into the log, the lag says so, and everything is online a moment after the store is back."""
    online = Refusing(world.home.online("trades"))
    clock = [0.0]
    with world.worker(online=online, timer=lambda: clock[0]) as worker:
        online.away = True
        world.push_trades(TRADES[:2])
        assert worker.step().online is False
        world.push_trades(TRADES[2:])
        assert (worker.step().stored, worker.step(timeout_seconds=0).online) == (2, False)
        world.later(timedelta(seconds=90))
        (lag,) = worker.lag()
        assert (lag.waiting, lag.unapplied, lag.seconds) == (0, 4, 90.0)
        online.away = False
        clock[0] = 1.0
        assert worker.step(timeout_seconds=0).renewed.entities == 2
        assert worker.lag()[0].unapplied == 0
    online.close()
    assert world.served() == world.batch_online()


def test_rows_that_break_the_view_s_contract_never_go_online(world: StreamWorld) -> None:
    """A feature above its maximum is left out and counted; the entity keeps its last good row."""
    text = world.system.sql["activity.sql"]
    broken = text.replace(
        "recent.trades_24h AS trades_24h", "CASE WHEN recent.trades_24h > 1 THEN -1 ELSE 1 END AS trades_24h"
    )
    (world.root / "systems" / "trades" / "activity.sql").write_text(broken)
    from forecastle.contract.load import load_system

    world.system = load_system(world.root / "systems" / "trades")
    world.push_trades(TRADES[:2])
    with world.worker() as worker:
        assert worker.step().renewed.broken == 1
    row = world.served()[0]
    assert row is not None
    assert row.values[0] == 1


def test_a_changed_file_source_is_read_anew(world: StreamWorld) -> None:
    """Prices published while the worker runs are in the next event's features."""
    from forecastle.store.sources import ingest
    from tests.store.trades import write_prices

    clock = [0.0]
    with world.worker(timer=lambda: clock[0]) as worker:
        world.push_trades(TRADES[:1])
        worker.step()
        write_prices(world.root / "data", markets=3, days=1)
        ingest(
            world.warehouse, "trades", "prices", world.system.declaration.sources["prices"], data=world.root / "data"
        )
        world.push_trades(TRADES[3:])
        clock[0] = 60.0
        worker.step()
    row = world.served()[0]
    assert row is not None
    assert row.values[2] == 1 / 20 - 0.9
    assert world.served() == world.batch_online()


def test_history_bounds_the_memory(tmp_path: Path) -> None:
    """With a declared history the worker holds no older events, and newest rows that look no further are the same."""
    world = StreamWorld(tmp_path, origin="\n    history: 3d")
    old, new = (
        [Trade(n, n % 3, n, 0.5) for n in range(50)],
        [Trade(100 + n, n % 3, 29 * 1440 + n, 0.25) for n in range(9)],
    )
    world.push_trades(old + new)
    world.drain()
    world.compact()
    state = StreamState(world.system, warehouse=world.warehouse, log=world.log, now=world.now)
    assert sum(state.rows("activity", [(m,)]).num_rows for m in MARKETS) == 9
    state.close()
    assert world.served() == world.batch_online()
    world.close()


def test_a_second_worker_is_refused(world: StreamWorld) -> None:
    """Two would take everything twice; the first one's end makes room."""
    with world.worker(), pytest.raises(ConflictError, match="another stream worker"):
        world.worker()
    world.worker().__exit__()


def test_rows_in_the_warehouse_leave_the_log_after_a_week(world: StreamWorld) -> None:
    """Not before: a worker that starts at this moment still finds what the newest version adds."""
    world.push_trades(TRADES)
    world.drain()
    world.compact()
    assert sum(len(batch) for batch in world.log.rows("trades", after=0)) == 4
    world.later(timedelta(days=8))
    world.push_trades([Trade(9, 1, 60, 0.4)])
    world.drain()
    assert world.compact().rows == 5
    assert [row.sequence for batch in world.log.rows("trades", after=0) for row in batch] == [5]
    assert world.compact().rows == 5
    assert world.served() == world.batch_online()


def test_a_lost_log_begins_anew(world: StreamWorld) -> None:
    """Sequence numbers of a new log are not the old one's: nothing that it holds is taken for known."""
    world.push_trades(TRADES[:3])
    world.drain()
    world.compact()
    world.log.close()
    for part in world.home.streams("trades").parent.glob("trades.sqlite*"):
        part.unlink()
    world.log = StreamLog(world.home.streams("trades"))
    world.push_trades(TRADES[3:])
    world.drain()
    assert world.compact().rows == 4
    assert world.served() == world.batch_online()


def test_a_flood_is_taken_in_bounded_steps(world: StreamWorld) -> None:
    """However many events wait, a step takes at most its batch; the lag counts the rest, and since when they wait."""
    world.push_trades([Trade(n, n % 5, n % 1000, 0.5) for n in range(1_700)])
    with world.worker(batch_events=100) as worker:
        assert [worker.step(timeout_seconds=0).stored for _ in range(3)] == [100, 100, 100]
        assert (worker.lag()[0].waiting, worker.lag()[0].unapplied, worker.lag()[0].seconds) == (1_400, 0, 0.0)
        world.now += timedelta(minutes=2)
        assert worker.lag()[0].seconds == 120.0


def test_a_queue_acknowledges_what_the_log_holds(world: StreamWorld) -> None:
    """What the worker has stored is acknowledged, so that the queue may forget it."""
    world.push_trades(TRADES)
    with world.worker() as worker:
        worker.step()
        worker.step(timeout_seconds=0)
    assert world.queue.position("trades") == 4
    assert PushInput(world.queue, "trades").waiting(world.log.offsets("trades")) == Waiting(0)


def test_a_system_without_streams_is_told(world: StreamWorld) -> None:
    """The command says what is missing."""
    declared = world.system.declaration
    sources = {name: source for name, source in declared.sources.items() if source.kind != "stream"}
    from dataclasses import replace

    system = replace(world.system, declaration=declared.model_copy(update={"sources": sources}))
    with pytest.raises(StoreError, match="declares no stream"):
        open_inputs(system, queue=world.queue, environment={})
    opened: OnlineStore = world.online
    assert opened.count("activity") == 0
