"""The third execution of feature SQL: over the recent events of the entities that events have touched, in memory.

Belongs here: a stream's events in DuckDB, which entities they touch, the view's rows of those, their newest online.
Does not belong here: taking events (`streams.py`), the SQL (a system's), the whole history (`feature_views.py`).
The rows are those that the whole history gives for the same entities; tests compare them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

import duckdb
import pyarrow as pa

from forecastle.contract.load import LoadedSystem
from forecastle.contract.stream_check import key_columns
from forecastle.contract.system import FeatureView
from forecastle.store.crash import CrashHook, no_crash
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.feature_views import view_columns
from forecastle.store.online import OnlineStore
from forecastle.store.push import newest_rows_by_entity, online_view
from forecastle.store.rules import rule_case
from forecastle.store.selects import typed_select
from forecastle.store.sql import column_list, connect_locked, instant, one_row, quote_ident
from forecastle.store.stream_events import to_us
from forecastle.store.stream_log import StreamLog, StreamRow
from forecastle.store.stream_source import events_table, first_known, load_events, registered
from forecastle.store.warehouse import Warehouse

ENTITIES: Final = 5_000
"""Entities computed at once."""

Keys = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Renewed:
    """What one renewal did: entities computed, rows stored online, rows left out because they break a contract."""

    entities: int = 0
    stored: int = 0
    broken: int = 0

    def __add__(self, other: Renewed) -> Renewed:
        """Both together."""
        return Renewed(self.entities + other.entities, self.stored + other.stored, self.broken + other.broken)


@dataclass(slots=True)
class _View:
    """A view that follows a stream: its keys' columns by source, entities to compute, and when others fall due."""

    declared: FeatureView
    sources: tuple[str, ...]
    key_columns: Mapping[str, Mapping[str, str]]
    touched: dict[Keys, None]
    due_at_us: dict[Keys, int]


