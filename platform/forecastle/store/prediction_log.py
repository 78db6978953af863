"""The prediction log: every answer given, on disk before it leaves, in one SQLite file per system.

Belongs here: the record, the writer with group commit, the reader; a sequence number in commit order.
Does not belong here: the receipt's shape (`serve/receipt.py`), outcomes, analysis. Standard library only.
SQLite in WAL mode (https://www.sqlite.org/wal.html), synchronous=FULL: a commit survives a loss of power.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from forecastle.contract.errors import StoreError

BUSY_TIMEOUT_SECONDS: Final = 5.0
GROUP_LIMIT: Final = 256
PENDING_LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer. `sequence` is 0 until the log has given one; `*_json` hold JSON text, never NaN.

    `predicted_at_us` counts microseconds since 1970 UTC. `request_id` is the caller's word or, without one,
    the prediction's id; `request_sha256` is the request's digest: it tells a repeat from a reuse.
    `vector_json` is what the model saw, in the feature set's order, null for missing.
    """

    prediction_id: str
    request_id: str
    request_sha256: str
    system: str
    entity_json: str
    predicted_at_us: int
    raw_score: float
    probability: float
    interval_low: float | None
    interval_high: float | None
    model: str
    model_version: str
    bundle: str
    feature_set: str
    variant: str
    features_json: str
    degraded_json: str
    vector_json: str
    decision_json: str
    latency_ms: float
    sequence: int = 0


_COLUMNS: Final = tuple(field.name for field in fields(Prediction))
_LIST: Final = ", ".join(_COLUMNS)
_INSERT: Final = (
    f"INSERT INTO predictions ({', '.join(_COLUMNS[:-1])}) VALUES ({', '.join('?' * (len(_COLUMNS) - 1))}) "
    "ON CONFLICT (request_id) DO NOTHING"
)
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

_values = attrgetter(*_COLUMNS[:-1])
_Entry = tuple[Sequence[Prediction], "_Waiter"]


class PredictionReader:
    """Reads a log that exists; writes nothing. Each thread has its own connection."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet; `path` is the log's SQLite file."""
        self._path = path
        self._local = threading.local()

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
        return self._read("WHERE sequence > ? ORDER BY sequence LIMIT ?", (sequence, limit))

    def count(self) -> int:
        """How many predictions the log holds."""
        return int(self._fetch("SELECT count(*) FROM predictions", ())[0][0])

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _one(self, column: str, value: str) -> Prediction | None:
        found = self._read(f"WHERE {column} = ?", (value,))
        return found[0] if found else None

    def _read(self, where: str, values: Sequence[object]) -> list[Prediction]:
        return [Prediction(*row) for row in self._fetch(f"SELECT {_LIST} FROM predictions {where}", values)]

    def _fetch(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        try:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                if not self._path.is_file():
                    raise StoreError(f"prediction log {self._path} is not there; no prediction was served yet")
                connection = self._local.connection = _connect(self._path)
                connection.execute("PRAGMA query_only=ON")
            return list(connection.execute(sql, values))
        except sqlite3.Error as error:
            raise StoreError(f"prediction log {self._path} cannot be read: {error}") from error


class PredictionLog(PredictionReader):
    """Reads and appends; one writer thread commits whatever waits as one transaction.

    Several processes may append to one file: writers wait for each other up to `BUSY_TIMEOUT_SECONDS`.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the log, its folder 0700.

        Raises:
            StoreError: the file cannot be made or is no prediction log.
        """
        super().__init__(path)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._writer = _connect(path)
            self._writer.execute("PRAGMA journal_mode=WAL")
            self._writer.execute("PRAGMA synchronous=FULL")
            self._writer.execute(_SCHEMA)
            path.chmod(0o600)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"prediction log {path} cannot be opened: {error}") from error
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._count = threading.Lock()
        self._pending = 0
        self._closed = False
        self._thread = threading.Thread(target=self._write_groups, name="prediction-log", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Predictions handed over and not yet on disk."""
        return self._pending

    async def append(self, prediction: Prediction) -> Prediction:
        """Return once the prediction is on disk: it with its sequence, or the one its request id already has.

        Raises:
            StoreError: it could not be written, or too many wait already; the answer must not leave.
        """
        return (await self.append_many((prediction,)))[0]

    async def append_many(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """Return once all are on disk, by one transaction: each with its sequence, or the one its request id has.

        Raises:
            StoreError: none was written, or too many wait already; no answer may leave.
        """
        if self._closed:
            raise StoreError("the prediction log is closed")
        if self._pending >= PENDING_LIMIT:
            raise StoreError(f"{self._pending} predictions wait for the disk already; ask again later")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Prediction]] = loop.create_future()
        with self._count:
            self._pending += len(predictions)
        self._queue.put((predictions, _Waiter(loop, future)))
        return await future

    def close(self) -> None:
        """Write what waits, then close."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()
            self._writer.close()
        super().close()

    def _write_groups(self) -> None:
        while True:
            first = self._queue.get()
            group: list[_Entry] = []
            while first is not None:
                group.append(first)
                if len(group) == GROUP_LIMIT or self._queue.empty():
                    break
                first = self._queue.get()
            if group:
                self._write_group(group)
            if first is None:
                return

    def _write_group(self, group: Sequence[_Entry]) -> None:
        """Commit a group, then wake each event loop once for all of its predictions."""
        outcomes: Sequence[list[Prediction] | StoreError]
        flat = [prediction for predictions, _ in group for prediction in predictions]
        try:
            stored = iter(self._commit(flat))
            outcomes = [list(islice(stored, len(predictions))) for predictions, _ in group]
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            outcomes = [StoreError(f"predictions cannot be written to {self._path}: {error}")] * len(group)
        with self._count:
            self._pending -= len(flat)
        told: dict[asyncio.AbstractEventLoop, list[_Told]] = {}
        for (_, waiter), outcome in zip(group, outcomes, strict=True):
            told.setdefault(waiter.loop, []).append((waiter.future, outcome))
        for loop, pairs in told.items():
            with suppress(RuntimeError):  # a loop that is closed waits for nothing
                loop.call_soon_threadsafe(_tell, pairs)

    def _commit(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        rows = [_values(prediction) for prediction in predictions]
        self._writer.execute("BEGIN IMMEDIATE")
        inserted = self._writer.executemany(_INSERT, rows).rowcount
        if inserted == len(rows):
            last = int(self._writer.execute("SELECT last_insert_rowid()").fetchone()[0])
            numbered = enumerate(rows, start=last - len(rows) + 1)
            stored = [Prediction(*(*row, sequence)) for sequence, row in numbered]
        else:
            stored = [self._stored(prediction.request_id) for prediction in predictions]
        self._writer.execute("COMMIT")
        return stored

    def _stored(self, request_id: str) -> Prediction:
        found = self._writer.execute(f"SELECT {_LIST} FROM predictions WHERE request_id = ?", (request_id,))
        return Prediction(*found.fetchone())


@dataclass(frozen=True, slots=True)
class _Waiter:
    """Who waits for a prediction, and where."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Prediction]]


_Told = tuple["asyncio.Future[list[Prediction]]", "list[Prediction] | StoreError"]


def _tell(pairs: Sequence[_Told]) -> None:
    for future, outcome in pairs:
        if future.done():  # its request met the deadline
            continue
        if isinstance(outcome, StoreError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _connect(path: Path) -> sqlite3.Connection:
    """A connection without implicit transactions; the writer's is made in one thread and used in another."""
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
