"""The embedded online store: one SQLite file per system (https://www.sqlite.org/wal.html).

Belongs here: its tables, the statements that write and read them, one connection a thread.
Does not belong here: what every store promises (`online.py`), which store is opened (`online_stores.py`).
Standard library only: it is served.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from forecastle.contract.errors import CorruptionError, StoreError
from forecastle.store.online import TIMEOUT_SECONDS, Key, Newest, OnlineRow, OnlineView, ViewColumns

# SQLite joins at most 64 tables and gives at most 2,000 columns.
JOINED_VIEWS: Final = 60
JOINED_COLUMNS: Final = 1_900
TIMES: Final = ("event_at_us", "known_at_us")

_SQLITE_TYPE: Final = {"float64": "REAL", "int64": "INTEGER", "bool": "BOOLEAN", "string": "TEXT"}


class SQLiteOnlineStore:
    """One SQLite file in WAL mode, one wide table a view, one connection a thread.

    A crash loses no committed write; loss of power may lose the last few (synchronous=NORMAL): they are
    pushed again. A read-only store never creates or changes the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        must_exist: bool = False,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Open the store; with `must_exist` a writer does not make the file, which then is somebody else's to make.

        Raises:
            StoreError: there is no file and it is not made here, or it is no SQLite database.
        """
        self.path = path
        self._read_only, self._must_exist = read_only, must_exist
        self._timeout_seconds = timeout_seconds
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._joints: dict[tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...], _Joint] = {}
        self._last_joint: tuple[Sequence[ViewColumns] | None, _Joint | None] = (None, None)
        self._plans: dict[tuple[str, tuple[str, ...], tuple[str, ...]], _Plan] = {}
        if not read_only and not must_exist:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not path.is_file():
            raise StoreError(f"there is no online store at {path.name}; push the feature views first")
        self._connection()

    def write(self, view: OnlineView, rows: Iterable[Sequence[Any]]) -> int:
        """Store rows (keys, event_at_us, known_at_us, features in the view's order) in one transaction.

        A row replaces the stored one of its entity unless that one is newer by (event_at_us, known_at_us);
        the same rows again change nothing that can be read. Returns how many rows were stored.

        Raises:
            StoreError: the store is read-only, busy for too long, or the view's key changed.
        """
        with self._told(f"write of {view.name}"):
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._prepare(connection, view)
                stored = connection.executemany(_upsert(view), rows).rowcount
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        return max(stored, 0)

    def read(self, views: Sequence[ViewColumns], key: Key) -> dict[str, OnlineRow | None]:
        """Each view's stored row of one entity; None where the entity (or the view itself) was never pushed.

        Raises:
            StoreError: a view was pushed without a feature asked for, or the store is busy for too long.
            CorruptionError: the file is damaged.
        """
        try:
            connection = self._connection()
            plans = self._joint(connection, views)
            if plans is None:
                return {view.name: self._read_one(connection, view, key) for view in views}
            row = connection.execute(plans.statement, tuple(key)).fetchone()
        except sqlite3.Error as error:
            raise self._as_ours("read", error) from error
        return plans.rows(row)

    def read_many(self, views: Sequence[ViewColumns], keys: Sequence[Key]) -> list[dict[str, OnlineRow | None]]:
        """`read` of many entities by one statement, which sees all of them at one moment.

        Raises:
            StoreError, CorruptionError: as `read`.
        """
        try:
            connection = self._connection()
            joint = self._joint(connection, views)
            if joint is None:
                return [self.read(views, key) for key in keys]
            found = connection.execute(joint.many, (json.dumps([list(key) for key in keys]),)).fetchall()
        except sqlite3.Error as error:
            raise self._as_ours("read", error) from error
        return [joint.rows(row) for row in found]

    def _read_one(self, connection: sqlite3.Connection, view: ViewColumns, key: Key) -> OnlineRow | None:
        plan = self._plan(connection, view)
        row = connection.execute(plan.statement, tuple(key)).fetchone() if plan else None
        return _row(row, plan.booleans) if plan and row else None

    def _joint(self, connection: sqlite3.Connection, views: Sequence[ViewColumns]) -> _Joint | None:
        """How several views are read by one statement; None for one view, too many, or one never pushed.

        One statement sees all views at one moment, and gives the interpreter's lock away once instead of once a view.
        """
        last_views, last_joint = self._last_joint
        if views is last_views:
            return last_joint
        if not 1 < len(views) <= JOINED_VIEWS:
            return None
        wanted = tuple((view.name, view.keys, view.features) for view in views)
        joint = self._joints.get(wanted)
        if joint is None:
            plans = [self._plan(connection, view) for view in views]
            if None in plans or sum(len(view.features) + 2 for view in views) > JOINED_COLUMNS:
                return None
            joint = self._joints[wanted] = _join(views, [plan.booleans for plan in plans if plan])
        if isinstance(views, tuple):  # nobody changes it
            self._last_joint = (views, joint)
        return joint

    def newest(self, view: str) -> Newest:
        """Newest event and knowledge time of a view's rows."""
        row = self._one(view, f"max({TIMES[0]}), max({TIMES[1]})")
        return Newest(row[0], row[1]) if row else Newest(None, None)

    def count(self, view: str) -> int:
        """Entities stored for a view; 0 when it was never pushed."""
        row = self._one(view, "count(*)")
        return int(row[0]) if row else 0

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            for connection in self._opened:
                connection.close()
            self._opened.clear()
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with self._told("opening"):
                connection = self._open()
            self._local.connection = connection
            with self._lock:
                self._opened.append(connection)
        return connection

    def _open(self) -> sqlite3.Connection:
        mode = "ro" if self._read_only else "rw" if self._must_exist else "rwc"
        connection = sqlite3.connect(
            f"{self.path.resolve().as_uri()}?mode={mode}",
            uri=True,
            timeout=self._timeout_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        if self._read_only:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        else:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            self.path.chmod(0o600)
        return connection

    def _plan(self, connection: sqlite3.Connection, view: ViewColumns) -> _Plan | None:
        """How a view is read; None while it was never pushed."""
        key = (view.name, view.keys, view.features)
        plan = self._plans.get(key)
        if plan is None:
            stored = {row[1]: row[2] for row in connection.execute(f"PRAGMA table_info({_quote(view.name)})")}
            if not stored:
                return None
            absent = [column for column in (*view.keys, *view.features) if column not in stored]
            if absent:
                raise StoreError(f"view {view.name} is stored without {', '.join(absent)}; push the view again")
            columns = ", ".join(_quote(c) for c in (*TIMES, *view.features))
            where = " AND ".join(f"{_quote(k)} = ?" for k in view.keys)
            booleans = tuple(i for i, f in enumerate(view.features) if stored[f] == _SQLITE_TYPE["bool"])
            plan = _Plan(f"SELECT {columns} FROM {_quote(view.name)} WHERE {where}", booleans)
            self._plans[key] = plan
        return plan

    def _prepare(self, connection: sqlite3.Connection, view: OnlineView) -> None:
        """The view's table, with every declared column; keys of an existing one must be the same."""
        fields = [f"{_quote(k)} {_SQLITE_TYPE[d]} NOT NULL" for k, d in view.key_dtypes.items()]
        fields += [f"{_quote(t)} INTEGER NOT NULL" for t in TIMES]
        fields += [f"{_quote(f)} {_SQLITE_TYPE[d]}" for f, d in view.feature_dtypes.items()]
        keys = ", ".join(_quote(k) for k in view.keys)
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {_quote(view.name)} ({', '.join(fields)}, PRIMARY KEY ({keys})) WITHOUT ROWID"
        )
        stored = connection.execute(f"PRAGMA table_info({_quote(view.name)})").fetchall()
        found = tuple(row[1] for row in sorted((r for r in stored if r[5]), key=lambda r: r[5]))
        if found != view.keys:
            raise StoreError(
                f"view {view.name} is stored by key {', '.join(found)}, not {', '.join(view.keys)}; "
                f"give the view another name or remove {self.path.name} and push again"
            )
        known = {row[1] for row in stored}
        for feature, dtype in view.feature_dtypes.items():
            if feature not in known:
                connection.execute(
                    f"ALTER TABLE {_quote(view.name)} ADD COLUMN {_quote(feature)} {_SQLITE_TYPE[dtype]}"
                )

    def _one(self, view: str, columns: str) -> tuple[Any, ...] | None:
        with self._told(f"read of {view}"):
            connection = self._connection()
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (view,))
            if found.fetchone() is None:
                return None
            row: tuple[Any, ...] = connection.execute(f"SELECT {columns} FROM {_quote(view)}").fetchone()
            return row

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """SQLite's errors as ours, with what to do next."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._as_ours(what, error) from error

    def _as_ours(self, what: str, error: sqlite3.Error) -> StoreError:
        told = f"online store {self.path.name}: {what} failed: {error}"
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            return CorruptionError(f"{told}; remove the file and push the views again")
        return StoreError(f"{told}; push the view again, or check file and disk")


@dataclass(frozen=True, slots=True)
class _Plan:
    """The statement that reads a view, and which of its values SQLite gives back as 0 and 1 for a boolean."""

    statement: str
    booleans: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Joint:
    """How several views are read: of one entity, and of `many` given as a JSON list of keys.

    Of each view `parts` tells its name, where its columns begin and end, and its booleans.
    """

    statement: str
    many: str
    parts: tuple[tuple[str, int, int, tuple[int, ...]], ...]

    def rows(self, row: tuple[Any, ...]) -> dict[str, OnlineRow | None]:
        """Each view's part of a row that the statement gave."""
        return {
            name: _row(row[first:last], booleans) if row[first] is not None else None
            for name, first, last, booleans in self.parts
        }


