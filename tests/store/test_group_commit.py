"""Group commit: what may wait, and who is refused while it waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from forecastle.contract.clock import system_clock
from forecastle.contract.errors import CapacityError
from forecastle.serve.settings import Settings
from forecastle.store.group_commit import PENDING_LIMIT, GroupCommit
from forecastle.store.home import Home


def settings() -> Settings:
    return Settings("toy", home=Home(Path("/nowhere")), packed=None, clock=system_clock)


def waiting(sizes: Sequence[int]) -> list[list[int]]:
    """What each append gives where nothing reaches the disk before all of them were made; a record is its own size."""
    held = threading.Event()

    def commit(records: Sequence[int]) -> list[int]:
        held.wait(timeout=60)
        return list(records)

    group: GroupCommit[int] = GroupCommit(commit, name="held", size=lambda record: record)

    async def run() -> list[list[int]]:
        appends = [asyncio.ensure_future(group.append([size])) for size in sizes]
        await asyncio.sleep(0)
        held.set()
        return await asyncio.gather(*appends)

    try:
        return asyncio.run(run())
    finally:
        held.set()
        group.close()


def test_single_predictions_find_room_beside_every_batch_that_is_let_in():
    """Eight batches of 10,000 rows wait for the disk, and 512 single predictions after them are logged all the same."""
    limits = settings()
    batches = [limits.rows_limit] * limits.rows_in_flight_limit
    singles = [1] * limits.in_flight_limit
    assert waiting([*batches, *singles]) == [[size] for size in [*batches, *singles]]


def test_beyond_the_limit_nothing_more_may_wait():
    """One record fills it; the next is told how many wait."""
    with pytest.raises(CapacityError, match=f"{PENDING_LIMIT} records wait for the disk already"):
        waiting([PENDING_LIMIT, 1])
