"""The online store: newest wins, by name, across threads, processes and crashes."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import CorruptionError, StoreError
from forecastle.store.online import Newest, OnlineRow, OnlineView, SQLiteOnlineStore

VIEW = OnlineView("prices", {"market_id": "int64"}, {"price": "float64", "is_open": "bool", "bids": "int64"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteOnlineStore]:
    opened = SQLiteOnlineStore(tmp_path / "online" / "toy.sqlite")
    yield opened
    opened.close()


def test_a_row_reads_back_with_its_times_and_types(store: SQLiteOnlineStore) -> None:
    """Floats, booleans, integers and nulls come back as what they were."""
    assert store.write(VIEW, [(1, 10, 20, 0.5, True, 2**62), (2, 11, 21, None, None, None)]) == 2
    assert store.read([VIEW], (1,)) == {"prices": OnlineRow((0.5, True, 2**62), 10, 20)}
    assert store.read([VIEW], (2,)) == {"prices": OnlineRow((None, None, None), 11, 21)}
    assert store.read([VIEW], (3,)) == {"prices": None}
    assert (store.count("prices"), store.newest("prices")) == (2, Newest(11, 21))


def test_features_are_read_by_name(store: SQLiteOnlineStore) -> None:
    """A reader that asks in another order, or for fewer features, gets the values of those names."""
    store.write(VIEW, [(1, 10, 20, 0.5, False, 7)])
    asked = OnlineView("prices", {"market_id": "int64"}, {"bids": "int64", "price": "float64"})
    assert store.read([asked], (1,))["prices"] == OnlineRow((7, 0.5), 10, 20)


def test_a_view_that_was_never_pushed_is_missing(store: SQLiteOnlineStore) -> None:
    """Nothing pushed is "no row", and becomes readable as soon as it is pushed, in the same reader."""
    reader = SQLiteOnlineStore(store.path, read_only=True)
    assert reader.read([VIEW], (1,)) == {"prices": None}
    assert (reader.count("prices"), reader.newest("prices")) == (0, Newest(None, None))
    store.write(VIEW, [(1, 10, 20, 0.5, False, 7)])
    assert reader.read([VIEW], (1,))["prices"] is not None


def test_a_feature_that_was_never_pushed_is_told(store: SQLiteOnlineStore) -> None:
    """A new feature is an error until its view is pushed again; then old rows hold null and new ones the value."""
    store.write(VIEW, [(1, 10, 20, 0.5, False, 7), (2, 10, 20, 0.5, False, 7)])
    wider = OnlineView("prices", {"market_id": "int64"}, {**VIEW.feature_dtypes, "asks": "int64"})
    with pytest.raises(StoreError, match="without asks"):
        store.read([wider], (1,))
    store.write(wider, [(1, 10, 20, 0.5, False, 7, 9)])
    assert store.read([wider], (1,))["prices"] == OnlineRow((0.5, False, 7, 9), 10, 20)
    assert store.read([wider], (2,))["prices"] == OnlineRow((0.5, False, 7, None), 10, 20)


def test_a_changed_key_is_refused(store: SQLiteOnlineStore) -> None:
    """Rows stored by one key cannot be found by another, so the push is refused."""
    store.write(VIEW, [])
    with pytest.raises(StoreError, match="stored by key market_id"):
        store.write(OnlineView("prices", {"other_id": "int64"}, {"price": "float64"}), [(1, 1, 1, 0.5)])


def test_composite_keys_find_their_row(store: SQLiteOnlineStore) -> None:
    """Keys of two columns, one of them text, are matched in the order declared."""
    view = OnlineView("pairs", {"user": "string", "item": "int64"}, {"score": "float64"})
    store.write(view, [("a", 1, 1, 1, 0.1), ("a", 2, 1, 1, 0.2), ("b", 1, 1, 1, 0.3)])
    row = store.read([view], ("a", 2))["pairs"]
    assert row is not None
    assert row.values == (0.2,)


events = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 5)), max_size=25)


@settings(max_examples=25, deadline=None)
@given(events, st.randoms(), st.integers(1, 5))
def test_the_newest_row_wins_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]], chance: random.Random, size: int
) -> None:
    """In any order and batches, and twice, each entity ends with its row of the latest event, then knowledge."""
    path = tmp_path_factory.mktemp("online") / "toy.sqlite"
    store = SQLiteOnlineStore(path)
    valued = [(*row, float(row[1] * 10 + row[2]), None, None) for row in rows]
    for _ in range(2):
        chance.shuffle(valued)
        for start in range(0, len(valued), size):
            store.write(VIEW, valued[start : start + size])
    for entity in range(3):
        newest = max(((e, k) for n, e, k in rows if n == entity), default=None)
        row = store.read([VIEW], (entity,))["prices"]
        assert (row and (row.event_at_us, row.known_at_us)) == newest
        assert row is None or row.values[0] == row.event_at_us * 10 + row.known_at_us
    store.close()


def test_a_batch_is_stored_whole_or_not_at_all(store: SQLiteOnlineStore) -> None:
    """A row that cannot be stored takes its whole batch with it."""
    store.write(VIEW, [(1, 10, 20, 0.5, True, 1)])
    with pytest.raises((StoreError, CorruptionError)):
        store.write(VIEW, [(1, 11, 21, 0.9, True, 1), (None, 11, 21, 0.9, True, 1)])
    assert store.read([VIEW], (1,))["prices"] == OnlineRow((0.5, True, 1), 10, 20)
    assert store.write(VIEW, [(1, 12, 22, 0.9, True, 1)]) == 1


def test_reading_never_creates_or_writes(tmp_path: Path) -> None:
    """A reader refuses a store that is not there, and cannot write to one that is."""
    path = tmp_path / "toy.sqlite"
    with pytest.raises(StoreError, match="push the feature views first"):
        SQLiteOnlineStore(path, read_only=True)
    assert not path.exists()
    SQLiteOnlineStore(path).close()
    with pytest.raises(StoreError, match="readonly"):
        SQLiteOnlineStore(path, read_only=True).write(VIEW, [(1, 1, 1, 0.5, True, 1)])


def test_a_store_closed_by_its_writer_is_still_read(store: SQLiteOnlineStore) -> None:
    """A reader opens the file after the writer has gone and taken its WAL along."""
    store.write(VIEW, [(1, 10, 20, 0.5, True, 1)])
    store.close()
    assert SQLiteOnlineStore(store.path, read_only=True).count("prices") == 1


def test_a_damaged_file_is_an_error_not_a_value(store: SQLiteOnlineStore) -> None:
    """Bytes that are no database are told, at opening or at the first read."""
    store.write(VIEW, [(n, 10, 20, 0.5, True, 1) for n in range(2000)])
    store.close()
    whole = store.path.read_bytes()
    store.path.write_bytes(b"no database at all" + whole[18:])
    with pytest.raises(CorruptionError, match="push the views again"):
        SQLiteOnlineStore(store.path, read_only=True)
    store.path.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    reader = SQLiteOnlineStore(store.path, read_only=True)
    with pytest.raises((CorruptionError, StoreError)):
        reader.read([VIEW], (1,))


def test_names_never_become_sql(store: SQLiteOnlineStore) -> None:
    """A view or feature name that is no word is refused."""
    for view in (OnlineView('x"; DROP TABLE prices; --', {"a": "int64"}, {}), OnlineView("x", {"a b": "int64"}, {})):
        with pytest.raises(StoreError, match="rename it"):
            store.write(view, [])


def test_threads_read_while_one_writes(store: SQLiteOnlineStore) -> None:
    """Readers of eight threads always see one whole row of one write."""
    store.write(VIEW, [(1, 0, 0, 0.0, True, 0)])
    torn: list[OnlineRow | None] = []
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            row = store.read([VIEW], (1,))["prices"]
            if row is None or not row.event_at_us == row.known_at_us == row.values[0] == row.values[2]:
                torn.append(row)

    threads = [threading.Thread(target=poll) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(1, 200):
        store.write(VIEW, [(1, number, number, float(number), True, number)])
    done.set()
    for thread in threads:
        thread.join()
    assert torn == []


WRITER = """
import sys
from pathlib import Path
from forecastle.store.online import OnlineView, SQLiteOnlineStore
view = OnlineView("prices", {"market_id": "int64"}, {"price": "float64", "is_open": "bool", "bids": "int64"})
store = SQLiteOnlineStore(Path(sys.argv[1]))
n = 0
while True:
    n += 1
    store.write(view, [(key, n, n, float(n), True, n) for key in range(50)])
    print(n, flush=True)
"""


def test_kill_9_leaves_whole_batches(store: SQLiteOnlineStore) -> None:
    """A writer killed in the middle of its work has lost no acknowledged batch and torn none."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store.path)], env=environment, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        acknowledged = 0
        while acknowledged < 40:
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split("\n")
        acknowledged = max([acknowledged, *(int(line) for line in rest[:-1])])
    batches = {(row := store.read([VIEW], (key,))["prices"]) and row.event_at_us for key in range(50)}
    assert len(batches) == 1
    assert (batches.pop() or 0) >= acknowledged
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_serving_pays_for_nothing_but_sqlite(tmp_path: Path) -> None:
    """Importing the online store brings neither pandas nor DuckDB nor Arrow."""
    script = (
        "import sys, forecastle.store.online\n"
        "print([m for m in ('pandas', 'duckdb', 'pyarrow', 'deltalake', 'pydantic') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
