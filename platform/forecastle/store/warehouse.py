"""The warehouse: every table a row of immutable versions; written, audited, then published; verified when
read.

Belongs here: publish, read, attach to DuckDB, `as_of`, retention. One Parquet file and one Delta commit a
version.
Does not belong here: what the rows mean (`sources.py`, `feature_views.py`), SQL that people write
(`selects.py`).
The choice of Delta Lake is measured in docs/decisions/0002-table-format.md.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd
import pyarrow as pa

from forecastle.contract.clock import Clock
from forecastle.contract.errors import ConflictError, CorruptionError, StoreError
from forecastle.store import sql
from forecastle.store.content_hash import content_hash
from forecastle.store.crash import CrashHook, no_crash
from forecastle.store.delta_log import (
    NO_VERSION,
    TableName,
    TableVersion,
    commit,
    conflict,
    newest_version,
    read_version,
)
from forecastle.store.table_file import file_sha256, flush, write_table_file

Audit = Callable[[duckdb.DuckDBPyConnection, str], Sequence[str]]
"""Given a connection and the relation name of rows not yet published: the problems found, empty when none."""

Data = str | pd.DataFrame | Any
"""A SELECT, pandas rows, or Arrow rows (a table or a stream of batches)."""

_DRAFT: Final = "__draft"


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What a retention run removed: versions whose rows are gone (their records stay), files, bytes."""

    versions: tuple[int, ...]
    files: tuple[str, ...]
    bytes_freed: int


