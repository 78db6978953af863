"""Reduced views: rows that can ever win a point-in-time join, sorted and laid out to be searched in place.

Belongs here: writing them as memory-mapped columns, joining labels to them by binary search.
Does not belong here: the rule and its reduction (`point_in_time.py`), which views are worth it (the caller).
For joins that are repeated on one table version: the first costs a sort, every further one reads only what it needs.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forecastle.contract.errors import CorruptionError, StoreError
from forecastle.store.point_in_time import Joined, ViewMatch, reduced_rows
from forecastle.store.sql import column_list, describe, one_row, quote_ident, quote_text
from forecastle.store.table_file import file_sha256, flush

BATCH_ROWS: Final = 100_000
_TIMES: Final = ("event_at", "known_at", "usable_at")
_INSTANT: Final = pa.timestamp("us", tz="UTC")
_STORED: Final = {"DOUBLE": ("float64", pa.float64()), "BIGINT": ("int64", pa.int64()), "BOOLEAN": ("bool", pa.bool_())}
_ROW: Final = "__row"


@dataclass(frozen=True, slots=True)
class ReducedView:
    """A reduced view on disk: `folder` holds a file a column, `entities.parquet` where each entity's rows lie.

    Times are microseconds since 1970 UTC; `features` name → DuckDB type. A null is NaN in a float64 column, and a mark
    in a file beside the others.
    """

    name: str
    folder: Path
    keys: tuple[str, ...]
    rows: int
    features: dict[str, str]

    def column(self, name: str) -> NDArray[Any]:
        """One column, mapped into memory: only what is touched is read."""
        found: NDArray[Any] = (
            np.load(self.folder / f"{name}.npy", mmap_mode="r") if self.rows else np.empty(0, np.int64)
        )
        return found


def write_reduced(
    connection: duckdb.DuckDBPyConnection, relation: str, name: str, *, keys: Sequence[str], folder: Path
) -> ReducedView:
    """Reduce the rows of `relation` (keys, event_at, known_at, numeric features) and write them whole to `folder`.

    Of rows equal in key and times the later one of the relation stays. Files carry SHA-256 sums, which `open_reduced`
    compares.

    Raises:
        StoreError: a feature is no number.
    """
    features = _features(connection, relation, name, keys)
    numbered = f"(SELECT *, row_number() OVER () AS {_ROW} FROM {quote_ident(relation)})"
    chosen = column_list([*keys, "event_at", "known_at", *features])
    kept = reduced_rows(numbered, keys, order=_ROW, columns=chosen)
    known = " AND ".join(f"{quote_ident(key)} IS NOT NULL" for key in keys)
    by = column_list(keys)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE __reduced AS SELECT * FROM ({kept}) WHERE {known} ORDER BY {by}, usable_at"
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".reduced-", dir=folder.parent))
    try:
        (rows,) = one_row(connection, "SELECT count(*) FROM __reduced")
        _write_columns(connection, draft, rows, features)
        entities = f"SELECT {by}, min(rowid) AS __start, max(rowid) + 1 AS __stop FROM __reduced GROUP BY {by}"
        connection.execute(f"COPY ({entities}) TO {quote_text(str(draft / 'entities.parquet'))} (FORMAT parquet)")
        view = ReducedView(name, folder, tuple(keys), rows, features)
        _seal(draft, view)
        if folder.exists():
            shutil.rmtree(folder)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        connection.execute("DROP TABLE IF EXISTS __reduced")
    return view


def open_reduced(folder: Path) -> ReducedView:
    """A reduced view that was written before, after its files were compared with their sums.

    Raises:
        StoreError: there is none.
        CorruptionError: a file is not what was written; write it again.
    """
    try:
        record = json.loads((folder / "view.json").read_bytes())
    except FileNotFoundError as error:
        raise StoreError(f"there is no reduced view in {folder.name}; write it first") from error
    for file, sha256 in record.pop("files").items():
        if file_sha256(folder / file) != sha256:
            raise CorruptionError(f"reduced view {record['name']}: {file} is not what was written; write it again")
    return ReducedView(folder=folder, keys=tuple(record.pop("keys")), **record)


def reduced_join(
    connection: duckdb.DuckDBPyConnection,
    labels: str,
    views: Sequence[tuple[ReducedView, timedelta]],
    *,
    output: str,
    predict_at: str = "predict_at",
) -> Joined:
    """Relation `output`: every label row once, in order, with each view's features as known at `predict_at`.

    The answer of `point_in_time_join`, value for value, for views reduced before; each comes with its TTL.
    """
    source = f"SELECT row_number() OVER () AS {_ROW}, * FROM {quote_ident(labels)}"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE __labels AS {source}")
    joined = connection.sql(f"SELECT * EXCLUDE ({_ROW}) FROM __labels ORDER BY {_ROW}").to_arrow_table()
    matches = []
    for view, ttl in views:
        row, usable, live = _winners(connection, view, ttl, predict_at)
        for name, kind in view.features.items():
            joined = joined.append_column(name, _gathered(view, name, row, live, kind))
        for time in _TIMES[:2]:
            joined = joined.append_column(f"{view.name}__{time}", _gathered(view, time, row, live, "TIMESTAMPTZ"))
        present, found = int(live.sum()), int(usable.sum())
        matches.append(ViewMatch(view.name, present, found - present, len(row) - found))
    connection.execute("DROP TABLE __labels")
    connection.register(output, joined)
    return Joined(output, joined.num_rows, tuple(matches))


def _features(connection: duckdb.DuckDBPyConnection, relation: str, name: str, keys: Sequence[str]) -> dict[str, str]:
    """Columns of a relation beside keys and times, with their types; each can be stored."""
    columns = describe(connection, f"SELECT * FROM {quote_ident(relation)}")
    features = {c: kind for c, kind in columns.items() if c not in {*keys, *_TIMES}}
    wrong = [f"{c} is {kind}" for c, kind in features.items() if kind not in _STORED]
    if wrong:
        raise StoreError(
            f"view {name} cannot be laid out for search: {', '.join(wrong)}; numbers and booleans are stored"
        )
    return features


def _winners(
    connection: duckdb.DuckDBPyConnection, view: ReducedView, ttl: timedelta, predict_at: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """For each label the place of its winner, whether there is one, and whether it is young enough."""
    entities = quote_text(str(view.folder / "entities.parquet"))
    asked = connection.sql(
        f"SELECT coalesce(__start, 0) AS start, coalesce(__stop, 0) AS stop, epoch_us({quote_ident(predict_at)}) AS at"
        f" FROM __labels LEFT JOIN read_parquet({entities}) USING ({column_list(view.keys)}) ORDER BY {_ROW}"
    ).to_arrow_table()
    first, stop = (asked[name].to_numpy() for name in ("start", "stop"))
    never = asked["at"].is_null().to_numpy()
    at = asked["at"].fill_null(0).to_numpy()
    if not view.rows:
        nothing = np.zeros(len(at), bool)
        return np.zeros(len(at), np.int64), nothing, nothing
    row = _last_not_after(view.column("usable_at"), at, first, stop)
    usable = (row >= first) & (stop > first) & ~never
    row = np.where(usable, row, 0)
    live = usable & (view.column("event_at")[row] > at - ttl // timedelta(microseconds=1))
    return row, usable, live


def _last_not_after(
    times: NDArray[np.int64], at: NDArray[np.int64], first: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Binary search in each label's own stretch, all labels a step at a time; `first − 1` where nothing is early.

    No key is made of entity and time together, so no key can overflow.
    """
    low, high = first.copy(), stop.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        early = open_ & (times[np.where(open_, middle, 0)] <= at)
        low = np.where(early, middle + 1, low)
        high = np.where(open_ & ~early, middle, high)
    return low - 1


