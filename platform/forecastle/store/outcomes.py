"""Outcomes: every logged prediction beside what happened, as far as it is known now.

Belongs here: which outcome belongs to which prediction, what a prediction without one waits for, publishing.
Does not belong here: scores (`promote/live.py`), the logs (`prediction_log.py`, `told.py`), label SQL (`labels.py`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import duckdb
import pandas as pd

from forecastle.contract.load import LoadedSystem
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.feature_views import source_tables
from forecastle.store.labels import label_columns
from forecastle.store.selects import select
from forecastle.store.sql import SQL_TYPE, column_list, instant, quote_ident
from forecastle.store.warehouse import Warehouse

KIND: Final = "outcomes"

_LOGGED: Final = (
    "sequence", "prediction_id", "predicted_at", "raw_score", "probability",
    "model", "model_version", "bundle", "variant",
)  # fmt: skip
_TOLD: Final = {
    "sequence": "int64", "prediction_id": "str", "entity_json": "str", "outcome": "int64",
    "known_at": "datetime64[us, UTC]",
}  # fmt: skip


def publish_outcomes(
    warehouse: Warehouse, system: LoadedSystem, *, now: datetime, told: pd.DataFrame | None = None
) -> TableVersion:
    """Join the `predictions` table to what sources and callers know of outcomes at `now`, and publish.

    A label row (entity, predict_at) holds for every prediction about its entity from predict_at until its outcome was
    first known; the latest such row counts, else the earliest later one (asked before the first). Its outcome is
    the version known last. Where entities are asked about again while an outcome is open, the row of a prediction's
    own period comes last: none counts before the prediction is mature. Where that gives no outcome, `told` does (the
    table of `told.told_outcomes`): words about the prediction, else about its entity, which give way to any label of
    it; those known last, then told last.

    One row a prediction, in the log's order: entity keys, what was answered, the logged baseline, label columns,
    `outcome` (0, 1 or null), its `first_known_at` and `known_at`, `told_by` (`source`, `caller` or null),
    `caller_outcome` (what callers say, whether it counts or not), `matures_at`, `is_mature` and `status`:

        known             the outcome came after the prediction
        asked_too_late    every outcome of the entity was known already when it was asked; `outcome` is null. Where the
                          label asks about one entity again after an outcome, this is said once it is mature
        waiting           no outcome yet, and not yet mature
        overdue           no outcome though `label.matures` has passed
        no_entity         the request named no entity, and no caller told the outcome of the prediction

    Raises:
        StoreError: `predictions` was never published, or the label SQL cannot be run.
    """
    with warehouse.connect() as connection:
        facts = {"known_until": now.isoformat(), **_read_labels(warehouse, system, connection)}
        read = warehouse.attach(connection, {"__predictions": f"{system.name}/predictions/all"})["__predictions"]
        _settle(connection, tuple(system.declaration.entity_of_label().keys), now=now)
        _ask(connection, system, now=now)
        facts |= _hear(connection, system, told, now=now)
        _pair(connection, system)
        return warehouse.publish(
            TableName(system.name, KIND, "all"),
            _joined(system, now=now),
            connection=connection,
            facts={**facts, "input.predictions": f"{read.name}@{read.version}"},
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
    name = system.declaration.evaluate.baseline
    baseline = f"CAST(features_json ->> '$.{name}.value' AS DOUBLE) AS {quote_ident(name)}"
    connection.execute(
        f"CREATE TEMP TABLE __asked AS SELECT {column_list(_LOGGED)}, {_entity(system)}, {baseline}"
        f" FROM __predictions WHERE predicted_at <= {instant(now)}"
    )


def _hear(
    connection: duckdb.DuckDBPyConnection, system: LoadedSystem, told: pd.DataFrame | None, *, now: datetime
) -> dict[str, str]:
    """`__heard`: for a prediction (`sequence`) the caller's word that counts; returns how far the words were read."""
    words = pd.DataFrame(columns=list(_TOLD)).astype(_TOLD) if told is None else told[list(_TOLD)]
    connection.register("__told", words)
    connection.execute(
        f"CREATE TEMP TABLE __words AS SELECT sequence AS told_sequence, prediction_id, outcome, known_at,"
        f" {_entity(system)} FROM __told WHERE known_at <= {instant(now)}"
    )
    connection.unregister("__told")
    keys = tuple(system.declaration.entity_of_label().keys)
    same = " AND ".join(f"asked.{quote_ident(k)} = entity.{quote_ident(k)}" for k in keys)
    chosen = ", ".join(
        f"CASE WHEN named.outcome IS NULL THEN entity.{column} ELSE named.{column} END AS {column}"
        for column in ("outcome", "first_known_at", "known_at")
    )
    connection.execute(
        f"CREATE TEMP TABLE __heard AS"
        f" WITH named AS ({_newest_words(('prediction_id',), where='prediction_id IS NOT NULL')}),"
        f" entity AS ({_newest_words(keys, where='prediction_id IS NULL')})"
        f" SELECT asked.sequence, named.outcome IS NOT NULL AS is_named, {chosen} FROM __asked AS asked"
        f" LEFT JOIN named ON named.prediction_id = asked.prediction_id LEFT JOIN entity ON {same}"
    )
    return {} if words.empty else {"told_until_sequence": str(int(words["sequence"].max()))}


