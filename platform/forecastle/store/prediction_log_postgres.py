"""The prediction log on a PostgreSQL server: one table for all systems, many services on many machines.

Belongs here: the table, appending by group, reading, coming back after the server was away.
Does not belong here: the record and what a log promises (`prediction_log.py`), which log is used.
Driver: https://www.psycopg.org/psycopg3/docs/
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import DiskFull, UndefinedTable

from forecastle.contract.errors import CapacityError, StoreError
from forecastle.store.group_commit import GroupCommit
from forecastle.store.prediction import Prediction, predictions_in
from forecastle.store.prediction_batch import PredictionBatch

CONNECT_TIMEOUT_SECONDS: Final = 2
STATEMENT_TIMEOUT_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 1.0
TABLE: Final = "forecastle_predictions"
# Any number, the same in every service: sequences are then given in the order of commits.
_APPENDING: Final = 0x464F5245

_COLUMNS: Final = Prediction.__struct_fields__
_TYPES: Final = {
    "predicted_at_us": "bigint", "raw_score": "float8", "probability": "float8", "interval_low": "float8",
    "interval_high": "float8", "latency_ms": "float8",
}  # fmt: skip
_NULLABLE: Final = ("interval_low", "interval_high")
_LIST: Final = ", ".join(_COLUMNS)
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
  sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  {", ".join(f"{n} {_TYPES.get(n, 'text')}{'' if n in _NULLABLE else ' NOT NULL'}" for n in _COLUMNS[:-1])},
  UNIQUE (prediction_id), UNIQUE (system, request_id)
)"""
_INDEX: Final = f"CREATE INDEX IF NOT EXISTS {TABLE}_at ON {TABLE} (system, predicted_at_us)"
_INSERT: Final = (
    f"INSERT INTO {TABLE} ({', '.join(_COLUMNS[:-1])}) SELECT {', '.join(_COLUMNS[:-1])} FROM unnest("
    f"{', '.join('%s::' + _TYPES.get(n, 'text') + '[]' for n in _COLUMNS[:-1])}) "
    f"WITH ORDINALITY AS given({', '.join(_COLUMNS[:-1])}, place) ORDER BY place "
    "ON CONFLICT DO NOTHING"
)

