"""Reduced copies of published views: kept beside the warehouse, used by joins when every view has one.

Belongs here: where the copy of a table version lies, making it once, taking the fast path or the plain one.
Does not belong here: how a copy is written and searched (`reduced.py`), the rule of the join (`point_in_time.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import duckdb

from forecastle.store.delta_log import TableVersion
from forecastle.store.point_in_time import Joined, ViewJoin, point_in_time_join
from forecastle.store.reduced import ReducedView, open_reduced, reduced_join, write_reduced
from forecastle.store.sql import instant, one_row
from forecastle.store.warehouse import Warehouse


def keep_reduced(warehouse: Warehouse, version: TableVersion, *, keys: Sequence[str]) -> ReducedView:
    """Write the reduced copy of a view's version, unless it is there; copies of its other versions go.

    Raises:
        StoreError: a feature is no number.
    """
    folder = _folder(warehouse, version)
    if (folder / "view.json").exists():
        return open_reduced(folder)
    with warehouse.connect() as connection:
        warehouse.attach(connection, {"__view": version})
        view = write_reduced(connection, "__view", version.name.name, keys=keys, folder=folder)
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other)
    return view


def join_views(
    warehouse: Warehouse,
    connection: duckdb.DuckDBPyConnection,
    labels: str,
    joins: Sequence[ViewJoin],
    versions: Mapping[str, TableVersion],
    *,
    output: str,
    now: datetime,
) -> Joined:
    """Join views (`versions` by relation) to labels as known at `now`: by their reduced copies where all have one.

    A copy answers for any moment, but cannot hide what became known after `now` from a label that lies after `now`:
    then, and where a view has no copy, the tables are joined.
    """
    folders = [_folder(warehouse, versions[join.relation]) for join in joins]
    late = f"SELECT count(*) FROM {labels} WHERE predict_at > {instant(now)}"
    if not all((folder / "view.json").exists() for folder in folders) or one_row(connection, late)[0]:
        return point_in_time_join(connection, labels, joins, output=output, as_of=now)
    opened = [_opened(folder, (folder / "view.json").stat().st_mtime_ns) for folder in folders]
    views = [(view, join.ttl) for view, join in zip(opened, joins, strict=True)]
    return reduced_join(connection, labels, views, output=output)


@lru_cache(maxsize=256)
def _opened(folder: Path, written_ns: int) -> ReducedView:
    """A copy, its sums compared once per process."""
    del written_ns
    return open_reduced(folder)


def _folder(warehouse: Warehouse, version: TableVersion) -> Path:
    name = version.name
    return warehouse.root / ".reduced" / f"{name.system}.{name.kind}.{name.name}" / version.sha256