def _newest_words(by: tuple[str, ...], *, where: str) -> str:
    """SELECT of the word known last (of those, come in last) about each `by`, and when the first was known."""
    about = column_list(by)
    return (
        f"SELECT {about}, outcome, known_at, min(known_at) OVER (PARTITION BY {about}) AS first_known_at"
        f" FROM __words WHERE {where}"
        f" QUALIFY row_number() OVER (PARTITION BY {about} ORDER BY known_at DESC, told_sequence DESC) = 1"
    )


def _entity(system: LoadedSystem) -> str:
    """SQL of the entity's keys out of `entity_json`."""
    return ", ".join(
        f"CAST(entity_json ->> '$.{name}' AS {SQL_TYPE[dtype]}) AS {quote_ident(name)}"
        for name, dtype in system.declaration.entity_of_label().keys.items()
    )


def _pair(connection: duckdb.DuckDBPyConnection, system: LoadedSystem) -> None:
    """`__paired`: each prediction beside the label that holds for it, if any."""
    declared = system.declaration
    keys = tuple(declared.entity_of_label().keys)
    same = " AND ".join(f"asked.{quote_ident(k)} = settled.{quote_ident(k)}" for k in keys)
    carried = [name for name in declared.label.columns if name not in keys]
    chosen = [*_LOGGED, *keys, declared.evaluate.baseline]
    connection.execute(f"""
    CREATE TEMP TABLE __paired AS
      SELECT {column_list(chosen, table="asked")}, {"".join(f"settled.{quote_ident(c)}, " for c in carried)}
        settled.outcome, settled.first_known_at, settled.known_at
      FROM __asked AS asked LEFT JOIN __settled AS settled ON {same}
      QUALIFY row_number() OVER (
        PARTITION BY asked.sequence
        ORDER BY settled.first_known_at > asked.predicted_at DESC NULLS LAST,
          settled.predict_at <= asked.predicted_at DESC,
          abs(epoch_us(settled.predict_at) - epoch_us(asked.predicted_at)), settled.predict_at
      ) = 1
    """)


def _joined(system: LoadedSystem, *, now: datetime) -> str:
    """SQL of the published rows: what sources say, and what callers say where sources do not."""
    label, keys = system.declaration.label, tuple(system.declaration.entity_of_label().keys)
    matures = f"predicted_at + INTERVAL {int(label.matures.total_seconds())} SECOND"
    unnamed = " OR ".join(f"{quote_ident(k)} IS NULL" for k in keys)
    return f"""
    WITH judged AS (
      SELECT paired.*, {matures} AS matures_at, {matures} <= {instant(now)} AS is_mature,
        heard.outcome AS caller_outcome, heard.first_known_at AS caller_first_known_at,
        heard.known_at AS caller_known_at, CASE
          WHEN paired.first_known_at > predicted_at AND (is_mature OR NOT {_overlap(keys)}) THEN 'source'
          WHEN heard.first_known_at > predicted_at AND (is_named OR paired.first_known_at IS NULL) THEN 'caller'
        END AS told_by
      FROM __paired AS paired JOIN __heard AS heard ON heard.sequence = paired.sequence
    ), told AS (
      SELECT *, CASE
        WHEN told_by IS NOT NULL THEN 'known'
        WHEN (first_known_at IS NOT NULL OR caller_first_known_at IS NOT NULL) AND (is_mature OR NOT {_recurs(keys)})
          THEN 'asked_too_late'
        WHEN {unnamed} THEN 'no_entity'
        WHEN is_mature THEN 'overdue'
        ELSE 'waiting' END AS status
      FROM judged
    )
    SELECT * EXCLUDE (caller_first_known_at, caller_known_at) REPLACE (
      CASE told_by WHEN 'source' THEN outcome WHEN 'caller' THEN caller_outcome END AS outcome,
      {_of_teller("first_known_at")}, {_of_teller("known_at")}
    ) FROM told ORDER BY sequence
    """


def _recurs(keys: tuple[str, ...]) -> str:
    """SQL that is true where some entity has outcomes of several periods."""
    known = f"SELECT count(DISTINCT first_known_at) AS outcomes FROM __settled GROUP BY {column_list(keys)}"
    return f"(SELECT coalesce(max(outcomes) > 1, FALSE) FROM ({known}))"


def _overlap(keys: tuple[str, ...]) -> str:
    """SQL that is true where some entity's next period begins before the outcome of the last one is known."""
    by = f"OVER (PARTITION BY {column_list(keys)} ORDER BY predict_at)"
    following = f"lead(predict_at) {by} AS next_at, lead(first_known_at) {by} AS next_known_at"
    return (
        "(SELECT coalesce(bool_or(next_at < first_known_at AND first_known_at < next_known_at), FALSE)"
        f" FROM (SELECT first_known_at, {following} FROM __settled))"
    )


def _of_teller(column: str) -> str:
    """SQL of a time of the outcome: the caller's where a caller told it or no source has one."""
    return f"CASE WHEN told_by = 'caller' OR {column} IS NULL THEN caller_{column} ELSE {column} END AS {column}"
