"""One SQLite file that keeps what it was told: a commit survives a kill and a loss of power.

Belongs here: opening such a file, one transaction at a time, SQLite's errors in our words.
Does not belong here: tables (`events.py`, `outcome_log.py`), the prediction log, which groups commits for speed.
WAL (https://www.sqlite.org/wal.html) with synchronous=FULL. Standard library only: it is served.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from forecastle.contract.errors import ForecastleError, StoreError
from forecastle.store.sqlite_turns import BUSY_TIMEOUT_SECONDS, NO_WAITING, in_turn

DISK_LIMIT_BYTES: Final = 16 << 30
DISK_LIMIT_BYTES_MIN: Final = 1 << 20
QUEUE_LIMIT: Final = "FORECASTLE_QUEUE_LIMIT_BYTES"
"""Variable that limits each queue of pushed events, stream log and outcome log."""


def disk_limit(text: str, *, variable: str, default: int) -> int:
    """What a variable limits a file to, in bytes; the default when it is empty.

    Raises:
        ForecastleError: it is no whole number, or too small to hold anything.
    """
    if not text:
        return default
    if not text.isdecimal() or int(text) < DISK_LIMIT_BYTES_MIN:
        raise ForecastleError(f"{variable} is {text!r}; a whole number of at least {DISK_LIMIT_BYTES_MIN:,} is needed")
    return int(text)


class DurableFile:
    """One file, one connection that threads take turns with; other processes may have it open too."""

    def __init__(
        self, path: Path, *, what: str, schema: Sequence[str], disk_limit_bytes: int = DISK_LIMIT_BYTES
    ) -> None:
        """Open or create the file, its folder 0700, itself 0600.

        Args:
            path: the SQLite file.
            what: what it is, for messages: "event queue".
            schema: statements that make its tables where they are not there yet.
            disk_limit_bytes: beyond this size every write is refused, and what is there stays readable.

        Raises:
            StoreError: the file cannot be made or is no such file.
        """
        self.path, self.what = path, what
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
            )
            for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", *schema):
                self._connection.execute(statement)
            (page_bytes,) = self._connection.execute("PRAGMA page_size").fetchone()
            self._connection.execute(f"PRAGMA max_page_count={max(1, disk_limit_bytes // page_bytes)}")
            self._connection.execute(NO_WAITING)
            path.chmod(0o600)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"{what} {path} cannot be opened: {error}; look at the file, its folder, the disk"
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is on disk when the block ends, none of it when the block raises.

        Raises:
            StoreError: it could not be written.
        """
        with self._lock, self._told("written"):
            in_turn(lambda: self._connection.execute("BEGIN IMMEDIATE"))
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def fetch(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._lock, self._told("read"):
            return in_turn(lambda: list(self._connection.execute(sql, values)))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise StoreError(
                    f"{self.what} {self.path} is full: {self.path.stat().st_size:,} bytes, or the disk has no space; "
                    f"nothing of this write was stored; free space, set a higher {QUEUE_LIMIT}, or let "
                    "`forecastle prune` remove what is old"
                ) from error
            raise StoreError(
                f"{self.what} {self.path} cannot be {done}: {error}; look at the file and the disk"
            ) from error
