"""New labels: how many outcomes became known since a model was trained.

Belongs here: counting them over the newest sources.
Does not belong here: whether they are enough (`promote/retrain.py`), publishing labels (`labels.py`).
"""

from __future__ import annotations

from datetime import datetime

from forecastle.contract.load import LoadedSystem
from forecastle.store.feature_views import source_tables
from forecastle.store.labels import label_columns
from forecastle.store.selects import select
from forecastle.store.sql import column_list, instant
from forecastle.store.warehouse import Warehouse


def count_new_labels(warehouse: Warehouse, system: LoadedSystem, *, after: datetime, until: datetime) -> int:
    """Label rows (entity and predict_at, corrections counted once) first known after `after` and by `until`.

    Raises:
        StoreError: the label SQL cannot be run over the newest sources.
    """
    label, entity = system.declaration.label, system.declaration.entity_of_label()
    by = column_list(("predict_at", *entity.keys))
    with (
        warehouse.connect() as connection,
        select(
            warehouse,
            system.sql[label.sql],
            source_tables(system, label.sql),
            columns={name: column.dtype for name, column in label_columns(label, entity).items()},
            order_by=("predict_at", *entity.keys, "known_at"),
            what="label for new labels",
        ) as selection,
    ):
        connection.register("__labels", selection.batches)
        query = (
            f"SELECT count(*) FROM (SELECT min(known_at) AS first_known_at FROM __labels GROUP BY {by})"
            f" WHERE first_known_at > {instant(after)} AND first_known_at <= {instant(until)}"
        )
        ((found,),) = connection.execute(query).fetchall()
        connection.unregister("__labels")
    return int(found)
