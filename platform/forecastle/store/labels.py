"""Labels: label SQL becomes a published table of entity keys, predict_at, outcome and the outcome's known_at.

Belongs here: running label SQL and the audits that every label must pass.
Does not belong here: joining features (`point_in_time.py`), which label may train when (`learn/split.py`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from forecastle.contract.column import Column
from forecastle.contract.system import Entity, Label
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.feature_views import contract_audit, unique_audit
from forecastle.store.selects import Tables, publish_select
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
    known_until: datetime | None = None,
) -> TableVersion:
    """Run label SQL (`text`) over its sources, as far as `known_until`, and publish the result as `table`.

    Columns: entity keys, `predict_at`, `outcome` (0 or 1, int64), `known_at` of the outcome, the declared
    further columns; sorted by `predict_at`, keys, `known_at`. A corrected outcome is a further row with its
    own `known_at`.

    Raises:
        StoreError: the SQL or its columns do not fit, an outcome is not 0 or 1, a key or time is null, or two rows
            share keys, `predict_at` and `known_at`. The old version stays.
    """
    columns = label_columns(label, entity)
    order = ("predict_at", *entity.keys, "known_at")
    return publish_select(
        warehouse,
        table,
        text,
        sources,
        columns={name: column.dtype for name, column in columns.items()},
        order_by=order,
        what=f"label {table.name}",
        audits=(contract_audit(columns), unique_audit(order)),
        known_until=known_until,
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
