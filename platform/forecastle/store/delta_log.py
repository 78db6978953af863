"""Table versions as Delta Lake commits: one overwrite of one Parquet file, with its checksums in the commit.

Belongs here: names of tables, the record of a version, reading and committing it, what counts as a conflict.
Does not belong here: writing or reading rows (`warehouse.py`).
Protocol: https://github.com/delta-io/delta/blob/master/PROTOCOL.md; commits are made by the `deltalake`
package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, create_table_with_add_actions

from forecastle.contract.errors import ConflictError, CorruptionError, StoreError
from forecastle.store.sql import check_name
from forecastle.store.table_file import flush

RECORD: Final = "forecastle"
NO_VERSION: Final = -1
"""`expected_version` of a table that must not exist yet."""

_LOG: Final = "_delta_log"
_MADE_BY: Final = frozenset({"sql_sha256", "label_sha256", "feature_set"})
# `as_of` needs every commit, and another engine's vacuum must not take a version that our retention keeps.
_CONFIGURATION: Final = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A table's name: system/kind/name, each a word that may stand in a path."""

    system: str
    kind: str
    name: str

    def __post_init__(self) -> None:
        for part in (self.system, self.kind, self.name):
            check_name(part)

    def __str__(self) -> str:
        return f"{self.system}/{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> TableName:
        """The name written as `system/kind/name`.

        Raises:
            StoreError: it has not three parts, or one of them is no name.
        """
        parts = text.split("/")
        if len(parts) != 3:
            raise StoreError(f"got the table {text!r}; a table is system/kind/name, such as mlb/source/lines")
        return cls(*parts)


@dataclass(frozen=True, slots=True)
class TableVersion:
    """One immutable version of a table, as its commit recorded it.

    `sha256` is of the file, `content_hash` of the rows whatever their order, `written_at` the writer's clock
    (UTC), `columns` name → DuckDB type. `unchanged` says that a publish found these very rows, made of the same,
    already there.
    """

    name: TableName
    version: int
    rows: int
    sha256: str
    content_hash: str
    bytes: int
    written_at: datetime
    columns: Mapping[str, str]
    facts: Mapping[str, str]
    path: Path
    unchanged: bool = False

    @property
    def made_of(self) -> dict[str, str]:
        """Those facts that name what the rows were made of: versions of inputs, SQL, specification of features."""
        return {fact: told for fact, told in self.facts.items() if fact.startswith("input.") or fact in _MADE_BY}


def newest_version(folder: Path) -> int | None:
    """Number of the newest commit in a table's folder; None when it has none."""
    try:
        names = [path.name for path in (folder / _LOG).iterdir()]
    except FileNotFoundError:
        return None
    numbers = [int(n[:20]) for n in names if len(n) == 25 and n.endswith(".json") and n[:20].isdigit()]
    return max(numbers, default=None)


def read_version(folder: Path, name: TableName, version: int) -> TableVersion:
    """What the commit of one version says.

    Raises:
        StoreError: there is no such version, or another tool than this wrote it.
        CorruptionError: the commit cannot be read or its record was altered.
    """
    path = folder / _LOG / f"{version:020d}.json"
    try:
        actions = [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise StoreError(f"{name} has no version {version}; list them with versions()") from error
    except ValueError as error:
        raise CorruptionError(f"{name}: commit {version} is not JSON ({error}); restore {path.name}") from error
    sealed: dict[str, Any] = next((a["commitInfo"].get(RECORD) or {} for a in actions if "commitInfo" in a), {})
    if not sealed:
        raise StoreError(f"{name}: version {version} has no checksums, so another tool wrote it; publish a new version")
    added = [a["add"]["path"] for a in actions if "add" in a]
    record = sealed.get("record", {})
    if sealed.get("sha256") != _digest(record) or added != [record.get("file")]:
        raise CorruptionError(f"{name}: the record of version {version} was altered; restore {path.name}")
    return TableVersion(
        name=name,
        version=version,
        rows=int(record["rows"]),
        sha256=str(record["sha256"]),
        content_hash=str(record["content_hash"]),
        bytes=int(record["bytes"]),
        written_at=datetime.fromisoformat(record["written_at"]),
        columns=dict(record["columns"]),
        facts=dict(record["facts"]),
        path=folder / record["file"],
    )


def commit(folder: Path, entry: TableVersion, *, schema: pa.Schema) -> None:
    """Make `entry` the newest version if its number is still free; the file must already be in the folder.

    Raises:
        ConflictError: another writer took the number; nothing of this write is visible.
    """
    record = _record(entry)
    properties = CommitProperties(
        custom_metadata={RECORD: {"record": record, "sha256": _digest(record)}}, max_commit_retries=0
    )
    added = AddAction(
        path=entry.path.name,
        size=entry.bytes,
        partition_values={},
        modification_time=int(entry.written_at.timestamp() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": entry.rows}),
    )
    try:
        if entry.version == 0:
            create_table_with_add_actions(
                str(folder),
                Schema.from_arrow(schema),
                [added],
                mode="error",
                configuration=_CONFIGURATION,
                commit_properties=properties,
            )
        else:
            table = DeltaTable(str(folder), version=entry.version - 1)
            table.create_write_transaction(
                [added], "overwrite", Schema.from_arrow(schema), commit_properties=properties
            )
    except (CommitFailedError, DeltaError) as error:
        _explain(folder, entry, error)
    # Delta's local store renames without flushing.
    flush(folder / _LOG / f"{entry.version:020d}.json")
    flush(folder / _LOG)


def conflict(name: TableName, *, newest: int | None, expected: int) -> ConflictError:
    """The refusal of a writer that no longer stands on the newest version."""
    got, base = ("none" if v in {None, NO_VERSION} else str(v) for v in (newest, expected))
    return ConflictError(
        f"{name}: newest version is {got}, this write expected {base}; somebody else wrote first and "
        "nothing of this"
        " write is visible; run it again on the newest version"
    )


def _explain(folder: Path, entry: TableVersion, error: DeltaError) -> None:
    newest = newest_version(folder)
    if newest is not None and newest >= entry.version:
        raise conflict(entry.name, newest=newest, expected=entry.version - 1) from error
    raise StoreError(
        f"{entry.name}: version {entry.version} could not be committed: {error}; the old version stays; "
        "check the disk and run it again"
    ) from error


def _record(entry: TableVersion) -> dict[str, Any]:
    return {
        "bytes": entry.bytes,
        "columns": dict(entry.columns),
        "content_hash": entry.content_hash,
        "facts": dict(entry.facts),
        "file": entry.path.name,
        "rows": entry.rows,
        "sha256": entry.sha256,
        "written_at": entry.written_at.isoformat(),
    }


def _digest(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
