"""Labels: label SQL becomes a published table of entity keys, predict_at, outcome and the outcome's known_at.

Belongs here: running label SQL and the audits that every label must pass.
Does not belong here: joining features (`point_in_time.py`), which label may train when (`learn/split.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from forecastle.contract.system import Column, Entity, Label
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.feature_views import contract_audit, select_facts, unique_audit
from forecastle.store.selects import Tables, select
from forecastle.store.warehouse import Warehouse

KIND: Final = "label"


def run_label(
    warehouse: Warehouse,
    table: TableName,
    label: Label,
    *,
    entity: Entity,
    text: str,
    sources: Tables,
    as_of: datetime | None = None,
    facts: Mapping[str, str] | None = None,
) -> TableVersion:
    """Run label SQL (`text`) over its sources and publish the result as `table`.

    Columns: entity keys, `predict_at`, `outcome` (0 or 1, int64), `known_at` of the outcome, the declared
    further columns; sorted by `predict_at`, keys, `known_at`. A corrected outcome is a further row with its
    own `known_at`.

    Raises:
        StoreError: the SQL or its columns do not fit, an outcome is not 0 or 1, a key or time is null, or two rows
            share keys, `predict_at` and `known_at`. The old version stays.
    """
    columns = label_columns(label, entity)
    keys = tuple(entity.keys)
    dtypes = {name: column.dtype for name, column in columns.items()}
    with select(
        warehouse,
        text,
        sources,
        columns=dtypes,
        order_by=("predict_at", *keys, "known_at"),
        what=f"label {table.name}",
        as_of=as_of,
    ) as selection:
        return warehouse.publish(
            table,
            selection.batches,
            audits=(contract_audit(columns), unique_audit((*keys, "predict_at", "known_at"))),
            facts={**select_facts(text, selection), **(facts or {})},
        )


def label_columns(label: Label, entity: Entity) -> dict[str, Column]:
    """Columns of a label table in order, with their contracts."""
    return {
        **{name: Column(dtype=dtype) for name, dtype in entity.keys.items()},
        "predict_at": Column(dtype="timestamp"),
        "outcome": Column(dtype="int64", unit="flag", allowed=[0, 1]),
        "known_at": Column(dtype="timestamp"),
        **label.columns,
    }
