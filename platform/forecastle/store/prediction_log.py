"""The embedded prediction log: every answer given, on disk before it leaves, in one SQLite file per system.

Belongs here: writing and reading that file; a sequence number in commit order.
Does not belong here: the record (`prediction.py`), its short forms (`packed_features.py`, `batch_table.py`), servers.
SQLite in WAL mode (https://www.sqlite.org/wal.html), synchronous=FULL: a commit survives a loss of power.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from forecastle.contract.errors import CapacityError, StoreError
from forecastle.store import batch_table, packed_features
from forecastle.store.group_commit import GroupCommit
from forecastle.store.prediction import Prediction, UsualPrediction, predictions_in
from forecastle.store.prediction_batch import Layout, PredictionBatch, row_of
from forecastle.store.sqlite_turns import BUSY_TIMEOUT_SECONDS, NO_WAITING, in_turn, is_busy

DISK_LIMIT_BYTES: Final = 64 << 30
LOG_LIMIT: Final = "FORECASTLE_LOG_LIMIT_BYTES"
"""Variable that limits the embedded log."""
PAGE_BYTES: Final = 4_096
ROWS_A_STATEMENT: Final = 64

_T = TypeVar("_T")


_COLUMNS: Final = Prediction.__struct_fields__
_LIST: Final = ", ".join(_COLUMNS)
_WIDTH: Final = len(_COLUMNS) - 1
_ROW: Final = f"({', '.join('?' * _WIDTH)})"
_FEATURES, _VECTOR = _COLUMNS.index("features_json"), _COLUMNS.index("vector_json")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS predictions (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  prediction_id TEXT NOT NULL UNIQUE, request_id TEXT NOT NULL UNIQUE, request_sha256 TEXT NOT NULL,
  system TEXT NOT NULL, entity_json TEXT NOT NULL, predicted_at_us INTEGER NOT NULL,
  raw_score REAL NOT NULL, probability REAL NOT NULL, interval_low REAL, interval_high REAL,
  model TEXT NOT NULL, model_version TEXT NOT NULL, bundle TEXT NOT NULL, feature_set TEXT NOT NULL,
  variant TEXT NOT NULL, features_json TEXT NOT NULL, degraded_json TEXT NOT NULL, vector_json TEXT NOT NULL,
  decision_json TEXT NOT NULL, latency_ms REAL NOT NULL
) STRICT
"""
_INDEX: Final = "CREATE INDEX IF NOT EXISTS predictions_at ON predictions (predicted_at_us)"

_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC})


