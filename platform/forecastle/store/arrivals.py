"""Arrivals: what reached a source in its last day, beside what had reached it before.

Belongs here: rows that tell of known events again (replayed, restated), values in another unit, outliers.
Does not belong here: how old the newest row is (`watermark.py`), clocks (`clocks.py`), the population against training
rows (drift), whether a check blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

import pandas as pd

from forecastle.contract.source import Source
from forecastle.measure.distance import excess_p_value
from forecastle.measure.drift import tail_change, unit_change
from forecastle.measure.reference import reference
from forecastle.store.delta_log import TableVersion
from forecastle.store.sql import column_list, quote_ident
from forecastle.store.warehouse import Warehouse

LATELY: Final = timedelta(days=1)
JUST_NOW: Final = timedelta(hours=6)
SETTLED: Final = timedelta(weeks=4)
"""Values are compared with rows known this long before: a fault that lasts must not become its own measure."""
ROWS_MIN: Final = 10
ROWS_READ: Final = 20_000
REPEATED_TOLERANCE: Final = 0.1
"""Share of rows that tell of known events again, beyond the usual share, that nobody would act on."""
ALPHA: Final = 1e-4
"""False alarms allowed a look: one in thirty years of daily looks."""

Finding = Literal["units", "outliers", "replay", "restatement"]


@dataclass(frozen=True, slots=True)
class Arrived:
    """What one question found in the last day's rows: nothing, or a sentence for a person."""

    question: Finding
    is_well: bool
    sentence: str


def questions(source: Source) -> tuple[Finding, ...]:
    """What can be asked of a source by its declaration."""
    asked: list[Finding] = []
    if _numbers(source):
        asked += ["units", "outliers"]
    if _stamp(source) is not None:
        asked += ["replay", "restatement"]
    return tuple(asked)


def look_at_arrivals(warehouse: Warehouse, source: Source, version: TableVersion) -> tuple[Arrived, ...]:
    """Ask every question of `questions` about the rows known within a day of the newest."""
    found: list[Arrived] = []
    if _numbers(source):
        found += _values(warehouse, source, version)
    if _stamp(source) is not None:
        found += _repeats(warehouse, source, version)
    return tuple(found)


def _values(warehouse: Warehouse, source: Source, version: TableVersion) -> list[Arrived]:
    """Numbers of the last day beside a sample of all numbers of the settled past."""
    names = _numbers(source)
    late, settled = _late_and_settled(warehouse, version, names)
    if len(late) < ROWS_MIN or len(settled) < 10 * ROWS_MIN:
        few = f"{len(late)} rows of the last day and {len(settled)} settled ones are too few to compare."
        return [Arrived("units", True, few), Arrived("outliers", True, few)]
    references = {name: reference(settled[name], unit=source.columns[name].unit or "") for name in names}
    just_now = late[late["__is_new"]]
    # A unit that changed in the middle of the day shows in the newest rows alone.
    looks = [rows for rows in (just_now, late) if len(rows) >= ROWS_MIN]
    units = {
        name: next(filter(None, (unit_change(references[name], rows[name]) for rows in looks)), None) for name in names
    }
    # Values of another unit lie outside as well: one name is enough, and it is the nearer one.
    outside = {name: tail_change(references[name], late[name], alpha=ALPHA) for name in names if not units[name]}
    well = f"{len(late):,} rows of the last day are of the size of the settled ones."
    return [_told("units", units, well), _told("outliers", outside, well)]


def _told(question: Finding, found: dict[str, str | None], well: str) -> Arrived:
    said = "; ".join(f"{name}: {sentence}" for name, sentence in found.items() if sentence)
    return Arrived(question, not said, said or well)


def _late_and_settled(
    warehouse: Warehouse, version: TableVersion, names: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    columns = column_list(names)
    before = "(SELECT max(known_at) FROM __rows) - INTERVAL {} SECOND"
    late, new, settled = (before.format(int(span.total_seconds())) for span in (LATELY, JUST_NOW, SETTLED))
    with warehouse.connect() as connection:
        warehouse.attach(connection, {"__rows": version}, row_id="__number")
        step = -(-version.rows // ROWS_READ) or 1
        chosen = f"SELECT {columns}, known_at > {new} AS __is_new FROM __rows WHERE known_at > {late}"
        sampled = f"SELECT {columns} FROM __rows WHERE known_at <= {settled} AND __number % {step} = 0"
        return tuple(connection.sql(query).to_arrow_table().to_pandas() for query in (chosen, sampled))


def _repeats(warehouse: Warehouse, source: Source, version: TableVersion) -> list[Arrived]:
    """Rows that tell of an event which a row known earlier told of, with the same values or with others."""
    days = _repeats_by_day(warehouse, source, version)
    today, before = days[days["days_ago"] == 0].sum(), days[days["days_ago"] > 0].sum()
    return [
        _unusual("replay", today, before, column="same", how="as they were"),
        _unusual("restatement", today, before, column="other", how="with other values"),
    ]


def _unusual(question: Finding, today: pd.Series, before: pd.Series, *, column: str, how: str) -> Arrived:
    rows, usual, count = int(today["n"]), int(before["n"]), int(today[column])
    if rows < ROWS_MIN or not usual:
        return Arrived(question, True, f"{rows} rows of the last day and {usual} before are too few to compare.")
    expected = int(before[column])
    told = f"{count:,} of {rows:,} rows of the last day tell of known events again, {how}"
    told += f"; {expected / usual:.1%} are usual."
    beyond = count / rows - expected / usual > REPEATED_TOLERANCE
    return Arrived(question, not (beyond and excess_p_value(expected, usual, count, rows) < ALPHA), told)


def _repeats_by_day(warehouse: Warehouse, source: Source, version: TableVersion) -> pd.DataFrame:
    """Days before the newest row → rows, rows that repeat the last version of their event, rows that change it."""
    event = column_list([name for name in source.key if name != _stamp(source)])
    told = [n for n in source.columns if n in version.columns and n not in source.key and n != source.event_at]
    values = f"({', '.join(quote_ident(name) for name in told)})" if told else "(0)"
    before = f"OVER (PARTITION BY {event} ORDER BY known_at)"
    with warehouse.connect() as connection:
        warehouse.attach(connection, {"__rows": version})
        found = connection.sql(
            f"WITH versions AS (SELECT known_at, max(known_at) OVER () AS newest, row_number() {before} > 1 AS again,"
            f" hash({values[1:-1]}) AS told, lag(hash({values[1:-1]})) {before} AS told_before FROM __rows)"
            f" SELECT (epoch(newest) - epoch(known_at)) // {int(LATELY.total_seconds())} AS days_ago, count(*) AS n,"
            " count(*) FILTER (WHERE again AND told = told_before) AS same,"
            " count(*) FILTER (WHERE again AND told <> told_before) AS other"
            " FROM versions GROUP BY 1"
        ).to_arrow_table()
    frame: pd.DataFrame = found.to_pandas()
    return frame


def _numbers(source: Source) -> tuple[str, ...]:
    """Measured values: numbers that are neither ids nor part of what names a row."""
    return tuple(
        name
        for name, column in source.columns.items()
        if column.dtype in ("float64", "int64") and column.unit not in ("id", "flag") and name not in source.key
    )


def _stamp(source: Source) -> str | None:
    """The column with the knowledge time, where a later version of a row is a further row."""
    stamp = source.known_at if isinstance(source.known_at, str) else None
    names_events = stamp in source.key and len(source.key) > 1 and stamp != source.event_at
    return stamp if names_events else None
