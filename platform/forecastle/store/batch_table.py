"""Batches in the embedded prediction log: one row of one table each.

Belongs here: the table, writing one batch inside a transaction, finding batches by id, sequence and time.
Does not belong here: connections and transactions (`prediction_log.py`), the record (`prediction_batch.py`).
Sequences are those of table `predictions`: a batch takes as many as it has rows, so that one cursor sees both.
https://www.sqlite.org/autoinc.html
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

from forecastle.store.prediction_batch import Layout, PredictionBatch, Times

BATCHES: Final = "prediction_batches"
SCHEMA: Final = (
    f"""
CREATE TABLE IF NOT EXISTS {BATCHES} (
  last_sequence INTEGER PRIMARY KEY, batch_id TEXT NOT NULL UNIQUE, rows INTEGER NOT NULL,
  predicted_at_us INTEGER NOT NULL, shared_json TEXT NOT NULL, columns_json TEXT NOT NULL, values_json TEXT NOT NULL
) STRICT
""",
    f"CREATE INDEX IF NOT EXISTS {BATCHES}_at ON {BATCHES} (predicted_at_us)",
)
_LIST: Final = "batch_id, predicted_at_us, shared_json, columns_json, values_json, last_sequence"
_LAST_GIVEN: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'predictions'"


class _Shared(msgspec.Struct, frozen=True):
    """What all rows of a batch have in common."""

    system: str
    model: str
    model_version: str
    bundle: str
    feature_set: str
    variant: str
    latency_ms: float
    layout: Layout


class _Columns(msgspec.Struct, frozen=True):
    """What differs between rows, but for the features' values."""

    times: tuple[Times, ...]
    raw_scores: list[float]
    probabilities: list[float]
    intervals: tuple[list[float], list[float]] | None
    entities: list[msgspec.Raw] | None
    decisions: list[msgspec.Raw] | None


_shared_of: Final = msgspec.json.Decoder(_Shared).decode
_columns_of: Final = msgspec.json.Decoder(_Columns).decode


def write_batch(connection: sqlite3.Connection, batch: PredictionBatch) -> PredictionBatch:
    """Insert a batch in the transaction under way; gives it with its sequences.

    Raises:
        sqlite3.Error: it was not written.
    """
    given = connection.execute(_LAST_GIVEN).fetchone()
    if given is None:
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('predictions', 0)")
    last = (given[0] if given else 0) + len(batch)
    connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'predictions'", (last,))
    row = (last, batch.batch_id, len(batch), batch.predicted_at_us, *_texts(batch), batch.values_json)
    connection.execute(f"INSERT INTO {BATCHES} VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    return msgspec.structs.replace(batch, last_sequence=last)


def batch_of(connection: sqlite3.Connection, batch_id: str) -> PredictionBatch | None:
    """The batch of that id, or None."""
    if not _is_there(connection):
        return None
    row = connection.execute(f"SELECT {_LIST} FROM {BATCHES} WHERE batch_id = ?", (batch_id,)).fetchone()
    return _batch(row) if row else None


def batches_after(connection: sqlite3.Connection, sequence: int, *, rows: int) -> list[PredictionBatch]:
    """Batches with a row above a sequence, in commit order, as many as it takes to have that many such rows."""
    if not _is_there(connection):
        return []
    cursor = connection.execute(
        f"SELECT {_LIST} FROM {BATCHES} WHERE last_sequence > ? ORDER BY last_sequence", (sequence,)
    )
    return _until(cursor, rows, after=sequence)


def newest_batches(connection: sqlite3.Connection, *, rows: int) -> list[PredictionBatch]:
    """The newest batches that together have so many rows, the newest first."""
    if not _is_there(connection):
        return []
    return _until(connection.execute(f"SELECT {_LIST} FROM {BATCHES} ORDER BY last_sequence DESC"), rows, after=0)


def sequences(connection: sqlite3.Connection, *, made_since_us: int | None = None) -> tuple[int | None, int | None]:
    """First and last sequence of the batches, all or those made since a moment; None where there is none."""
    if not _is_there(connection):
        return None, None
    chosen, values = ("", ()) if made_since_us is None else (" WHERE predicted_at_us >= ?", (made_since_us,))
    columns = "min(last_sequence - rows + 1), max(last_sequence)"
    first, last = connection.execute(f"SELECT {columns} FROM {BATCHES}{chosen}", values).fetchone()
    return first, last


def rows_in(connection: sqlite3.Connection) -> int:
    """How many predictions the batches hold."""
    if not _is_there(connection):
        return 0
    return int(connection.execute(f"SELECT coalesce(sum(rows), 0) FROM {BATCHES}").fetchone()[0])


def _is_there(connection: sqlite3.Connection) -> bool:
    """Whether the log has the table; one that no service has opened since batches have one of their own has not."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (BATCHES,))
    return found.fetchone() is not None


def _until(cursor: sqlite3.Cursor, rows: int, *, after: int) -> list[PredictionBatch]:
    """Batches until so many of their rows have a sequence above `after`."""
    found: list[PredictionBatch] = []
    while rows > 0 and (row := cursor.fetchone()):
        found.append(_batch(row))
        rows -= min(len(found[-1]), found[-1].last_sequence - after)
    cursor.close()
    return found


def _texts(batch: PredictionBatch) -> tuple[str, str]:
    shared = _Shared(**{name: getattr(batch, name) for name in _Shared.__struct_fields__})
    columns = _Columns(
        batch.times, batch.raw_scores, batch.probabilities, batch.intervals, _raw(batch.entities), _raw(batch.decisions)
    )
    return msgspec.json.encode(shared).decode(), msgspec.json.encode(columns).decode()


def _batch(row: tuple[Any, ...]) -> PredictionBatch:
    batch_id, predicted_at_us, shared_json, columns_json, values_json, last_sequence = row
    columns = _columns_of(columns_json)
    told = msgspec.structs.asdict(_shared_of(shared_json)) | msgspec.structs.asdict(columns)
    told |= {"entities": _plain(columns.entities), "decisions": _plain(columns.decisions)}
    return PredictionBatch(
        batch_id=batch_id, predicted_at_us=predicted_at_us, values_json=values_json, last_sequence=last_sequence, **told
    )


def _raw(texts: list[str] | None) -> list[msgspec.Raw] | None:
    return None if texts is None else [msgspec.Raw(text.encode()) for text in texts]


def _plain(texts: list[msgspec.Raw] | None) -> list[str] | None:
    return None if texts is None else [bytes(text).decode() for text in texts]
