"""One SQL text, three executions: the whole history, the newest day after each day, and the stream give equal rows."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecastle.contract.load import load_system
from forecastle.store.feature_views import publish_view
from forecastle.store.partitions import publish_days
from forecastle.store.stream_features import StreamState
from forecastle.store.warehouse import Warehouse
from tests.store.stream_world import MARKETS, StreamWorld
from tests.store.trades import START, Trade, write_trades

DAYS = 4
DAY = timedelta(days=1)
SOURCE, VIEW = "trades/source/trades", "trades/features/activity"
# Trades of the 24 hours up to a trade, as far as they were known with it: a row needs its day and the one before.
LAST_DAY = """
WITH instants AS (
  SELECT DISTINCT trades.mid, trades.traded_at, trades.known_at FROM trades
)
SELECT instants.mid AS market_id, instants.traded_at AS event_at, instants.known_at AS known_at,
  COUNT(near.trade_id) AS trades_24h,
  AVG(near.price ORDER BY near.trade_id) AS price_mean_24h,
  MAX(near.price) - MIN(near.price) AS edge
FROM instants
INNER JOIN trades AS near
  ON near.mid = instants.mid
  AND near.traded_at <= instants.traded_at
  AND near.traded_at > instants.traded_at - INTERVAL 24 HOUR
  AND near.known_at <= instants.known_at
GROUP BY instants.mid, instants.traded_at, instants.known_at
"""

trades = st.lists(
    st.builds(
        Trade,
        st.integers(0, 30),
        st.integers(0, 2),
        st.one_of(st.integers(0, DAYS * 1440 - 1), st.sampled_from([0, 1439, 1440, 2879, 2880, 4320])),
        st.sampled_from([0.1, 0.25, 0.3, 0.7]),
        st.sampled_from([0, 1, 60, 1440, 3000]),
    ),
    max_size=25,
    unique_by=lambda trade: trade.trade_id,
)


def three_way_world(root: Path, *, lookback: str = "1d") -> StreamWorld:
    """The trades system with a view that follows the stream and is made by day as well."""
    folder = root / "systems" / "trades"
    write_trades(folder)
    (folder / "activity.sql").write_text(LAST_DAY)
    path = folder / "system.yaml"
    daily = f"stream: trades\n    partition: {{daily_since: 2026-01-01, lookback: {lookback}}}\n"
    path.write_text(path.read_text().replace("stream: trades\n", daily, 1))
    load_system(folder)
    return StreamWorld(root)


def by_whole_history(world: StreamWorld, root: Path) -> pa.Table:
    """Backfill: everything at once."""
    warehouse = copied(world, root)
    return warehouse.arrow(publish_view(warehouse, world.system, "activity"))


def by_newest_day(world: StreamWorld, root: Path) -> pa.Table:
    """Materialise: each day once, when it is the newest one."""
    warehouse = copied(world, root)
    for day in range(DAYS):
        publish_days(warehouse, world.system, "activity", start=START + day * DAY, end=START + (day + 1) * DAY)
    return warehouse.arrow(VIEW)


def copied(world: StreamWorld, root: Path) -> Warehouse:
    """Another warehouse with the same events and no features."""
    warehouse = Warehouse(root, clock=lambda: world.now, memory_limit="500MB", threads=1)
    warehouse.publish(SOURCE, world.warehouse.arrow(SOURCE))
    return warehouse


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=trades, chance=st.randoms(), size=st.integers(1, 9), cut=st.integers(0, 25))
def test_backfill_newest_day_and_stream_are_equal(
    tmp_path_factory: pytest.TempPathFactory, *, found: list[Trade], chance: random.Random, size: int, cut: int
) -> None:
    """Late, repeated and shuffled events: one table, row for row, and online its newest rows."""
    root = tmp_path_factory.mktemp("three")
    world = three_way_world(root)
    arriving = found + found[:3]
    chance.shuffle(arriving)
    for part in (arriving[:cut], arriving[cut:]):
        world.push_trades(part)
        world.drain(batch_events=size)
    online, newest = world.served(), world.batch_online()
    state = StreamState(world.system, warehouse=world.warehouse, log=world.log, now=world.now)
    streamed = state.rows("activity", [(market,) for market in MARKETS])
    whole = by_whole_history(world, root / "whole")
    days = by_newest_day(world, root / "days")
    state.close()
    world.close()
    assert whole.num_rows == len({(t.mid, t.minute, t.minute + t.late) for t in found})
    assert days.equals(whole)
    assert streamed.equals(whole)
    assert online == newest


def test_a_lookback_that_is_too_short_shows(tmp_path: Path) -> None:
    """The equality is a real test: two trades on both sides of midnight are one another's past only with a lookback."""
    world = three_way_world(tmp_path, lookback="0s")
    world.push_trades([Trade(1, 0, 1439, 0.1), Trade(2, 0, 1441, 0.7)])
    world.drain()
    world.compact()
    whole = by_whole_history(world, tmp_path / "whole")
    days = by_newest_day(world, tmp_path / "days")
    world.close()
    assert whole["trades_24h"].to_pylist() == [1, 2]
    assert days["trades_24h"].to_pylist() == [1, 1]
