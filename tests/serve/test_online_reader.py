"""The online store as serving sees it: real files, late, locked, replaced, damaged."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from forecastle.serve.online_reader import OnlineReader
from tests.serve import toy
from tests.serve.toy import push

FEATURES = toy.feature_set()


class Timer:
    """A clock that stands until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "toy.sqlite"


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def reader(path: Path, timer: Timer):
    made = OnlineReader(path, timer=timer)
    yield made
    made.close()


def test_rows_come_by_view(path, reader):
    """Each view's values come in the feature set's order; an unknown entity has no row in any."""
    push(path)
    rows = reader.read(FEATURES.views, (7,))
    assert (rows["prices"].values, rows["polls"].values) == ((0.4, 100.0, 10), (0.5, 2))
    assert reader.read(FEATURES.views, (8,)) == {"prices": None, "polls": None}
    assert reader.available


def test_a_store_that_comes_late_is_found(path, reader, timer):
    """Absent at first: unavailable, not created, and read within a second of its appearance."""
    assert reader.read(FEATURES.views, (7,)) is None
    assert (reader.available, path.exists()) == (False, False)
    push(path)
    assert reader.read(FEATURES.views, (7,)) is None
    timer.now = 1.0
    assert reader.read(FEATURES.views, (7,))["polls"].values == (0.5, 2)


def test_a_replaced_file_is_read_anew(path, reader, timer):
    """A store that was removed and pushed again answers within a second, not the deleted file."""
    push(path)
    reader.read(FEATURES.views, (7,))
    for part in path.parent.glob("toy.sqlite*"):
        part.unlink()
    push(path, polls=(0.9, 1))
    timer.now = 1.0
    assert reader.read(FEATURES.views, (7,))["polls"].values == (0.9, 1)


def test_a_damaged_file_is_unavailable(path, reader):
    """Bytes that are no database are told as unavailable instead of failing the request."""
    path.write_bytes(b"no database " * 1_000)
    assert reader.read(FEATURES.views, (7,)) is None
    assert reader.available is False


def test_a_writer_does_not_block_reads(path, reader):
    """While another process holds the write lock, the last committed rows are served."""
    push(path)
    with sqlite3.connect(path, isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE polls SET poll_avg_7d = 0.1")
        assert reader.read(FEATURES.views, (7,))["polls"].values == (0.5, 2)
        writer.execute("ROLLBACK")
    writer.close()


def test_an_exclusive_lock_is_waited_for_only_briefly(path, reader):
    """A file locked for longer than the read timeout is unavailable, not a hanging request."""
    with sqlite3.connect(path, isolation_level=None) as owner:
        owner.execute("CREATE TABLE prices (market_id INTEGER)")
        owner.execute("BEGIN EXCLUSIVE")
        assert reader.read(FEATURES.views, (7,)) is None
        owner.execute("ROLLBACK")
    owner.close()
    assert reader.available is False