def _join(views: Sequence[ViewColumns], booleans: Sequence[tuple[int, ...]]) -> _Joint:
    columns: list[str] = []
    joins, parts = [], []
    for view, flags in zip(views, booleans, strict=True):
        table = _quote(view.name)
        first = len(columns)
        columns += [f"{table}.{_quote(column)}" for column in (*TIMES, *view.features)]
        parts.append((view.name, first, len(columns), flags))
        where = " AND ".join(f"{table}.{_quote(name)} = ?{place}" for place, name in enumerate(view.keys, start=1))
        joins.append(f"LEFT JOIN {table} ON {where}")
    one = f"SELECT {', '.join(columns)} FROM (SELECT 1) {' '.join(joins)}"
    asked = re.sub(r"\?(\d+)", lambda found: f"json_extract(asked.value, '$[{int(found[1]) - 1}]')", " ".join(joins))
    many = f"SELECT {', '.join(columns)} FROM json_each(?) AS asked {asked} ORDER BY asked.key"
    return _Joint(one, many, tuple(parts))


def _row(row: tuple[Any, ...], booleans: tuple[int, ...]) -> OnlineRow:
    values = row[2:]
    if booleans:
        values = tuple(bool(v) if i in booleans and v is not None else v for i, v in enumerate(values))
    return OnlineRow(values, row[0], row[1])


def _upsert(view: OnlineView) -> str:
    columns = (*view.keys, *TIMES, *view.features)
    table, names = _quote(view.name), ", ".join(_quote(c) for c in columns)
    keys = ", ".join(_quote(k) for k in view.keys)
    values = ", ".join("?" for _ in columns)
    changes = ", ".join(f"{_quote(c)} = excluded.{_quote(c)}" for c in (*TIMES, *view.features))
    # Equal times store again: the same row of a view whose SQL was mended must not stay as it was.
    newer = f"(excluded.event_at_us, excluded.known_at_us) >= ({table}.event_at_us, {table}.known_at_us)"
    return f"INSERT INTO {table} ({names}) VALUES ({values}) ON CONFLICT ({keys}) DO UPDATE SET {changes} WHERE {newer}"


def _quote(name: str) -> str:
    if not name.isidentifier() or not name.isascii():
        raise StoreError(f"got the name {name!r}; letters, digits and _ are allowed; rename it")
    return f'"{name}"'
