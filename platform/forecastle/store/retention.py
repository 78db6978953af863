"""Retention: which table versions a system still needs, and the removal of the others' rows.

Belongs here: what a version stands on (its commit's inputs, and theirs), pruning every table of a system.
Does not belong here: removing files (`warehouse.py`), who asks for it (`cli/`, `assets/`).
"""

from __future__ import annotations

from collections.abc import Iterable

from forecastle.contract.errors import StoreError
from forecastle.contract.system import Retention
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.warehouse import PruneReport, Warehouse


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


def _resolved(warehouse: Warehouse, named: str) -> list[TableVersion]:
    """The version that a fact names; none when its record is not there any more."""
    try:
        return [warehouse.resolve(named)]
    except StoreError:
        return []
