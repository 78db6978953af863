"""The prediction log as a table: one row an answer, each answer once.

Belongs here: reading the whole log and giving its columns their types.
Does not belong here: writing the log (`prediction_log.py`), joining outcomes.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from forecastle.store.prediction_log import Prediction, PredictionReader

_INTEGERS = ("sequence", "predicted_at_us")
_FLOATS = ("raw_score", "probability", "interval_low", "interval_high", "latency_ms")


def logged_predictions(path: Path) -> pd.DataFrame:
    """Every answer in the log at `path`, in commit order; no rows when nothing was ever asked.

    `predicted_at` is tz-aware UTC; `*_json` columns hold JSON text as they were logged.
    """
    names = list(Prediction.__struct_fields__)
    rows: list[Prediction] = []
    if path.exists():
        reader = PredictionReader(path)
        try:
            while batch := reader.since(rows[-1].sequence if rows else 0):
                rows.extend(batch)
        finally:
            reader.close()
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    types = {n: "int64" if n in _INTEGERS else "float64" if n in _FLOATS else "str" for n in names}
    frame = pd.DataFrame(columns, columns=names).astype(types)
    at = pd.to_datetime(frame["predicted_at_us"], unit="us", utc=True).astype("datetime64[us, UTC]")
    return frame.drop(columns="predicted_at_us").assign(predicted_at=at)
