"""Several processes take turns at one SQLite file: whoever finds it taken looks again every millisecond.

Belongs here: how a connection waits for its turn.
Does not belong here: transactions and files (`prediction_log.py`, `durable_file.py`). Standard library only.
https://www.sqlite.org/rescode.html#busy
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Final, TypeVar

BUSY_TIMEOUT_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.001
BUSY_LOOKS: Final = int(BUSY_TIMEOUT_SECONDS / LOOK_SECONDS)
NO_WAITING: Final = "PRAGMA busy_timeout=0"
"""Statement that switches SQLite's own waiting off, for a connection that waits by `in_turn`."""

_T = TypeVar("_T")


def in_turn(work: Callable[[], _T]) -> _T:
    """What `work` gives once no other process keeps it from the file, for at most `BUSY_TIMEOUT_SECONDS`.

    SQLite's own waiting looks ever more rarely, at last ten times a second: beside a process that writes all the time
    it may find the file taken for longer than a request may wait.

    Raises:
        sqlite3.Error: what `work` raises; SQLITE_BUSY when the file was taken at the last look, too.
    """
    for _ in range(BUSY_LOOKS - 1):
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            time.sleep(LOOK_SECONDS)
    return work()


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Whether another process has the file; extended codes say in their upper bytes why."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