class PredictionReader:
    """Reads a log that exists; writes nothing. Each thread has its own connection."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet; `path` is the log's SQLite file."""
        self._path = path
        self._local = threading.local()

    @property
    def origin(self) -> str:
        """The embedded file."""
        return "file"

    def exists(self) -> bool:
        """Whether the file is there."""
        return self._path.is_file()

    def get(self, prediction_id: str) -> Prediction | None:
        """The prediction of that id, or None.

        Raises:
            StoreError: the log is not there or cannot be read.
        """
        return self._one("prediction_id", prediction_id)

    def by_request(self, request_id: str) -> Prediction | None:
        """The prediction that answered that request id, or None."""
        return self._one("request_id", request_id)

    def since(self, sequence: int, *, limit: int = 10_000) -> list[Prediction]:
        """Up to `limit` predictions with a higher sequence, in commit order: a cursor that skips none."""
        where = "WHERE sequence > ? ORDER BY sequence LIMIT ?"
        found = self._merged(
            where, (sequence, limit), lambda asked: batch_table.batches_after(asked, sequence, rows=limit)
        )
        return [one for one in found if one.sequence > sequence][:limit]

    def before(self, moment_us: int) -> int:
        """A cursor for `since`: no prediction made at or after the moment (µs since 1970 UTC) stands at or below it."""
        alone = "SELECT min(sequence), max(sequence) FROM predictions"

        def ask(connection: sqlite3.Connection) -> int:
            since = connection.execute(f"{alone} WHERE predicted_at_us >= ?", (moment_us,)).fetchone()
            first = [since[0], batch_table.sequences(connection, made_since_us=moment_us)[0]]
            last = [connection.execute(alone).fetchone()[1], batch_table.sequences(connection)[1]]
            return min([one - 1 for one in first if one is not None], default=max(one or 0 for one in last))

        return self._at_one_moment(ask)

    def newest(self, limit: int) -> list[Prediction]:
        """The last `limit` predictions, in commit order."""
        where = "ORDER BY sequence DESC LIMIT ?"
        found = self._merged(where, (limit,), lambda connection: batch_table.newest_batches(connection, rows=limit))
        return found[max(0, len(found) - limit) :]

    def count(self) -> int:
        """How many predictions the log holds."""

        def ask(connection: sqlite3.Connection) -> int:
            (alone,) = connection.execute("SELECT count(*) FROM predictions").fetchone()
            return int(alone) + batch_table.rows_in(connection)

        return self._at_one_moment(ask)

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _one(self, column: str, value: str) -> Prediction | None:
        found = self._asked(lambda connection: _rows(connection, f"WHERE {column} = ?", (value,)))
        if found or (place := row_of(value)) is None:
            return found[0] if found else None
        batch_id, row = place
        batch = self._asked(lambda connection: batch_table.batch_of(connection, batch_id))
        return predictions_in(batch)[row] if batch is not None and row < len(batch) else None

    def _merged(
        self,
        where: str,
        values: Sequence[object],
        batches: Callable[[sqlite3.Connection], list[PredictionBatch]],
    ) -> list[Prediction]:
        """Predictions of both tables, by sequence."""
        alone, together = self._at_one_moment(lambda asked: (_rows(asked, where, values), batches(asked)))
        return sorted([*alone, *chain.from_iterable(map(predictions_in, together))], key=attrgetter("sequence"))

    def _at_one_moment(self, ask: Callable[[sqlite3.Connection], _T]) -> _T:
        """`_asked` by statements that all see the log as it stood when the first one began."""

        def ask_all(connection: sqlite3.Connection) -> _T:
            connection.execute("BEGIN")
            try:
                return ask(connection)
            finally:
                connection.execute("COMMIT")

        return self._asked(ask_all)

    def _asked(self, ask: Callable[[sqlite3.Connection], _T]) -> _T:
        """What this thread's connection answers."""
        try:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                if not self._path.is_file():
                    raise StoreError(f"prediction log {self._path} is not there; no prediction was served yet")
                connection = self._local.connection = _connect(self._path)
                connection.execute("PRAGMA query_only=ON")
            return ask(connection)
        except sqlite3.Error as error:
            raise StoreError(f"prediction log {self._path} cannot be read: {error}") from error


