"""The outcome log: what callers say happened, beside the prediction log, with every correction kept.

Belongs here: the record, appending each request once, which outcome of a prediction counts at a time.
Does not belong here: outcomes that label SQL finds (`outcomes.py`), joining either to predictions.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Final

from forecastle.store.durable_file import DISK_LIMIT_BYTES, DurableFile


@dataclass(frozen=True, slots=True)
class ToldOutcome:
    """What one caller said. `sequence` is 0 until the log has given one.

    Times count microseconds since 1970 UTC: `known_at_us` is when the outcome was first known to the caller,
    `received_at_us` when we heard of it. `prediction_id` is None where only the entity was named.
    """

    request_id: str
    request_sha256: str
    system: str
    prediction_id: str | None
    entity_json: str
    outcome: int
    known_at_us: int
    received_at_us: int
    sequence: int = 0


_COLUMNS: Final = tuple(field.name for field in fields(ToldOutcome))
_LIST: Final = ", ".join(_COLUMNS)
_INSERT: Final = (
    f"INSERT INTO outcomes ({', '.join(_COLUMNS[:-1])}) VALUES ({', '.join('?' * (len(_COLUMNS) - 1))}) "
    "ON CONFLICT (request_id) DO NOTHING"
)
_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS outcomes (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  request_id TEXT NOT NULL UNIQUE, request_sha256 TEXT NOT NULL, system TEXT NOT NULL, prediction_id TEXT,
  entity_json TEXT NOT NULL, outcome INTEGER NOT NULL CHECK (outcome IN (0, 1)),
  known_at_us INTEGER NOT NULL, received_at_us INTEGER NOT NULL
) STRICT""",
    "CREATE INDEX IF NOT EXISTS outcomes_prediction ON outcomes (prediction_id, entity_json)",
    "CREATE INDEX IF NOT EXISTS outcomes_entity ON outcomes (entity_json)",
)
_values = attrgetter(*_COLUMNS[:-1])


class OutcomeLog:
    """Appends and reads; what counts now is never changed or removed."""

    def __init__(self, path: Path, *, disk_limit_bytes: int = DISK_LIMIT_BYTES) -> None:
        """Open or create the log; it never grows beyond `disk_limit_bytes`.

        Raises:
            StoreError: the file cannot be made or is no outcome log.
        """
        self._file = DurableFile(path, what="outcome log", schema=_SCHEMA, disk_limit_bytes=disk_limit_bytes)

    def append(self, outcome: ToldOutcome) -> ToldOutcome:
        """The outcome with its sequence, on disk; or the one that its request id already has.

        Raises:
            StoreError: it could not be written.
        """
        with self._file.transaction() as connection:
            connection.execute(_INSERT, _values(outcome))
            row = connection.execute(f"SELECT {_LIST} FROM outcomes WHERE request_id = ?", (outcome.request_id,))
            return ToldOutcome(*row.fetchone())

    def history(self, *, prediction_id: str | None, entity_json: str) -> list[ToldOutcome]:
        """Everything said about one prediction, or (without one) about an entity as such, as it came in."""
        return self._read("prediction_id IS ? AND entity_json = ? ORDER BY sequence", prediction_id, entity_json)

    def current(self, *, prediction_id: str | None, entity_json: str) -> ToldOutcome | None:
        """What counts now: the outcome known last, and of those the one that came in last."""
        order = "prediction_id IS ? AND entity_json = ? ORDER BY known_at_us DESC, sequence DESC LIMIT 1"
        found = self._read(order, prediction_id, entity_json)
        return found[0] if found else None

    def since(self, sequence: int, *, limit: int = 10_000) -> list[ToldOutcome]:
        """Up to `limit` outcomes with a higher sequence, in the order in which they came in."""
        return self._read("sequence > ? ORDER BY sequence LIMIT ?", sequence, limit)

    def newest(self) -> int:
        """The sequence of what came in last; 0 at first."""
        return int(self._file.fetch("SELECT coalesce(max(sequence), 0) FROM outcomes", ())[0][0])

    def forget_superseded(self, *, received_before_us: int) -> int:
        """Remove outcomes that came before a time and that a later one has corrected; how many.

        The one known first stays: what was asked after it is no forecast. The id of a removed request is forgotten:
        told again, it is a new outcome.
        """
        same = "other.prediction_id IS outcomes.prediction_id AND other.entity_json = outcomes.entity_json"
        place = "(other.known_at_us, other.sequence) {} (outcomes.known_at_us, outcomes.sequence)"
        other = f"EXISTS (SELECT 1 FROM outcomes AS other WHERE {same} AND {place})"
        with self._file.transaction() as connection:
            return connection.execute(
                f"DELETE FROM outcomes WHERE received_at_us < ? AND {other.format('>')} AND {other.format('<')}",
                (received_before_us,),
            ).rowcount

    def close(self) -> None:
        """Close the log."""
        self._file.close()

    def _read(self, where: str, *values: object) -> list[ToldOutcome]:
        return [ToldOutcome(*row) for row in self._file.fetch(f"SELECT {_LIST} FROM outcomes WHERE {where}", values)]
