"""The training set: every label row once, every feature as it was known when the prediction would have been asked.

Belongs here: which label rows count, the join over all views, on-demand features, publishing.
Does not belong here: the join itself (`point_in_time.py`), splitting and fitting (`learn/`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import duckdb
import numpy as np
import pandas as pd

from forecastle.contract.errors import StoreError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.on_demand import on_demand_columns
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.feature_views import KIND as FEATURES
from forecastle.store.feature_views import contract_audit, source_tables
from forecastle.store.labels import KIND as LABEL
from forecastle.store.labels import run_label
from forecastle.store.point_in_time import Joined, ViewJoin
from forecastle.store.reduced_views import join_views
from forecastle.store.sql import column_list, instant
from forecastle.store.warehouse import Warehouse

KIND: Final = "training_set"
NAMED: Final = 3
_KNOWLEDGE: Final = "knowledge_until"


def publish_training_set(warehouse: Warehouse, system: LoadedSystem, *, now: datetime) -> TableVersion:
    """Draft and accept in one step, where nothing stands between; see `draft_training_set`."""
    return accept_training_set(warehouse, draft_training_set(warehouse, system, now=now))


def accept_training_set(warehouse: Warehouse, draft: TableVersion) -> TableVersion:
    """Publish a draft that was checked as the training set, with the draft's facts."""
    with warehouse.connect() as connection:
        rows = warehouse.relation(draft)
        table = TableName(draft.name.system, KIND, "all")
        return warehouse.publish(table, rows, connection=connection, facts=draft.facts)


def draft_training_set(warehouse: Warehouse, system: LoadedSystem, *, now: datetime) -> TableVersion:
    """Build the training set as it could be known at `now` and publish it as `training_set/draft`.

    Nothing trains on a draft: it is there to be checked before it takes the place of the training set.
    Columns: entity keys, predict_at, outcome, known_at (of the outcome), declared label columns, every feature, and
    `<view>__event_at` / `<view>__known_at`, the times of the row that each view's features came from.

    Raises:
        StoreError: label SQL or a feature breaks its contract; the old version stays.
    """
    labels = _labels(warehouse, system, name="all", now=now)
    return _build(warehouse, system, labels, table=TableName(system.name, KIND, "draft"), now=now)


