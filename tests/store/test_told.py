"""What callers told, as typed tables: everything, once, in order."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

from forecastle.contract.column import Feature
from forecastle.contract.push_view import PushView
from forecastle.store.events import Event, EventQueue
from forecastle.store.outcome_log import OutcomeLog, ToldOutcome
from forecastle.store.told import pushed_rows, told_outcomes

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VIEW = PushView(
    "prices",
    {"venue": "string", "market_id": "int64"},
    {
        "price": Feature(dtype="float64", unit="probability", nullable=True),
        "trades": Feature(dtype="int64", unit="count", nullable=True),
        "open": Feature(dtype="bool", nullable=True),
    },
)


def test_outcomes_become_rows_with_their_times(tmp_path):
    """Types are fixed whether there are rows or not; an outcome of an entity has no prediction id."""
    path = tmp_path / "outcomes.sqlite"
    empty = told_outcomes(path)
    assert (len(empty), path.exists()) == (0, False)
    with closing(OutcomeLog(path)) as log:
        log.append(ToldOutcome("a", "x", "toy", "p1", '{"id":1}', 1, 1_000_001, 2_000_000))
        log.append(ToldOutcome("b", "x", "toy", None, '{"id":1}', 0, 5, 3_000_000))
    rows = told_outcomes(path)
    assert rows.dtypes.equals(empty.dtypes)
    assert rows["outcome"].tolist() == [1, 0]
    assert rows["prediction_id"].isna().tolist() == [False, True]
    assert rows["known_at"][0].to_pydatetime() == EPOCH + timedelta(microseconds=1_000_001)


def test_pushed_rows_become_the_views_columns(tmp_path):
    """Keys, times and features by name and type; nulls and features of a younger contract are null."""
    path = tmp_path / "events.sqlite"
    empty = pushed_rows(path, VIEW)
    with closing(EventQueue(path)) as queue:
        keys = '{"venue":"north","market_id":9007199254740993}'
        queue.append(
            [
                Event("prices", "1", "x", keys, 10, 20, '{"price":0.25,"trades":3,"open":true}', 30),
                Event("polls", "1", "x", keys, 10, 20, "{}", 30),
                Event("prices", "2", "x", keys, 11, 21, '{"price":null}', 31),
            ]
        )
    rows = pushed_rows(path, VIEW)
    assert rows.dtypes.equals(empty.dtypes)
    assert list(rows)[:7] == ["venue", "market_id", "event_at", "known_at", "price", "trades", "open"]
    assert rows["market_id"].tolist() == [2**53 + 1] * 2
    assert rows[["price", "trades", "open"]].isna().sum().tolist() == [1, 1, 1]
    assert (rows["sequence"].tolist(), rows["event_id"].tolist()) == ([1, 3], ["1", "2"])
    assert rows["known_at"][1].to_pydatetime() == EPOCH + timedelta(microseconds=21)