def _gathered(view: ReducedView, name: str, row: NDArray[np.int64], live: NDArray[np.bool_], kind: str) -> pa.Array:
    """Values of the winners that are live, null elsewhere."""
    if not view.rows:
        return pa.nulls(len(row), _INSTANT if kind == "TIMESTAMPTZ" else _STORED[kind][1])
    values = view.column(name)[row]
    empty = ~live
    if kind == "DOUBLE":
        empty |= np.isnan(values)
    elif (view.folder / f"{name}.null.npy").exists():
        empty |= view.column(f"{name}.null")[row]
    found = pa.array(values, mask=empty)
    return found.cast(_INSTANT) if kind == "TIMESTAMPTZ" else found


def _write_columns(connection: duckdb.DuckDBPyConnection, folder: Path, rows: int, features: dict[str, str]) -> None:
    """Stream table `__reduced` into one file a column."""
    kinds = {**dict.fromkeys(_TIMES, "int64"), **{name: _STORED[kind][0] for name, kind in features.items()}}
    if not rows:
        return
    files = {n: np.lib.format.open_memmap(folder / f"{n}.npy", "w+", np.dtype(k), (rows,)) for n, k in kinds.items()}
    marked: dict[str, NDArray[np.bool_]] = {}
    times = ", ".join(f"epoch_us({time}) AS {time}" for time in _TIMES)
    chosen = f"{times}{''.join(f', {quote_ident(name)}' for name in features)}"
    at = 0
    for batch in connection.sql(f"SELECT {chosen} FROM __reduced ORDER BY rowid").to_arrow_reader(BATCH_ROWS):
        until = at + batch.num_rows
        for name, kind in kinds.items():
            values = batch.column(name)
            if values.null_count and kind != "float64":
                mark = marked.setdefault(name, np.zeros(rows, bool))
                mark[at:until] = values.is_null().to_numpy(zero_copy_only=False)
            empty = np.nan if kind == "float64" else (False if kind == "bool" else 0)
            files[name][at:until] = values.fill_null(empty).to_numpy(zero_copy_only=False)
        at = until
    for name, mark in marked.items():
        np.save(folder / f"{name}.null.npy", mark)
    for file in files.values():
        file.flush()


def _seal(folder: Path, view: ReducedView) -> None:
    sums = {path.name: file_sha256(path) for path in sorted(folder.iterdir())}
    record = {"name": view.name, "keys": view.keys, "rows": view.rows, "features": view.features, "files": sums}
    (folder / "view.json").write_text(json.dumps(record, indent=1))
    for path in folder.iterdir():
        flush(path)
