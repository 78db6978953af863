"""Clocks of a source: event, knowledge and ingestion time of its rows, compared as the table holds them.

Belongs here: which clocks a declaration gives, reading them side by side.
Does not belong here: what a gap between two clocks means (`forecastle.measure.clocks`), whether a check blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import duckdb
import numpy as np
from numpy.typing import NDArray

from forecastle.contract.source import Source
from forecastle.measure.clocks import ROWS_MIN, ClockGap, ahead_rows, clock_gap
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.sql import column_list, quote_ident
from forecastle.store.warehouse import Warehouse

ROWS_READ: Final = 1_000_000
LATELY_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class ClockPair:
    """Two clocks of one source and the gap between them; `second` is the one that should not run ahead by hours.

    `lately` names the rows that were compared where they alone show a shift ("" for all rows).
    """

    first: str
    second: str
    gap: ClockGap
    lately: str = ""

    @property
    def sentence(self) -> str:
        """What to tell a person."""
        said = self.gap.sentence(self.first, self.second)
        return f"In the {self.lately}, {said}" if self.lately else said


@dataclass(frozen=True, slots=True)
class ClockReport:
    """Every pair of clocks that could be compared, and rows from the future.

    `future_rows` counts rows whose knowledge time lies beyond `limit`: the clock of whoever stored them, else now.
    """

    pairs: tuple[ClockPair, ...]
    future_rows: int
    limit: str

    @property
    def ok(self) -> bool:
        """Is no clock suspected of another zone, and no row of the future?"""
        return not self.future_rows and all(pair.gap.shift_seconds is None for pair in self.pairs)

    @property
    def changed_lately(self) -> bool:
        """Has a clock been set to another zone in the last day?"""
        return any(pair.lately != "" for pair in self.pairs)

    @property
    def sentence(self) -> str:
        """What to tell a person, alarms first."""
        ordered = sorted(self.pairs, key=lambda pair: pair.gap.shift_seconds is None)
        told = [pair.sentence for pair in ordered]
        if self.future_rows:
            told.insert(0, f"{self.future_rows} row(s) were known after {self.limit}.")
        return " ".join(told) or "The source declares one clock only; there is nothing to compare it with."


def has_clocks(source: Source) -> bool:
    """Does a declaration give two clocks to compare?"""
    both = len(row_clocks(source)) > 1
    return both or source.closes is not None


def compare_clocks(
    warehouse: Warehouse, system: str, source: Source, version: TableVersion, *, now: datetime
) -> ClockReport:
    """Compare the clocks of one published version of a source; of large tables every n-th row.

    Dates have no clock and are left out, as is a knowledge time that is made from the event time.

    Raises:
        StoreError: the source that tells the end of an entity's rows was never published.
    """
    with warehouse.connect() as connection:
        warehouse.attach(connection, {"__source": version}, row_id="__number")
        step = -(-version.rows // ROWS_READ) or 1
        rows = f"(SELECT * FROM __source WHERE __number % {step} = 0)"
        clocks = row_clocks(source)
        times = _seconds(connection, rows, {name: quote_ident(column) for name, column in clocks.items()})
        known = _seconds(connection, rows, {"known_at": "known_at"})["known_at"]
        pairs = [_pair(times["event_at"], times[name], known, name=name) for name in list(clocks)[1:]]
        if source.closes is not None:
            warehouse.attach(connection, {"__closing": TableName(system, "source", source.closes.source)})
            pairs.append(_closing(connection, source))
    limit = times["ingested_at"] if "ingested_at" in clocks else np.float64(now.timestamp())
    told = "they were stored" if "ingested_at" in clocks else f"{now:%Y-%m-%d %H:%M} UTC"
    return ClockReport(tuple(pairs), ahead_rows(known, limit), told)


def _pair(
    event: NDArray[np.float64], other: NDArray[np.float64], known: NDArray[np.float64], *, name: str
) -> ClockPair:
    """All rows, unless the newest alone show a shift: a clock that was set lately is outvoted by its past."""
    whole = ClockPair("event_at", name, clock_gap(event, other))
    if whole.gap.shift_seconds is not None:
        return whole
    late = known > np.nanmax(known, initial=-np.inf) - LATELY_SECONDS
    day = ClockPair("event_at", name, clock_gap(event[late], other[late]), lately="last day")
    if day.gap.shift_seconds is not None:
        return day
    return _newest(event, other, known, name=name) or whole


def _newest(
    event: NDArray[np.float64], other: NDArray[np.float64], known: NDArray[np.float64], *, name: str
) -> ClockPair | None:
    """The newest few rows where they show a shift and the rows before them none.

    So few rows may have come in one load that was hours late; a source whose rows always come within minutes is
    trusted to have none.
    """
    if len(known) <= 2 * ROWS_MIN:
        return None
    order = np.argsort(known, kind="stable")
    before, newest = order[:-ROWS_MIN], order[-ROWS_MIN:]
    usual = clock_gap(event[before], other[before])
    found = clock_gap(event[newest], other[newest])
    told = usual.crowded and usual.shift_seconds is None and found.shift_seconds is not None
    return ClockPair("event_at", name, found, lately=f"newest {ROWS_MIN} rows") if told else None


def row_clocks(source: Source) -> dict[str, str]:
    """Clock → column of the table, for each of a row's clocks that shows the time of day; the event's first."""
    told = source.time_columns()
    named = {"event_at": told.get("event_at"), "known_at": told.get("known_at"), "ingested_at": source.ingested_at}
    clocks = {n: c for n, c in named.items() if c is not None and source.columns[c].dtype == "timestamp"}
    if "event_at" not in clocks:
        return {}
    same = {name for name, column in clocks.items() if name != "event_at" and column == clocks["event_at"]}
    columns = {name: name if name != "ingested_at" else clocks[name] for name in clocks}
    return {name: column for name, column in columns.items() if name not in same}


def _closing(connection: duckdb.DuckDBPyConnection, source: Source) -> ClockPair:
    """Each entity's last event beside the end that the other source tells."""
    closes = source.closes
    assert closes is not None
    on = column_list(closes.on)
    last = f"SELECT {on}, max(event_at) AS __last FROM __source GROUP BY {on}"
    ends = f"SELECT {on}, max({quote_ident(closes.at)}) AS __end FROM __closing GROUP BY {on}"
    joined = f"(SELECT __last, __end FROM ({last}) JOIN ({ends}) USING ({on}))"
    times = _seconds(connection, joined, {"last": "__last", "end": "__end"})
    return ClockPair(f"{closes.source}.{closes.at}", "the last event_at", clock_gap(times["end"], times["last"]))


def _seconds(
    connection: duckdb.DuckDBPyConnection, rows: str, columns: Mapping[str, str]
) -> dict[str, NDArray[np.float64]]:
    """Columns as seconds since 1970, NaN where null."""
    if not columns:
        return {}
    chosen = ", ".join(f"epoch_us({column}::TIMESTAMPTZ) / 1e6 AS {quote_ident(n)}" for n, column in columns.items())
    found = connection.sql(f"SELECT {chosen} FROM {rows}").to_arrow_table()
    return {name: found[name].to_numpy().astype(np.float64) for name in columns}
