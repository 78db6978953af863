"""A durable file at its disk limit: it refuses in words, keeps what it had, and takes more when it may grow."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from forecastle.contract.errors import ForecastleError, StoreError
from forecastle.store.durable_file import DISK_LIMIT_BYTES, DurableFile, disk_limit
from forecastle.store.sqlite_turns import LOOK_SECONDS

SCHEMA = ("CREATE TABLE IF NOT EXISTS kept (n INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT",)


def opened(path: Path, *, pages: int) -> DurableFile:
    return DurableFile(path, what="event queue", schema=SCHEMA, disk_limit_bytes=4096 * pages)


def put(file: DurableFile, numbers: range) -> None:
    with file.transaction() as connection:
        connection.executemany("INSERT INTO kept VALUES (?, ?)", [(n, bytes(4096)) for n in numbers])


def test_a_full_file_refuses_the_write_and_keeps_the_rest(tmp_path: Path) -> None:
    """Twenty pages hold five rows of a page each, not fifty more: none of these is stored until the limit is larger."""
    path = tmp_path / "events.sqlite"
    file = opened(path, pages=20)
    put(file, range(5))
    with pytest.raises(StoreError, match=r"event queue .* is full: .* free space"):
        put(file, range(5, 55))
    assert file.fetch("SELECT count(*) FROM kept") == [(5,)]
    file.close()
    wider = opened(path, pages=200)
    put(wider, range(5, 55))
    assert wider.fetch("SELECT count(*) FROM kept") == [(55,)]
    wider.close()


def test_a_limit_from_the_environment_is_a_number_that_can_hold_something() -> None:
    """Empty is the default; words and a limit below a mebibyte are refused with the variable's name."""
    assert disk_limit("", variable="LIMIT", default=DISK_LIMIT_BYTES) == 16 * 2**30
    assert disk_limit("1048576", variable="LIMIT", default=DISK_LIMIT_BYTES) == 2**20
    for wrong in ("16GB", "-1", "1048575"):
        with pytest.raises(ForecastleError, match=r"LIMIT is .*at least 1,048,576"):
            disk_limit(wrong, variable="LIMIT", default=DISK_LIMIT_BYTES)


def test_a_file_that_another_process_writes_is_looked_at_again(tmp_path: Path) -> None:
    """While another holds the file a write waits, looking every millisecond, and is stored once the other is done."""
    file = opened(tmp_path / "events.sqlite", pages=200)
    with closing(sqlite3.connect(file.path, isolation_level=None)) as other, ThreadPoolExecutor(1) as threads:
        other.execute("BEGIN IMMEDIATE")
        waiting = threads.submit(put, file, range(5))
        with pytest.raises(TimeoutError):
            waiting.result(timeout=20 * LOOK_SECONDS)
        other.execute("COMMIT")
        waiting.result()
    assert file.fetch("SELECT count(*) FROM kept") == [(5,)]
    file.close()


def test_a_writer_that_never_ends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last look the caller hears what is taken; nothing is stored, and later writes go on."""
    monkeypatch.setattr("forecastle.store.sqlite_turns.BUSY_LOOKS", 3)
    file = opened(tmp_path / "events.sqlite", pages=200)
    with closing(sqlite3.connect(file.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"event queue .* cannot be written: database is locked"):
            put(file, range(5))
        other.execute("ROLLBACK")
    put(file, range(2))
    assert file.fetch("SELECT count(*) FROM kept") == [(2,)]
    file.close()
