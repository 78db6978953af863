"""Outcomes: every logged prediction beside what happened, as far as it is known now.

Belongs here: which outcome belongs to which prediction, what a prediction without one waits for, publishing.
Does not belong here: scores (`learn/live.py`), the log (`prediction_log.py`), label SQL (`labels.py`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import duckdb

from forecastle.contract.load import LoadedSystem
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.labels import label_columns
from forecastle.store.selects import select
from forecastle.store.sql import SQL_TYPE, column_list, instant, quote_ident
from forecastle.store.training_set import source_tables
from forecastle.store.warehouse import Warehouse

KIND: Final = "outcomes"

_LOGGED: Final = (
    "sequence", "prediction_id", "predicted_at", "raw_score", "probability",
    "model", "model_version", "bundle", "variant",
)  # fmt: skip


def publish_outcomes(warehouse: Warehouse, system: LoadedSystem, *, now: datetime) -> TableVersion:
    """Join the `predictions` table to the label SQL's outcomes as known at `now`, and publish.

    A label row (entity, predict_at) holds for every prediction about its entity from predict_at until its outcome was
    first known; the latest such row counts, else the earliest later one (asked before the first). Its outcome is
    the version known last. One row a prediction, in the log's order: entity keys, what was answered, the baseline as
    logged, label columns, `outcome` (0, 1 or null), `first_known_at` and `known_at` of the outcome, `matures_at`,
    `is_mature` and `status`:

        known             the outcome came after the prediction
        asked_too_late    every outcome of the entity was known already when it was asked; `outcome` is null
        waiting           no outcome yet, and not yet mature
        overdue           no outcome though `label.matures` has passed
        no_entity         the request named no entity, so that nothing can be joined

    Raises:
        StoreError: `predictions` was never published, or the label SQL cannot be run.
    """
    with warehouse.connect() as connection:
        labels = _read_labels(warehouse, system, connection)
        read = warehouse.attach(connection, {"__predictions": f"{system.name}/predictions/all"})["__predictions"]
        _settle(connection, tuple(system.declaration.entity_of_label().keys), now=now)
        _ask(connection, system, now=now)
        return warehouse.publish(
            TableName(system.name, KIND, "all"),
            _joined(system, now=now),
            connection=connection,
            facts={"known_until": now.isoformat(), **labels, "input.predictions": f"{read.name}@{read.version}"},
        )


def _read_labels(warehouse: Warehouse, system: LoadedSystem, connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """`__labels`: what the label SQL gives of the newest sources; returns which versions those are."""
    label, entity = system.declaration.label, system.declaration.entity_of_label()
    columns = {name: column.dtype for name, column in label_columns(label, entity).items()}
    with select(
        warehouse,
        system.sql[label.sql],
        source_tables(system, label.sql),
        columns=columns,
        order_by=("predict_at", *entity.keys, "known_at"),
        what="label for outcomes",
    ) as selection:
        connection.register("__label_batches", selection.batches)
        connection.execute("CREATE TEMP TABLE __labels AS SELECT * FROM __label_batches")
        connection.unregister("__label_batches")
        return selection.facts()


def _settle(connection: duckdb.DuckDBPyConnection, keys: tuple[str, ...], *, now: datetime) -> None:
    """`__settled`: of each label the version known last at `now`, and when its first version was known."""
    by = column_list((*keys, "predict_at"))
    connection.execute(
        f"CREATE TEMP TABLE __settled AS"
        f" SELECT *, min(known_at) OVER (PARTITION BY {by}) AS first_known_at FROM __labels"
        f" WHERE known_at <= {instant(now)}"
        f" QUALIFY row_number() OVER (PARTITION BY {by} ORDER BY known_at DESC) = 1"
    )


def _ask(connection: duckdb.DuckDBPyConnection, system: LoadedSystem, *, now: datetime) -> None:
    """`__asked`: predictions given by `now`, with entity keys and the baseline out of their JSON."""
    declared = system.declaration
    entity = [
        f"CAST(entity_json ->> '$.{name}' AS {SQL_TYPE[dtype]}) AS {quote_ident(name)}"
        for name, dtype in declared.entity_of_label().keys.items()
    ]
    name = declared.evaluate.baseline
    baseline = f"CAST(features_json ->> '$.{name}.value' AS DOUBLE) AS {quote_ident(name)}"
    connection.execute(
        f"CREATE TEMP TABLE __asked AS SELECT {column_list(_LOGGED)}, {', '.join(entity)}, {baseline}"
        f" FROM __predictions WHERE predicted_at <= {instant(now)}"
    )


def _joined(system: LoadedSystem, *, now: datetime) -> str:
    """SQL of the published rows."""
    declared = system.declaration
    keys = tuple(declared.entity_of_label().keys)
    matures = f"predicted_at + INTERVAL {int(declared.label.matures.total_seconds())} SECOND"
    same = " AND ".join(f"asked.{quote_ident(k)} = settled.{quote_ident(k)}" for k in keys)
    unnamed = " OR ".join(f"{quote_ident(k)} IS NULL" for k in keys)
    carried = [name for name in declared.label.columns if name not in keys]
    after = "settled.first_known_at > asked.predicted_at"
    chosen = [*_LOGGED, *keys, declared.evaluate.baseline]
    return f"""
    WITH paired AS (
      SELECT {column_list(chosen, table="asked")}, {"".join(f"settled.{quote_ident(c)}, " for c in carried)}
        settled.outcome, settled.first_known_at, settled.known_at, {matures} AS matures_at
      FROM __asked AS asked LEFT JOIN __settled AS settled ON {same}
      QUALIFY row_number() OVER (
        PARTITION BY asked.sequence
        ORDER BY {after} DESC NULLS LAST, settled.predict_at <= asked.predicted_at DESC,
          abs(epoch_us(settled.predict_at) - epoch_us(asked.predicted_at)), settled.predict_at
      ) = 1
    ), told AS (
      SELECT *, matures_at <= {instant(now)} AS is_mature, CASE
        WHEN {unnamed} THEN 'no_entity'
        WHEN first_known_at > predicted_at THEN 'known'
        WHEN first_known_at IS NOT NULL THEN 'asked_too_late'
        WHEN matures_at <= {instant(now)} THEN 'overdue'
        ELSE 'waiting' END AS status
      FROM paired
    )
    SELECT * REPLACE (CASE WHEN status = 'known' THEN outcome END AS outcome) FROM told ORDER BY sequence
    """