def snapshot_hash(version: TableVersion) -> str:
    """SHA-256 (hex) of what a training set is: its specification, what was known when it was made, and its rows.

    The specification is every feature's contract, SQL and code, and the label's SQL. Equal rows that were made at
    another time, or by another specification, are another snapshot.
    """
    told = {name: version.facts.get(name, "") for name in ("feature_set", "label_sha256", _KNOWLEDGE)}
    text = json.dumps({**told, "rows": version.content_hash}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A training set made again: the table it was published as, and the version it should equal, if there is one."""

    version: TableVersion
    original: TableVersion | None

    @property
    def same(self) -> bool:
        """Are both the same rows, bit for bit?"""
        return self.original is not None and self.original.content_hash == self.version.content_hash


def knowledge_of(version: TableVersion) -> datetime:
    """Until when something had to be known to stand in a version of a training set."""
    return datetime.fromisoformat(version.facts[_KNOWLEDGE])


def rebuild_training_set(warehouse: Warehouse, system: LoadedSystem, *, as_of: datetime) -> Rebuilt:
    """Make the training set of an earlier moment again from today's tables, and publish it as `training_set/as_of`.

    Source and feature rows that became known after `as_of` are hidden, so that restated history and corrected outcomes
    change nothing; labels are made anew (`label/as_of`). It is compared with the training set that was built with just
    that knowledge (`knowledge_of`).

    Raises:
        StoreError: a source or a feature view was never published.
    """
    labels = _labels(warehouse, system, name="as_of", now=as_of)
    version = _build(warehouse, system, labels, table=TableName(system.name, KIND, "as_of"), now=as_of)
    built = reversed(warehouse.versions(TableName(system.name, KIND, "all")))
    return Rebuilt(version, next((v for v in built if knowledge_of(v) == as_of), None))


def _labels(warehouse: Warehouse, system: LoadedSystem, *, name: str, now: datetime) -> TableVersion:
    """Run the label SQL over what was known at `now`: SQL that asks how far history reaches must not see beyond."""
    label = system.declaration.label
    return run_label(
        warehouse,
        TableName(system.name, LABEL, name),
        label,
        entity=system.declaration.entity_of_label(),
        text=system.sql[label.sql],
        sources=source_tables(system, label.sql),
        known_until=now,
    )


def _build(
    warehouse: Warehouse, system: LoadedSystem, labels: TableVersion, *, table: TableName, now: datetime
) -> TableVersion:
    """Join, compute, audit and publish the training set of what was known at `now`."""
    declared = system.declaration
    with warehouse.connect() as connection:
        versions = warehouse.attach(connection, {"__all_labels": labels})
        _newest_labels(connection, tuple(declared.entity_of_label().keys), now)
        joined, views = join_features(warehouse, system, connection, labels="__label_rows", now=now)
        whole = with_on_demand(system, connection.sql(f"SELECT * FROM {joined.relation}").to_arrow_table().to_pandas())
    frame = answerable(system, whole)
    _check_answerable(system, whole, frame)
    inputs = {**versions, **views}
    facts = {f"input.{name}": f"{v.name}@{v.version}" for name, v in sorted(inputs.items())}
    return warehouse.publish(
        table,
        frame,
        audits=(contract_audit(declared.features()),),
        facts={
            _KNOWLEDGE: now.isoformat(),
            "feature_set": system.all_features().hash,
            "label_sha256": hashlib.sha256(system.sql[declared.label.sql].encode()).hexdigest(),
            "label_rows": str(len(whole)),
            "unanswerable_rows": str(len(whole) - len(frame)),
            **facts,
        },
    )


def join_features(
    warehouse: Warehouse, system: LoadedSystem, connection: duckdb.DuckDBPyConnection, *, labels: str, now: datetime
) -> tuple[Joined, dict[str, TableVersion]]:
    """Join every feature view of a system to the rows of relation `labels` (entity keys and predict_at)."""
    declared = system.declaration
    tables = {f"__view_{name}": TableName(system.name, FEATURES, name) for name in declared.feature_views}
    versions = warehouse.attach(connection, tables, row_id="__number")
    joins = [
        ViewJoin(
            name=name,
            relation=f"__view_{name}",
            keys=tuple(declared.entity[view.entity].keys),
            ttl=view.ttl,
            features=tuple(view.features),
            row_id="__number",
        )
        for name, view in declared.feature_views.items()
    ]
    return join_views(warehouse, connection, labels, joins, versions, output="__joined", now=now), versions


def with_on_demand(system: LoadedSystem, frame: pd.DataFrame) -> pd.DataFrame:
    """Joined rows with on-demand features added, features in declared order before the views' times."""
    feature_set = system.all_features()
    numbers = [s.name for s in feature_set.features if s.view is not None and s.name not in feature_set.codes]
    columns = {name: frame[name].to_numpy(np.float64, na_value=np.nan) for name in numbers}
    made = on_demand_columns(feature_set, columns)
    whole = frame.assign(**made)
    times = [name for name in frame.columns if name.endswith(("__event_at", "__known_at"))]
    features = list(system.declaration.features())
    first = [name for name in frame.columns if name not in {*times, *features}]
    return whole[[*first, *features, *times]]


def answerable(system: LoadedSystem, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows whose required features were all there: the others could not have been asked, so they teach nothing."""
    required = [name for name, feature in system.declaration.features().items() if not feature.nullable]
    return frame.dropna(subset=required).reset_index(drop=True)


def _check_answerable(system: LoadedSystem, whole: pd.DataFrame, frame: pd.DataFrame) -> None:
    """Refuse to make a training set in which nothing is left of the label rows there are."""
    if len(frame) or whole.empty:
        return
    known = {
        n: int(whole[n].notna().sum()) for n, feature in system.declaration.features().items() if not feature.nullable
    }
    fewest = sorted(known, key=lambda name: known[name])[:NAMED]
    told = ", ".join(f"{name} of {known[name]:,}" for name in fewest)
    raise StoreError(
        f"none of {len(whole):,} label rows has every required feature (known was {told}), so there is nothing to "
        "learn from; materialise their views, or declare nullable: true where a feature may be missing"
    )


def _newest_labels(connection: duckdb.DuckDBPyConnection, keys: Sequence[str], now: datetime) -> None:
    """Of each label the version known last by `now`: a corrected outcome replaces the wrong one from then on."""
    by = column_list((*keys, "predict_at"))
    known = instant(now)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE __label_rows AS SELECT * FROM __all_labels"
        f" WHERE known_at <= {known} AND predict_at <= {known}"
        f" QUALIFY row_number() OVER (PARTITION BY {by} ORDER BY known_at DESC) = 1 ORDER BY {by}"
    )
