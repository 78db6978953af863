"""Retention: which table versions a system still needs, and the removal of the others' rows and of old queued events.

Belongs here: what a version stands on (its commit's inputs, and theirs), pruning every table and queue of a system.
Does not belong here: removing files (`warehouse.py`), who asks for it (`cli/`, `assets/`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from forecastle.contract.errors import StoreError
from forecastle.contract.system import Retention
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.events import ONLINE, EventQueue
from forecastle.store.home import Home
from forecastle.store.outcome_log import OutcomeLog
from forecastle.store.stream_events import to_us
from forecastle.store.warehouse import PruneReport, Warehouse

REPEATS_KNOWN: Final = timedelta(days=7)
"""Events stay in a queue at least so long, whatever the retention: so long one that is sent again is known."""


def stands_on(warehouse: Warehouse, versions: Iterable[TableVersion]) -> dict[TableName, set[int]]:
    """These versions and every version that their commits name as input, over any number of steps."""
    needed: dict[TableName, set[int]] = {}
    waiting = list(versions)
    while waiting:
        version = waiting.pop()
        numbers = needed.setdefault(version.name, set())
        if version.version in numbers:
            continue
        numbers.add(version.version)
        for fact, named in version.facts.items():
            if fact.startswith("input."):
                waiting += _resolved(warehouse, named)
    return needed


def prune_system(
    warehouse: Warehouse, system: str, retention: Retention, *, standing: Iterable[TableVersion] = ()
) -> dict[TableName, PruneReport]:
    """Apply a system's retention to each of its tables; `standing` and all they stand on keep their rows.

    Records of removed versions stay, so that history can still be read.
    """
    needed = stands_on(warehouse, standing)
    return {
        table: warehouse.prune(
            table, keep=retention.keep, older_than=retention.older_than, needed=needed.get(table, set())
        )
        for table in warehouse.tables(system)
    }


def prune_queues(home: Home, system: str, retention: Retention, *, now: datetime) -> dict[Path, int]:
    """Remove old events that their consumers have taken, and old outcomes that were corrected since; rows by file.

    Old is what came before `older_than` and before a week. Disk that becomes free is used again by the same file.

    Raises:
        StoreError: a file cannot be written.
    """
    before_us = to_us(now - max(retention.older_than, REPEATS_KNOWN))
    removed: dict[Path, int] = {}
    for path, consumer in ((home.pushed(system), None), (home.events(system), ONLINE)):
        if path.is_file():
            with closing(EventQueue(path)) as queue:
                removed[path] = sum(
                    # Pushed events of a stream are taken by a consumer of the source's name.
                    queue.forget(view, consumer=consumer or view, received_before_us=before_us)
                    for view in queue.views()
                )
    path = home.outcome_log(system)
    if path.is_file():
        with closing(OutcomeLog(path)) as log:
            removed[path] = log.forget_superseded(received_before_us=before_us)
    return removed


def _resolved(warehouse: Warehouse, named: str) -> list[TableVersion]:
    """The version that a fact names; none when its record is not there any more."""
    try:
        return [warehouse.resolve(named)]
    except StoreError:
        return []