_T = TypeVar("_T")
_Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresPredictionReader:
    """Reads one system's predictions; each thread has its own connection."""

    def __init__(self, url: str, system: str) -> None:
        """Open nothing yet; `url` is a PostgreSQL URL such as postgresql://user:password@host/database."""
        self._url, self._system = url, system
        self._local = threading.local()
        self._opened: set[_Connection] = set()
        self._lock = threading.Lock()
        self._retry_at = 0.0

    @property
    def origin(self) -> str:
        """Host, port and database, without user and password."""
        try:
            named = conninfo_to_dict(self._url)
        except psycopg.Error as error:
            raise StoreError("FORECASTLE_LOG_URL is no PostgreSQL URL; write postgresql://user@host/name") from error
        return "postgresql://{host}:{port}/{dbname}".format_map({"host": "", "port": 5432, "dbname": "", **named})

    def exists(self) -> bool:
        """Whether the server has the table."""
        return bool(self._fetch("SELECT to_regclass(%s) IS NOT NULL", (TABLE,))[0][0])

    def get(self, prediction_id: str) -> Prediction | None:
        """The prediction of that id, or None.

        Raises:
            StoreError: the server cannot be asked.
        """
        return self._one("prediction_id", prediction_id)

    def by_request(self, request_id: str) -> Prediction | None:
        """The prediction that answered that request id, or None."""
        return self._one("request_id", request_id)

    def since(self, sequence: int, *, limit: int = 10_000) -> list[Prediction]:
        """Up to `limit` predictions with a higher sequence, in commit order: a cursor that skips none."""
        return self._read("AND sequence > %s ORDER BY sequence LIMIT %s", (sequence, limit))

    def before(self, moment_us: int) -> int:
        """A cursor for `since`: no prediction made at or after the moment (µs since 1970 UTC) stands at or below it."""
        made = f"FROM {TABLE} WHERE system = %s"
        first = self._fetch(f"SELECT min(sequence) {made} AND predicted_at_us >= %s", (self._system, moment_us))[0][0]
        last = 0 if first else self._fetch(f"SELECT coalesce(max(sequence), 0) {made}", (self._system,))[0][0]
        return int(first - 1 if first else last)

    def newest(self, limit: int) -> list[Prediction]:
        """The last `limit` predictions, in commit order."""
        return self._read("ORDER BY sequence DESC LIMIT %s", (limit,))[::-1]

    def count(self) -> int:
        """How many predictions of the system the log holds."""
        rows = self._fetch(f"SELECT count(*) FROM {TABLE} WHERE system = %s", (self._system,))
        return int(rows[0][0])

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            for connection in self._opened:
                connection.close()
            self._opened.clear()
        self._local = threading.local()

    def _one(self, column: str, value: str) -> Prediction | None:
        found = self._read(f"AND {column} = %s", (value,))
        return found[0] if found else None

    def _read(self, where: str, values: Sequence[object]) -> list[Prediction]:
        rows = self._fetch(f"SELECT {_LIST} FROM {TABLE} WHERE system = %s {where}", (self._system, *values))
        return [Prediction(*row) for row in rows]

    def _fetch(self, text: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        def ask(connection: _Connection) -> list[tuple[Any, ...]]:
            return connection.execute(text.encode(), values).fetchall()

        return self._told(ask, "read")

    def _told(self, work: Callable[[_Connection], _T], what: str) -> _T:
        """Work on this thread's connection; one that broke is replaced once, since the server may have started anew.

        For `RETRY_SECONDS` after the server could not be reached it is not asked again: a caller is told at once.
        """
        fresh = getattr(self._local, "connection", None) is None
        try:
            return work(self._connected())
        except DiskFull as error:
            raise CapacityError("the disk of the prediction log's server is full; make room there") from error
        except UndefinedTable as error:
            raise StoreError("the prediction log's server has no table yet; no prediction was served yet") from error
        except psycopg.OperationalError as error:
            self._drop()
            if fresh:
                self._retry_at = time.monotonic() + RETRY_SECONDS
                raise StoreError(f"the prediction log's server cannot be asked: {_first_line(error)}") from error
        except psycopg.Error as error:
            raise StoreError(f"{what} of the prediction log failed: {_first_line(error)}") from error
        return self._told(work, what)

    def _connected(self) -> _Connection:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            if time.monotonic() < self._retry_at:
                raise StoreError("the prediction log's server could not be reached a moment ago; ask again later")
            connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                options=f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS * 1e3:.0f}",
                tcp_user_timeout=int(STATEMENT_TIMEOUT_SECONDS * 1e3),
                application_name="forecastle",
            )
            self._local.connection = connection
            with self._lock:
                self._opened.add(connection)
        return connection

    def _drop(self) -> None:
        """Close this thread's connection, if it has one."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None
            with self._lock:
                self._opened.discard(connection)


class PostgresPredictionLog(PostgresPredictionReader):
    """Reads and appends; one writer thread commits whatever waits as one transaction.

    Services on any number of machines may append: they take turns for the length of a commit, so that sequence
    follows commit order and a reader's cursor skips nothing. A commit is durable when the server's
    `synchronous_commit` is on, which the connection asks for.
    """

    def __init__(self, url: str, system: str) -> None:
        """Make the table if it is not there.

        Raises:
            StoreError: the server cannot be reached or refuses.
        """
        super().__init__(url, system)
        self._told(_prepare, "opening")
        self._group: GroupCommit[Prediction] = GroupCommit(self._commit, name="prediction-log")

    @property
    def pending(self) -> int:
        """Predictions handed over and not yet on disk."""
        return self._group.pending

    @property
    def is_failing(self) -> bool:
        """Whether what was asked or appended last could not be: a full disk, a server that is away."""
        return self._group.is_failing

    def by_request(self, request_id: str) -> Prediction | None:
        """The prediction that answered that request id, or None; a server that is away makes the log fail."""
        try:
            return super().by_request(request_id)
        except StoreError as error:
            self._group.failed(error)
            raise

    async def answered(self, request_id: str) -> Prediction | None:
        """`by_request` in a thread: a server that hangs keeps only this request waiting."""
        return await asyncio.to_thread(self.by_request, request_id)

    async def append(self, prediction: Prediction) -> Prediction:
        """Return once the prediction is on the server's disk: it, or the one its request id already has.

        Raises:
            CapacityError: the server's disk is full, or too many wait already; the answer must not leave.
            StoreError: it could not be written; the answer must not leave.
        """
        return (await self._group.append((prediction,)))[0]

    async def append_many(
        self, predictions: Sequence[Prediction], *, batch: PredictionBatch | None = None
    ) -> list[Prediction]:
        """Return once all are on the server's disk, by one transaction; raises like `append`.

        Here a batch is a row a prediction, like everything else: other programs may read the table.
        """
        together = predictions_in(batch) if batch is not None else []
        return (await self._group.append([*predictions, *together]))[: len(predictions)]

    def close(self) -> None:
        """Write what waits, then close."""
        self._group.close()
        super().close()

    def _commit(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        rows = [msgspec.structs.astuple(prediction)[: len(_COLUMNS) - 1] for prediction in predictions]
        columns = [list(column) for column in zip(*rows, strict=True)]
        asked = list({prediction.request_id for prediction in predictions})

        def write(connection: _Connection) -> list[tuple[Any, ...]]:
            # Safe to do twice: when the connection broke after the commit, the second time finds the first one's rows.
            with connection.transaction():
                connection.execute("SET LOCAL synchronous_commit = on")
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_APPENDING,))
                connection.execute(_INSERT.encode(), columns)
                found = f"SELECT {_LIST} FROM {TABLE} WHERE system = %s AND request_id = ANY(%s)"
                return connection.execute(found.encode(), (self._system, asked)).fetchall()

        stored = {row[1]: Prediction(*row) for row in self._told(write, "writing")}
        if lacking := [one.prediction_id for one in predictions if one.request_id not in stored]:
            raise StoreError(
                f"prediction id {lacking[0]} is in the log already, of another request; ids are never reused"
            )
        return [stored[prediction.request_id] for prediction in predictions]


def _prepare(connection: _Connection) -> None:
    with connection.transaction():  # two services that start at once must not both make the table
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_APPENDING,))
        connection.execute(sql.SQL(_SCHEMA))
        connection.execute(sql.SQL(_INDEX))


def _first_line(error: psycopg.Error) -> str:
    """What the server or the driver says, without the statement's context; drivers never repeat a password."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
