"""Deliveries: the rows of a simulated world's files with the instant at which each reached us, and files as they stood.

Belongs here: reading a whole world once, cutting it at an instant, writing the files that changed since the last cut.
Does not belong here: worlds (a system's `simulate`), what goes wrong with deliveries (`stories.py`), reading files
into tables (`sources.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from forecastle.contract.errors import SourceError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.source import KnownAhead, KnownAt, KnownFrom, Source
from forecastle.store.source_files import source_paths


@dataclass(frozen=True, slots=True)
class Delivery:
    """All rows of one source's file over the whole simulated time, as the file writes them.

    `rows` has the file's columns, `delivered_at` (UTC, same index) the instant from which the file holds the row,
    `schema` the file's column types where they are known (Parquet).
    """

    file: str
    rows: pd.DataFrame
    delivered_at: pd.Series
    schema: pa.Schema | None = None


Deliveries = Mapping[str, Delivery]


def read_deliveries(system: LoadedSystem, data: Path) -> Deliveries:
    """Every source's file of a whole world; a row is there from its declared knowledge time on.

    Rows whose knowledge time nobody tells are never delivered. Optional sources without a file are left out.

    Raises:
        SourceError: a source is no file, or its path means several.
    """
    declared = system.declaration.sources
    found: dict[str, Delivery] = {}
    # Sources that take their knowledge time from another come after it.
    for name in sorted(declared, key=lambda name: isinstance(declared[name].known_at, KnownFrom)):
        source = declared[name]
        if source.kind not in ("csv", "parquet"):
            raise SourceError(
                f"source {name} is of kind {source.kind}; only files can be simulated day by day, csv or parquet"
            )
        paths = source_paths(name, source.path, data=data)
        if not paths and source.optional:
            continue
        if len(paths) != 1:
            raise SourceError(
                f"source {name}: {len(paths)} files match {source.path}; a simulated world has one a source"
            )
        found[name] = _delivery(source, paths[0], data=data, others=found)
    return {name: found[name] for name in declared if name in found}


def instants(rows: pd.DataFrame, source: Source, time: str) -> pd.Series:
    """The declared `event_at` or `known_at` of a file's rows as UTC instants; NaT where none can be read.

    A date is its midnight and a time without zone local to the source's `time_zone`.
    """
    if isinstance(source.known_at, KnownAhead) and time not in source.time_columns():
        told = source.known_at.before
        return as_instants(rows[told], zone=source.zone_of(told)) - source.known_at.lead
    if time == "known_at" and isinstance(source.known_at, KnownAt):
        known: pd.Series = instants(rows, source, "event_at") + source.known_at.delay
        return known
    column = source.time_columns()[time]
    return as_instants(rows[column], zone=source.zone_of(column))


def as_instants(values: pd.Series, *, zone: str) -> pd.Series:
    """Dates, times with or without zone, or their text as UTC instants of microseconds."""
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return _utc(values)
    if values.dtype.kind == "M":
        return _local(values, zone)
    text = values.astype("str").where(values.notna())
    found: pd.Series = pd.to_datetime(text, format="ISO8601", errors="coerce")
    return _utc(found) if isinstance(found.dtype, pd.DatetimeTZDtype) else _local(found, zone)


class Upstream:
    """Whoever delivers the files: a folder that holds at every instant what had been delivered by then."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the data folder that the platform reads."""
        self._folder = folder
        self._written: dict[str, tuple[int, int]] = {}

    def deliver(self, deliveries: Deliveries, *, now: datetime) -> tuple[str, ...]:
        """Write the files as they stand at `now`; returns the sources whose file changed, in order."""
        changed = []
        for name, delivery in deliveries.items():
            here = delivery.delivered_at <= now
            # The same rows object cut at the same rows is the same file: stories make new objects.
            state = (id(delivery.rows), hash(tuple(delivery.rows.index[here])))
            if self._written.get(name) != state:
                self._written[name] = state
                _write(self._folder / delivery.file, delivery, delivery.rows[here])
                changed.append(name)
        return tuple(changed)


def _local(values: pd.Series, zone: str) -> pd.Series:
    times = values.astype("datetime64[us]").dt
    return _utc(times.tz_localize(zone, ambiguous=np.ones(len(values), bool), nonexistent="shift_forward"))


def _utc(values: pd.Series) -> pd.Series:
    found: pd.Series = values.dt.tz_convert("UTC").astype("datetime64[us, UTC]")
    return found


def _delivery(source: Source, path: Path, *, data: Path, others: Deliveries) -> Delivery:
    file = path.relative_to(data.resolve()).as_posix()
    if source.kind == "csv":
        rows, schema = pd.read_csv(path, dtype="str", keep_default_na=False, na_values=[""]), None
    else:
        table = pq.read_table(path)
        rows, schema = table.to_pandas(date_as_object=True), table.schema.remove_metadata()
    at = _seen(rows, source, others) if isinstance(source.known_at, KnownFrom) else instants(rows, source, "known_at")
    kept = at.notna()
    ordered = at[kept].sort_values(kind="stable").index
    return Delivery(file, rows.loc[ordered].reset_index(drop=True), at[ordered].reset_index(drop=True), schema)


def _seen(rows: pd.DataFrame, source: Source, others: Deliveries) -> pd.Series:
    """When the source that tells a row's knowledge time first named it."""
    assert isinstance(source.known_at, KnownFrom)
    on = source.known_at.on
    told = others[source.known_at.source]
    # As text: one of the two may store an id as a number, the other as its digits.
    first = told.rows[on].astype("str").assign(__at=told.delivered_at).groupby(on, as_index=False)["__at"].min()
    seen: pd.Series = rows[on].astype("str").merge(first, on=on, how="left")["__at"]
    return seen.set_axis(rows.index)


def _write(path: Path, delivery: Delivery, rows: pd.DataFrame) -> None:
    """Replace a file whole: a reader finds the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.new")
    if delivery.schema is None:
        rows.to_csv(staged, index=False)
    else:
        fields = {field.name: field for field in delivery.schema}
        columns = {str(name): _column(rows[name], fields.get(str(name))) for name in rows.columns}
        pq.write_table(pa.table(columns), staged)
    staged.replace(path)


def _column(values: pd.Series, field: pa.Field | None) -> pa.Array:
    """A column with the file's type; one that a story made has the type of its values."""
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        times = pa.array(values.dt.tz_convert(None).to_numpy(), pa.timestamp("us"))
        return times.cast(pa.timestamp("us", tz="UTC")).cast(field.type if field else pa.timestamp("us", tz="UTC"))
    return pa.array(values.to_numpy(), type=field.type if field else None, from_pandas=True)