class Warehouse:
    """Tables under one folder, `<root>/<system>/<kind>/<name>/`, each a Delta table.

    Readers never block and never see half a table. Writers of one table are serialised by optimistic
    concurrency: whoever commits second is refused with `ConflictError`. Times come from `clock`.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock,
        memory_limit: str = sql.DEFAULT_MEMORY,
        threads: int = sql.DEFAULT_THREADS,
        crash_at: CrashHook = no_crash,
    ) -> None:
        self.root = root
        self.memory_limit = memory_limit
        self.threads = threads
        self._clock = clock
        self._crash_at = crash_at
        self._verified: set[tuple[str, int, int]] = set()
        self._records: dict[tuple[TableName, int], TableVersion] = {}

    @property
    def temp_directory(self) -> Path:
        """Where DuckDB spills what does not fit in memory."""
        return self.root / ".spill"

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A connection with this warehouse's memory limit, threads and spill folder."""
        return sql.session(memory_limit=self.memory_limit, threads=self.threads, temp_directory=self.temp_directory)

    def publish(
        self,
        name: TableName | str,
        data: Data,
        *,
        connection: duckdb.DuckDBPyConnection | None = None,
        audits: Sequence[Audit] = (),
        facts: Mapping[str, str] | None = None,
        expected_version: int | None = None,
        draft_path: Path | None = None,
    ) -> TableVersion:
        """Write rows, audit them, and only then make them the newest version.

        `data` is a SELECT to run on `connection`, or Arrow or pandas rows. A publish stands on the version that was
        newest when it began (checked: `expected_version`); a later commit by anyone else refuses it. The same rows
        again, in any order and made of the same (`TableVersion.made_of`), make no new version: the existing one comes
        back with `unchanged=True`. A connection that is locked writes to the `draft_path` it was allowed.

        Raises:
            StoreError: an audit found problems (all are named), a column has no storable type, a full disk.
            ConflictError: another writer was first.
        """
        table = _table(name)
        base = self._base(table, expected_version)
        self._crash_at("publish.start")
        temp = draft_path or self.draft_path(table)
        try:
            with self._engine(data, connection) as (engine, query):
                rows, schema = write_table_file(engine, query, temp, what=str(table))
                self._crash_at("publish.after_write")
                draft = self._audited(table, engine, temp, audits)
            self._crash_at("publish.after_audit")
            draft = replace(draft, version=base + 1, rows=rows, facts=dict(facts or {}))
            if (same := self._same(draft)) is not None:
                return replace(same, unchanged=True)
            self._commit(draft, temp, schema)
        finally:
            temp.unlink(missing_ok=True)
        self._crash_at("publish.after_commit")
        return draft

    def draft_path(self, name: TableName | str) -> Path:
        """A file that no reader looks at, where the rows of one publish of a table may be written."""
        folder = self._folder(_table(name))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / f".{uuid.uuid4().hex}.parquet.tmp"

    def version(self, name: TableName | str) -> TableVersion | None:
        """The newest version; None when the table was never published."""
        table = _table(name)
        newest = newest_version(self._folder(table))
        return None if newest is None else self._record(table, newest)

    def versions(self, name: TableName | str) -> tuple[TableVersion, ...]:
        """Every version ever published, oldest first, also those whose rows retention has removed."""
        table = _table(name)
        newest = newest_version(self._folder(table))
        return tuple(self._record(table, number) for number in range(0 if newest is None else newest + 1))

    def at(self, name: TableName | str, as_of: datetime) -> TableVersion | None:
        """The newest version written at or before `as_of`; None when there was none yet."""
        return next((v for v in reversed(self.versions(name)) if v.written_at <= as_of), None)

    def tables(self, system: str | None = None) -> tuple[TableName, ...]:
        """Names of all published tables, sorted."""
        pattern = f"{sql.check_name(system) if system else '*'}/*/*/_delta_log"
        found = (folder.parent.relative_to(self.root).parts for folder in self.root.glob(pattern))
        return tuple(sorted(TableName(*parts) for parts in found))

    def attach(
        self,
        connection: duckdb.DuckDBPyConnection,
        tables: Mapping[str, TableName | TableVersion | str],
        *,
        as_of: datetime | None = None,
        row_id: str | None = None,
    ) -> dict[str, TableVersion]:
        """Make one view per table, view name → table (its newest version, or the one of `as_of`) or version.

        Every file is verified first. `row_id` adds a column of that name that numbers the rows of the table
        from 0. Returns which version each view shows.
        """
        shown = {view: self.resolve(table, as_of=as_of) for view, table in tables.items()}
        for view, version in shown.items():
            source = self.relation(version, row_id=row_id)
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {sql.quote_ident(view)} AS {source}")
        return shown

    def relation(self, version: TableVersion, *, row_id: str | None = None) -> str:
        """A verified version as SQL (`SELECT … FROM read_parquet(…)`)."""
        path = sql.quote_text(str(self.verified(version)))
        if row_id is None:
            return f"SELECT * FROM read_parquet({path})"
        number = f"file_row_number AS {sql.quote_ident(row_id)}"
        return f"SELECT * EXCLUDE (file_row_number), {number} FROM read_parquet({path}, file_row_number = true)"

    def resolve(self, table: TableName | TableVersion | str, *, as_of: datetime | None = None) -> TableVersion:
        """The version meant: itself, the one that `system/kind/name@version` names, else the newest (at `as_of`).

        Raises:
            StoreError: the table has no (such) version.
        """
        if isinstance(table, TableVersion):
            return table
        if isinstance(table, str) and "@" in table:
            named, _, number = table.rpartition("@")
            return self._record(_table(named), int(number) if number.isdecimal() else NO_VERSION)
        found = self.version(table) if as_of is None else self.at(table, as_of)
        if found is None:
            when = f" at {as_of.isoformat()}" if as_of else ""
            raise StoreError(f"{table} has no version{when}; materialise it first")
        return found

    def arrow(
        self,
        name: TableName | TableVersion | str,
        columns: Sequence[str] | None = None,
        *,
        version: int | None = None,
    ) -> pa.Table:
        """Rows of a table in stored order (newest version unless `version`), all columns unless named."""
        found = self.resolve(name)
        if version is not None:
            found = self._record(found.name, version)
        chosen = "*" if columns is None else sql.column_list(columns)
        with self.connect() as connection:
            return connection.sql(f"SELECT {chosen} FROM ({self.relation(found)})").to_arrow_table()

    def frame(
        self,
        name: TableName | TableVersion | str,
        columns: Sequence[str] | None = None,
        *,
        version: int | None = None,
    ) -> pd.DataFrame:
        """The rows as pandas: times `datetime64[us, UTC]`, dates `datetime.date`, null integers float64."""
        frame: pd.DataFrame = self.arrow(name, columns, version=version).to_pandas()
        return frame

    def verified(self, version: TableVersion) -> Path:
        """The file of a version, after its SHA-256 was compared with the commit's (once per file and
        process).

        Raises:
            StoreError: retention has removed the file.
            CorruptionError: the bytes are not those that were written.
        """
        try:
            status = version.path.stat()
        except FileNotFoundError as error:
            raise StoreError(
                f"{version.name}: rows of version {version.version} are gone (retention, or a lost file); "
                "read a newer version or publish the table again"
            ) from error
        mark = (str(version.path), status.st_mtime_ns, status.st_size)
        if mark not in self._verified:
            found = file_sha256(version.path)
            if found != version.sha256:
                raise CorruptionError(
                    f"{version.name}: version {version.version} has SHA-256 {found[:12]}…, recorded is "
                    f"{version.sha256[:12]}…; restore {version.path.name} or publish the table again"
                )
            self._verified.add(mark)
        return version.path

    def prune(
        self, name: TableName | str, *, keep: int, older_than: timedelta, needed: Collection[int] = ()
    ) -> PruneReport:
        """Remove rows of versions beyond the newest `keep` that were written longer ago than `older_than`.

        Versions in `needed` stay whatever their age. Files that no version names (a killed writer's) go as well, once
        older. Records stay in `versions`.

        Raises:
            StoreError: `keep` is below 1: the newest version is never removed.
        """
        if keep < 1:
            raise StoreError(f"got keep={keep}; at least 1 version is kept; raise it")
        versions = self.versions(name)
        limit = self._clock() - older_than
        old = [v for v in versions[:-keep] if v.version not in needed]
        gone = [v for v in old if v.written_at < limit and v.path.exists()]
        named = {v.path.name for v in versions}
        orphans = [
            path
            for path in self._folder(_table(name)).glob("*.parquet*")
            if path.name not in named and path.stat().st_mtime < limit.timestamp()
        ]
        paths = sorted({*(v.path for v in gone), *orphans})
        freed = sum(path.stat().st_size for path in paths)
        for path in paths:
            path.unlink()
        return PruneReport(tuple(v.version for v in gone), tuple(p.name for p in paths), freed)

    def _folder(self, table: TableName) -> Path:
        return self.root / table.system / table.kind / table.name

    def _record(self, table: TableName, number: int) -> TableVersion:
        key = (table, number)
        if key not in self._records:
            self._records[key] = read_version(self._folder(table), table, number)
        return self._records[key]

    def _base(self, table: TableName, expected: int | None) -> int:
        """Number of the version that a publish stands on."""
        newest = newest_version(self._folder(table))
        base = NO_VERSION if newest is None else newest
        if expected is not None and expected != base:
            raise conflict(table, newest=newest, expected=expected)
        return base

    def _same(self, draft: TableVersion) -> TableVersion | None:
        """The version that a draft stands on, when it holds these rows, made of the same, in a file that is whole."""
        previous = self.version(draft.name)
        if previous is None or previous.version + 1 != draft.version:
            return None
        if (previous.content_hash, previous.made_of) != (draft.content_hash, draft.made_of):
            return None
        try:
            self.verified(previous)
        except StoreError:
            return None
        return previous

    @contextmanager
    def _engine(
        self, data: Data, connection: duckdb.DuckDBPyConnection | None
    ) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
        if isinstance(data, str):
            if connection is None:
                raise StoreError("got SQL without the connection to run it on; pass connection=")
            yield connection, data
            return
        rows = _arrow(data) if isinstance(data, pd.DataFrame) else data
        with self.connect() as own:
            own.register("__rows", rows)
            yield own, "SELECT * FROM __rows"

    def _audited(
        self, table: TableName, engine: duckdb.DuckDBPyConnection, temp: Path, audits: Sequence[Audit]
    ) -> TableVersion:
        """What a written file holds, after every audit found nothing; its number and facts are not given yet."""
        rows = f"SELECT * FROM read_parquet({sql.quote_text(str(temp))})"
        with _draft_view(engine, rows), engine.cursor() as second, ThreadPoolExecutor(3) as beside:
            digest = beside.submit(file_sha256, temp)
            content = beside.submit(content_hash, second, f"({rows})")
            beside.submit(flush, temp)  # the disk works meanwhile; what counts is the flush before the rename
            problems = [problem for audit in audits for problem in audit(engine, _DRAFT)]
            if problems:
                listed = "\n".join(f"  {problem}" for problem in problems)
                raise StoreError(
                    f"{table}: {len(problems)} audit problem(s); nothing was published, the old version stays; "
                    f"mend the input or its contract:\n{listed}"
                )
            return TableVersion(
                name=table,
                version=NO_VERSION,
                rows=0,
                content_hash=content.result(),
                sha256=digest.result(),
                bytes=temp.stat().st_size,
                written_at=self._clock(),
                columns=sql.describe(engine, rows),
                facts={},
                path=temp.with_name(temp.name[1:].removesuffix(".tmp")),
            )

    def _commit(self, draft: TableVersion, temp: Path, schema: pa.Schema) -> None:
        flush(temp)
        temp.replace(draft.path)
        flush(draft.path.parent)
        self._crash_at("publish.after_rename")
        try:
            commit(draft.path.parent, draft, schema=schema)
        except ConflictError:
            draft.path.unlink(missing_ok=True)
            raise


@contextmanager
def _draft_view(engine: duckdb.DuckDBPyConnection, rows: str) -> Iterator[None]:
    """What audits look at, while they do."""
    engine.execute(f"CREATE OR REPLACE TEMP VIEW {_DRAFT} AS {rows}")
    try:
        yield
    finally:
        engine.execute(f"DROP VIEW IF EXISTS {_DRAFT}")


def _arrow(frame: pd.DataFrame) -> pa.Table:
    """A frame's columns, NaN as null. Column by column: as a whole, pyarrow drops zones on a path pandas warns of."""
    return pa.table({name: pa.chunked_array(frame[name]) for name in frame.columns})


def _table(name: TableName | str) -> TableName:
    return TableName.parse(name) if isinstance(name, str) else name