class PredictionLog(PredictionReader):
    """Reads and appends; one writer thread commits whatever waits as one transaction.

    Several processes may append to one file: writers wait for each other up to `BUSY_TIMEOUT_SECONDS`.
    """

    def __init__(self, path: Path, *, disk_limit_bytes: int = DISK_LIMIT_BYTES) -> None:
        """Open or create the log, its folder 0700; it never grows beyond `disk_limit_bytes`.

        Raises:
            StoreError: the file cannot be made or is no prediction log.
        """
        super().__init__(path)
        self._disk_limit_bytes = disk_limit_bytes
        self._layout_ids: dict[Layout, int] = {}
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._writer = _connect(path)
            self._writer.execute("PRAGMA journal_mode=WAL")
            self._writer.execute("PRAGMA synchronous=FULL")
            self._writer.execute(f"PRAGMA max_page_count={max(1, disk_limit_bytes // PAGE_BYTES)}")
            for statement in (_SCHEMA, _INDEX, *batch_table.SCHEMA, packed_features.SCHEMA):
                self._writer.execute(statement)
            self._writer.execute(NO_WAITING)
            path.chmod(0o600)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"prediction log {path} cannot be opened: {error}") from error
        self._group: GroupCommit[Prediction | PredictionBatch] = GroupCommit(
            self._commit, name="prediction-log", size=lambda one: len(one) if isinstance(one, PredictionBatch) else 1
        )

    @property
    def pending(self) -> int:
        """Predictions handed over and not yet on disk."""
        return self._group.pending

    @property
    def is_failing(self) -> bool:
        """Whether what was appended last could not be written: a full disk, a server that is away."""
        return self._group.is_failing

    async def answered(self, request_id: str) -> Prediction | None:
        """`by_request`; a local file keeps nobody waiting."""
        return self.by_request(request_id)

    async def append(self, prediction: Prediction) -> Prediction:
        """Return once the prediction is on disk: it with its sequence, or the one its request id already has.

        Raises:
            CapacityError: the disk is full, or too many wait already; the answer must not leave.
            StoreError: it could not be written; the answer must not leave.
        """
        return (await self.append_many((prediction,)))[0]

    async def append_many(
        self, predictions: Sequence[Prediction], *, batch: PredictionBatch | None = None
    ) -> list[Prediction]:
        """Return once all are on disk, by one transaction: each with its sequence, or the one its request id has.

        Raises:
            CapacityError: the disk is full, or too many wait already; no answer may leave.
            StoreError: none was written; no answer may leave.
        """
        stored = await self._group.append(predictions if batch is None else (*predictions, batch))
        return [one for one in stored if isinstance(one, Prediction)]

    def close(self) -> None:
        """Write what waits, then close."""
        self._group.close()
        self._writer.close()
        super().close()

    def _commit(self, records: Sequence[Prediction | PredictionBatch]) -> list[Prediction | PredictionBatch]:
        try:
            return self._written(records)
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            self._layout_ids.clear()  # one may have been given in what was rolled back
            if getattr(error, "sqlite_errorcode", None) in _FULL:
                raise CapacityError(
                    f"the prediction log is full: it may take {self._disk_limit_bytes:,} bytes, or its disk has no "
                    f"room ({error}); make room, or set a higher {LOG_LIMIT}"
                ) from error
            raise StoreError(f"predictions cannot be written to {self._path}: {error}") from error

    def _written(self, records: Sequence[Prediction | PredictionBatch]) -> list[Prediction | PredictionBatch]:
        alone = [one for one in records if isinstance(one, Prediction)]
        together = [one for one in records if isinstance(one, PredictionBatch)]
        if not together and len(alone) <= ROWS_A_STATEMENT:
            try:
                return [*self._inserted(alone)]
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
        in_turn(lambda: self._writer.execute("BEGIN IMMEDIATE"))
        parts = [self._inserted(alone[i : i + ROWS_A_STATEMENT]) for i in range(0, len(alone), ROWS_A_STATEMENT)]
        batches = iter([batch_table.write_batch(self._writer, batch) for batch in together])
        self._writer.execute("COMMIT")
        stored = chain.from_iterable(parts)
        return [next(stored) if isinstance(one, Prediction) else next(batches) for one in records]

    def _inserted(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """Insert by one statement, which is a transaction of its own where none was begun.

        SQLite runs a statement without the interpreter's lock: one for all rows and the flush, instead of one a row,
        keeps this thread and the event loop from taking the lock from each other.
        """
        values = tuple(chain.from_iterable(map(self._row, predictions)))
        done = self._writer.execute(_insert(len(predictions)), values)
        if done.rowcount < len(predictions):
            return [_rows(self._writer, "WHERE request_id = ?", (one.request_id,))[0] for one in predictions]
        first = (done.lastrowid or 0) - len(predictions) + 1
        return [msgspec.structs.replace(one, sequence=first + row) for row, one in enumerate(predictions)]

    def _row(self, prediction: Prediction) -> Sequence[object]:
        """What is written of a prediction; usual features are packed."""
        row = msgspec.structs.astuple(prediction)[:_WIDTH]
        packed = prediction.packed if isinstance(prediction, UsualPrediction) else None
        if packed is None:
            return row
        layout_id = self._layout_ids.get(packed.layout)
        if layout_id is None:
            layout_id = packed_features.layout_id_of(self._writer, packed.layout)
            self._layout_ids[packed.layout] = layout_id
        return (*row[:_FEATURES], packed.text(layout_id), *row[_FEATURES + 1 : _VECTOR], "", *row[_VECTOR + 1 :])


def _rows(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> list[Prediction]:
    """Predictions with their features as they were answered."""
    rows = connection.execute(f"SELECT {_LIST} FROM predictions {where}", values).fetchall()
    found = [Prediction(*row) for row in rows]
    packed = [place for place, one in enumerate(found) if packed_features.is_packed(one.features_json)]
    texts = packed_features.unpacked(connection, [(found[i].features_json, found[i].predicted_at_us) for i in packed])
    for place, (features, vector) in zip(packed, texts, strict=True):
        found[place] = msgspec.structs.replace(found[place], features_json=features, vector_json=vector)
    return found


@cache
def _insert(rows: int) -> str:
    values = ", ".join([_ROW] * rows)
    return f"INSERT INTO predictions ({', '.join(_COLUMNS[:-1])}) VALUES {values} ON CONFLICT (request_id) DO NOTHING"


def _connect(path: Path) -> sqlite3.Connection:
    """A connection without implicit transactions; the writer's is made in one thread and used in another."""
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
