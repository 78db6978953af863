"""The embedded online store: its file, its readers, crashes. What every store must do: `test_online_conformance.py`."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forecastle.contract.errors import CorruptionError, StoreError
from forecastle.store.online import OnlineView
from forecastle.store.online_sqlite import SQLiteOnlineStore

VIEW = OnlineView("prices", {"market_id": "int64"}, {"price": "float64", "is_open": "bool", "bids": "int64"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteOnlineStore]:
    opened = SQLiteOnlineStore(tmp_path / "online" / "toy.sqlite")
    yield opened
    opened.close()


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


WRITER = """
import sys
from pathlib import Path
from forecastle.store.online import OnlineView
from forecastle.store.online_sqlite import SQLiteOnlineStore
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


def test_views_read_together_are_the_views_read_alone(store: SQLiteOnlineStore) -> None:
    """One statement for several views gives each one's row, booleans and absent rows included."""
    other = OnlineView("depth", {"market_id": "int64"}, {"bids": "int64", "is_thin": "bool"})
    store.write(VIEW, [(1, 10, 20, 0.5, True, 1), (2, 11, 21, None, None, None)])
    assert store.read([VIEW, other], (1,))["depth"] is None  # a view never pushed
    store.write(other, [(1, 12, 22, 7, False), (3, 13, 23, None, True)])
    for key in range(1, 5):
        alone = store.read([VIEW], (key,)) | store.read([other], (key,))
        assert store.read([VIEW, other], (key,)) == alone
    assert store.read([other, VIEW], (1,))["depth"] == store.read([other], (1,))["depth"]
