"""Group commit: whatever waits is written by one transaction, and each caller wakes when its own part is on disk.

Belongs here: gathering what event loops hand over, the one thread that writes, the limit of what may wait.
Does not belong here: what is written and where (`prediction_log.py`, `prediction_log_postgres.py`). Standard library.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

from forecastle.contract.errors import CapacityError, StoreError

GROUP_LIMIT: Final = 256
# A batch may have 10,000 rows: while eight of them wait, single predictions must find room.
PENDING_LIMIT: Final = 100_000

Record = TypeVar("Record")
logger = logging.getLogger("forecastle.store")


@dataclass(frozen=True, slots=True)
class _Waiter(Generic[Record]):
    """Records of one caller, and where it waits for them."""

    records: Sequence[Record]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Record]]


class GroupCommit(Generic[Record]):
    """Appends records through one thread.

    An event loop hands over once a turn what its tasks have appended during that turn: handing over each record by
    itself would make groups of one, each with its own flush of the disk, and the two threads would take the
    interpreter from each other in between.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Record]], list[Record]],
        *,
        name: str,
        size: Callable[[Record], int] = lambda _: 1,
        pending_limit: int = PENDING_LIMIT,
    ) -> None:
        """`commit` writes records by one transaction and gives them back as stored, or raises StoreError.

        `size` says for how many a record counts towards `pending_limit`.
        """
        self._commit, self._size, self._pending_limit = commit, size, pending_limit
        self._queue: queue.SimpleQueue[Sequence[_Waiter[Record]] | None] = queue.SimpleQueue()
        self._gathered: dict[asyncio.AbstractEventLoop, list[_Waiter[Record]]] = {}
        self._count = threading.Lock()
        self._pending = 0
        self._closed = False
        self._is_failing = False
        self._thread = threading.Thread(target=self._write_groups, name=name, daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Records handed over and not yet on disk."""
        return self._pending

    @property
    def is_failing(self) -> bool:
        """Whether the newest group could not be written, or the log could not be asked since."""
        return self._is_failing

    def failed(self, error: StoreError) -> None:
        """Remember that the log does not work, until a group is written."""
        if not self._is_failing:  # said once: a full disk may hold this very line
            logger.error("%s: %s", self._thread.name, error)
        self._is_failing = True

    async def append(self, records: Sequence[Record]) -> list[Record]:
        """Return once the records are on disk, all by one transaction, as stored.

        Raises:
            CapacityError: too many wait already.
            StoreError: none was written.
        """
        if self._closed:
            raise StoreError("the log is closed; start the service again")
        if self._pending >= self._pending_limit:
            raise CapacityError(f"{self._pending} records wait for the disk already; ask again later")
        loop = asyncio.get_running_loop()
        waiter = _Waiter(records, loop, loop.create_future())
        with self._count:
            self._pending += sum(map(self._size, records))
        gathered = self._gathered.setdefault(loop, [])
        gathered.append(waiter)
        if len(gathered) == 1:
            loop.call_soon(self._hand_over, loop)
        return await waiter.future

    def close(self) -> None:
        """Write what waits, then end the thread."""
        if self._closed:
            return
        self._closed = True
        for loop in list(self._gathered):
            self._hand_over(loop)
        self._queue.put(None)
        self._thread.join()

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        gathered = self._gathered.pop(loop, None)
        if gathered:
            self._queue.put(gathered)

    def _write_groups(self) -> None:
        while True:
            first = self._queue.get()
            group: list[_Waiter[Record]] = []
            while first is not None:
                group.extend(first)
                if len(group) >= GROUP_LIMIT or self._queue.empty():
                    break
                first = self._queue.get()
            if group:
                self._write_group(group)
            if first is None:
                return

    def _write_group(self, group: Sequence[_Waiter[Record]]) -> None:
        """Commit a group, then wake each event loop once for all of its callers."""
        outcomes: Sequence[list[Record] | StoreError]
        flat = [record for waiter in group for record in waiter.records]
        try:
            stored = iter(self._commit(flat))
            outcomes = [list(islice(stored, len(waiter.records))) for waiter in group]
            self._is_failing = False
        except StoreError as error:
            outcomes = [error] * len(group)
            self.failed(error)
        with self._count:
            self._pending -= sum(map(self._size, flat))
        told: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[list[Record]], list[Record] | StoreError]]] = {}
        for waiter, outcome in zip(group, outcomes, strict=True):
            told.setdefault(waiter.loop, []).append((waiter.future, outcome))
        for loop, pairs in told.items():
            with suppress(RuntimeError):  # a loop that is closed waits for nothing
                loop.call_soon_threadsafe(_tell, pairs)


def _tell(pairs: Sequence[tuple[asyncio.Future[list[Record]], list[Record] | StoreError]]) -> None:
    for future, outcome in pairs:
        if future.done():  # its request met the deadline
            continue
        if isinstance(outcome, StoreError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
