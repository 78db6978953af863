"""A durable file at its disk limit: it refuses in words, keeps what it had, and takes more when it may grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecastle.contract.errors import ForecastleError, StoreError
from forecastle.store.durable_file import DISK_LIMIT_BYTES, DurableFile, disk_limit

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
