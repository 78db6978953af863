"""The prediction log as a table: one row an answer, each answer once.

Belongs here: reading what the log has since the last time, its columns' types, adding it to the warehouse's table.
Does not belong here: writing the log (`prediction_log.py`), which log is used (`prediction_logs.py`), outcomes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pandas as pd

from forecastle.store.delta_log import TableVersion
from forecastle.store.prediction import Prediction, ReadableLog
from forecastle.store.warehouse import Warehouse

STREAMED_ROWS: Final = 2_000
_INTEGERS = ("sequence", "predicted_at_us")
_SHADOW = "shadow"
_FLOATS = ("raw_score", "probability", "interval_low", "interval_high", "latency_ms")


def logged_predictions(log: ReadableLog, *, after: int = 0) -> pd.DataFrame:
    """Every answer in the log with a sequence above `after`, in commit order; no rows when nothing was ever asked.

    `predicted_at` is tz-aware UTC; `*_json` columns hold JSON text as they were logged.
    """
    names = list(Prediction.__struct_fields__)
    rows: list[Prediction] = []
    if log.exists():
        while batch := log.since(rows[-1].sequence if rows else after):
            rows.extend(batch)
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    types = {n: "int64" if n in _INTEGERS else "float64" if n in _FLOATS else "str" for n in names}
    frame = pd.DataFrame(columns, columns=names).astype(types)
    at = pd.to_datetime(frame["predicted_at_us"], unit="us", utc=True).astype("datetime64[us, UTC]")
    return frame.drop(columns="predicted_at_us").assign(predicted_at=at)


def streamed(log: ReadableLog, *, since_us: int = 0) -> Iterator[Prediction]:
    """Predictions made at or after a moment (µs since 1970 UTC), shadows too, in commit order.

    A few thousand are held at a time; none come when nothing was ever asked. The log stays open.
    """
    if not log.exists():
        return
    cursor = log.before(since_us) if since_us else 0
    while batch := log.since(cursor, limit=STREAMED_ROWS):
        yield from (prediction for prediction in batch if prediction.predicted_at_us >= since_us)
        cursor = batch[-1].sequence


def ingest_predictions(log: ReadableLog, warehouse: Warehouse, *, table: str) -> TableVersion:
    """Publish the table with what the log has got since the version before: each answer stands there exactly once.

    The table itself is the cursor: whatever a run that was killed has or has not published, the next one begins after
    the last row that can be seen. Rows of another log, from before a move to a server, stay. What a challenger said
    in the shadow of an answer is no answer and stays in the log.

    Raises:
        ConflictError: another run published meanwhile; run again.
        StoreError: the log cannot be read.
    """
    before = warehouse.version(table)
    if before is None:
        return warehouse.publish(table, _answers(logged_predictions(log)), facts={"log": log.origin})
    same_log = before.facts.get("log") == log.origin
    held = warehouse.frame(before, ["sequence", "prediction_id"])
    after = int(held["sequence"].max()) if same_log and len(held) else 0
    fresh = _answers(logged_predictions(log, after=after))
    fresh = fresh[~fresh["prediction_id"].isin(held["prediction_id"])]
    with warehouse.connect() as connection:
        connection.register("fresh", fresh)
        query = f"{warehouse.relation(before)} UNION ALL BY NAME SELECT * FROM fresh"
        return warehouse.publish(
            table, query, connection=connection, facts={"log": log.origin}, expected_version=before.version
        )


def _answers(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["variant"] != _SHADOW]