class StreamState:
    """Events of a system's streams since the beginning, or since each stream's `history`; one thread uses it."""

    def __init__(self, system: LoadedSystem, *, warehouse: Warehouse, log: StreamLog, now: datetime) -> None:
        """Load what warehouse and log hold; every entity counts as touched, so that nothing before a crash is missed.

        Raises:
            StoreError: a source that is no stream has no table yet.
        """
        self._system, self._warehouse, self._log = system, warehouse, log
        declared = system.declaration
        self._views: dict[str, _View] = {}
        for name, view in declared.feature_views.items():
            if view.stream is not None:
                keys = key_columns(system.lineage(view.sql), tuple(declared.entity[view.entity].keys))
                self._views[name] = _View(view, system.reads(view.sql), keys, {}, {})
        read = sorted({source for view in self._views.values() for source in view.sources})
        self._streams = [name for name in read if declared.sources[name].kind == "stream"]
        self._others = [name for name in read if name not in self._streams]
        self._connection, self._versions = self._load(now)
        for followed in self._views.values():
            self._touch(followed, quote_ident(_events(str(followed.declared.stream))))

    @property
    def touched(self) -> int:
        """Entities that wait to be computed."""
        return sum(len(view.touched) for view in self._views.values())

    def add(self, source: str, rows: Sequence[StreamRow]) -> None:
        """Take in events of a stream that the log has stored."""
        if source not in self._streams:
            return
        declared = self._system.declaration.sources[source]
        with registered(self._connection, events_table(declared, rows)) as new:
            self._connection.execute(f"INSERT INTO {quote_ident(_events(source))} BY NAME SELECT * FROM {new}")
            for view in self._views.values():
                if view.declared.stream == source:
                    self._touch(view, new)

    def renew(self, online: OnlineStore, *, now: datetime, crash_at: CrashHook = no_crash) -> Renewed:
        """Compute every touched entity, and those whose rows became usable since, and store their newest rows online.

        Raises:
            StoreError: the SQL cannot be run, or the online store refuses; what was not stored stays touched.
        """
        done, now_us = Renewed(), to_us(now)
        for name, view in self._views.items():
            for key in [key for key, at_us in view.due_at_us.items() if at_us <= now_us]:
                view.touched[key] = None
            while keys := list(islice(view.touched, ENTITIES)):
                done += self._renew(name, keys, online, now=now, crash_at=crash_at)
                for key in keys:
                    view.touched.pop(key)
        return done

    def rows(self, name: str, keys: Iterable[Keys]) -> pa.Table:
        """Every row of a view for some entities, as the whole history has them; sorted like the view's table.

        Raises:
            StoreError: the SQL cannot be run.
        """
        view = self._views[name]
        self._compute(name, view, list(keys))
        order = column_list([*self._keys(view), "known_at", "event_at"])
        return self._connection.sql(f"SELECT * FROM __rows ORDER BY {order}").to_arrow_table()

    def refresh(self, *, now: datetime) -> bool:
        """Load anew when a source that is no stream has a newer version; also drops what is older than `history`."""
        if not any(self._warehouse.resolve(_table(self._system, n)) != self._versions[n] for n in self._others):
            for source in self._streams:
                keep = self._kept(source, now)
                self._connection.execute(f"DELETE FROM {quote_ident(_events(source))} WHERE NOT ({keep})")
            return False
        old = self._connection
        self._connection, self._versions = self._load(now)
        old.close()
        return True

    def close(self) -> None:
        """Let go of the memory."""
        self._connection.close()

    def _load(self, now: datetime) -> tuple[duckdb.DuckDBPyConnection, dict[str, TableVersion]]:
        """A connection with a table of events a stream and a view of each other source's newest version."""
        warehouse = self._warehouse
        versions = {name: warehouse.resolve(_table(self._system, name)) for name in self._others}
        bases = {name: warehouse.version(_table(self._system, name)) for name in self._streams}
        connection = connect_locked(
            [warehouse.verified(version) for version in (*versions.values(), *bases.values()) if version is not None],
            memory_limit=warehouse.memory_limit,
            threads=warehouse.threads,
            temp_directory=warehouse.temp_directory,
        )
        for name, version in versions.items():
            connection.execute(f"CREATE TEMP VIEW {quote_ident(_events(name))} AS {warehouse.relation(version)}")
        for name, base in bases.items():
            source, table = self._system.declaration.sources[name], quote_ident(_events(name))
            load_events(
                connection, warehouse, source, name, table=table, log=self._log, base=base, after=self._kept(name, now)
            )
        return connection, versions

    def _kept(self, source: str, now: datetime) -> str:
        history = self._system.declaration.sources[source].history
        return "TRUE" if history is None else f"event_at > {instant(now - history)}"

    def _keys(self, view: _View) -> tuple[str, ...]:
        return tuple(self._system.declaration.entity[view.declared.entity].keys)

    def _touch(self, view: _View, relation: str) -> None:
        columns = view.key_columns[str(view.declared.stream)]
        chosen = column_list([columns[key] for key in self._keys(view)])
        for key in self._connection.execute(f"SELECT DISTINCT {chosen} FROM {relation}").fetchall():
            if None not in key:
                view.touched[key] = None

    def _renew(
        self, name: str, keys: list[Keys], online: OnlineStore, *, now: datetime, crash_at: CrashHook
    ) -> Renewed:
        """Compute some entities and store their newest usable rows; rows that break the contract are left out."""
        view = self._views[name]
        self._compute(name, view, keys)
        rules = [rule_case(feature, contract) for feature, contract in view.declared.features.items()]
        whole = f"coalesce({', '.join(rules)}, NULL) IS NULL AND event_at IS NOT NULL AND known_at IS NOT NULL"
        (broken,) = one_row(self._connection, f"SELECT count(*) FROM __rows WHERE NOT ({whole})")
        due = self._connection.execute(
            f"SELECT {column_list(self._keys(view))}, epoch_us(min(greatest(event_at, known_at))) FROM __rows"
            f" WHERE greatest(event_at, known_at) > {instant(now)} GROUP BY ALL"
        ).fetchall()
        columns = online_view(name, view.declared, self._system.declaration.entity[view.declared.entity])
        crash_at("stream.after_compute")
        stored = 0
        for batch in newest_rows_by_entity(self._connection, f"SELECT * FROM __rows WHERE {whole}", columns, now):
            stored += online.write(columns, batch)
        crash_at("stream.after_online")
        for key in keys:
            view.due_at_us.pop(key, None)
        view.due_at_us.update({tuple(key): at_us for *key, at_us in due})
        return Renewed(len(keys), stored, int(broken))

    def _compute(self, name: str, view: _View, keys: list[Keys]) -> None:
        """Table `__rows`: the view's rows of some entities."""
        connection, entity = self._connection, self._system.declaration.entity[view.declared.entity]
        kinds = [pa.int64() if dtype == "int64" else pa.string() for dtype in entity.keys.values()]
        columns = list(zip(*keys, strict=True)) or [()] * len(kinds)
        affected = {k: pa.array(c, kind) for k, c, kind in zip(entity.keys, columns, kinds, strict=True)}
        with registered(connection, pa.table(affected)) as given:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE __affected AS SELECT * FROM {given}")
        for source in view.sources:
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {quote_ident(source)} AS {self._recent(source, view)}")
        wanted = view_columns(view.declared, entity)
        text = typed_select(connection, self._system.sql[view.declared.sql], wanted, what=f"feature view {name}")
        chosen = _of_affected(f"({text})", {key: key for key in entity.keys})
        connection.execute(f"CREATE OR REPLACE TEMP TABLE __rows AS {chosen}")

    def _recent(self, source: str, view: _View) -> str:
        """SQL of a source's rows, only the affected entities' where a column tells them, each event once."""
        events = quote_ident(_events(source))
        if source in view.key_columns:
            events = f"({_of_affected(events, view.key_columns[source])})"
        if source not in self._streams:
            return f"SELECT * FROM {events}"
        return first_known(self._system.declaration.sources[source], events)


def _of_affected(relation: str, columns: Mapping[str, str]) -> str:
    same = " AND ".join(f"s.{quote_ident(column)} = a.{quote_ident(key)}" for key, column in columns.items())
    return f"SELECT * FROM {relation} AS s SEMI JOIN __affected AS a ON {same}"


def _events(source: str) -> str:
    return f"__events_{source}"


def _table(system: LoadedSystem, source: str) -> TableName:
    return TableName(system.name, "source", source)
