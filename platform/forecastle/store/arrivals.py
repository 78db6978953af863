"""Arrivals: what reached a source in its last day, beside what had reached it before.

Belongs here: rows that tell of known events again (replayed, restated), values in another unit.
Does not belong here: how old the newest row is (`watermark.py`), clocks (`clocks.py`), rates day by day (`quality.py`),
the population against training rows (drift).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import duckdb
import pandas as pd

from forecastle.contract.errors import SourceError
from forecastle.contract.source import Source
from forecastle.measure.distance import excess_p_value
from forecastle.measure.drift import unit_change
from forecastle.measure.reference import reference
from forecastle.store.sql import column_list, instant, one_row

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

REFUSED: Final = frozenset({"units"})
"""Findings whose rows are not published."""

Finding = Literal["units", "replay", "restatement"]


@dataclass(frozen=True, slots=True)
class Arrived:
    """What one question found in the last day's rows: nothing, or a sentence for a person."""

    question: Finding
    is_well: bool
    sentence: str


class ArrivalError(SourceError):
    """Rows that must reach nobody: the last good table stays; `arrived` says what was found."""

    def __init__(self, name: str, arrived: tuple[Arrived, ...]) -> None:
        self.arrived = arrived
        said = "; ".join(found.sentence for found in arrived if not found.is_well and found.question in REFUSED)
        super().__init__(
            f"source {name}: {said}; the last good table stays; ask whoever delivers it; when the new size is meant, "
            "materialise the source once with accept_units: true"
        )


def questions(source: Source) -> tuple[Finding, ...]:
    """What can be asked of a source by its declaration."""
    asked: list[Finding] = []
    if _numbers(source):
        asked.append("units")
    if _stamp(source) is not None:
        asked += ["replay", "restatement"]
    return tuple(asked)


def look_at_arrivals(
    connection: duckdb.DuckDBPyConnection, relation: str, source: Source, *, since: datetime | None = None
) -> tuple[Arrived, ...]:
    """Ask every question of `questions` about the rows known within a day of the newest.

    `relation` is SQL of the source's rows with `known_at`. Values are compared with settled rows known after `since`:
    when a person last accepted that values are of another size from then on.
    """
    found: list[Arrived] = []
    if _numbers(source):
        found.append(_units(connection, relation, source, since))
    if _stamp(source) is not None:
        found += _repeats(connection, relation, source)
    return tuple(found)


def _units(connection: duckdb.DuckDBPyConnection, relation: str, source: Source, since: datetime | None) -> Arrived:
    """Numbers of the last day beside a sample of all numbers of the settled past."""
    names = _numbers(source)
    late, settled = _late_and_settled(connection, relation, names, since)
    if len(late) < ROWS_MIN or len(settled) < 10 * ROWS_MIN:
        few = f"{len(late)} rows of the last day and {len(settled)} settled ones are too few to compare."
        return Arrived("units", True, few)
    references = {name: reference(settled[name], unit=source.columns[name].unit or "") for name in names}
    just_now = late[late["__is_new"]]
    # A unit that changed in the middle of the day shows in the newest rows alone.
    looks = [rows for rows in (just_now, late) if len(rows) >= ROWS_MIN]
    found = {
        name: next(filter(None, (unit_change(references[name], rows[name]) for rows in looks)), None) for name in names
    }
    said = "; ".join(f"{name}: {sentence}" for name, sentence in found.items() if sentence)
    return Arrived(
        "units", not said, said or f"{len(late):,} rows of the last day are of the size of the settled ones."
    )


def _late_and_settled(
    connection: duckdb.DuckDBPyConnection, relation: str, names: tuple[str, ...], since: datetime | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    columns = column_list(names)
    newest, rows = one_row(connection, f"SELECT max(known_at), count(*) FROM {relation}")
    if not rows:
        return pd.DataFrame(), pd.DataFrame()
    late, new, settled = (instant(newest - span) for span in (LATELY, JUST_NOW, SETTLED))
    accepted = f" AND known_at > {instant(since)}" if since else ""
    step = -(-rows // ROWS_READ)
    chosen = f"SELECT {columns}, known_at > {new} AS __is_new FROM {relation} WHERE known_at > {late}"
    sampled = (
        f"SELECT {columns} FROM (SELECT *, row_number() OVER () AS __number FROM {relation})"
        f" WHERE known_at <= {settled}{accepted} AND __number % {step} = 0"
    )
    frames = [connection.sql(query).to_arrow_table().to_pandas() for query in (chosen, sampled)]
    return frames[0], frames[1]


def _repeats(connection: duckdb.DuckDBPyConnection, relation: str, source: Source) -> list[Arrived]:
    """Rows that tell of an event which a row known earlier told of, with the same values or with others."""
    days = _repeats_by_day(connection, relation, source)
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


def _repeats_by_day(connection: duckdb.DuckDBPyConnection, relation: str, source: Source) -> pd.DataFrame:
    """Days before the newest row → rows, rows that repeat the last version of their event, rows that change it."""
    event = column_list([name for name in source.key if name != _stamp(source)])
    told = [n for n in source.columns if n not in (*source.key, source.event_at, "event_at", "known_at")]
    values = f"hash({column_list(told)})" if told else "0"
    before = f"OVER (PARTITION BY {event} ORDER BY known_at)"
    found = connection.sql(
        f"WITH versions AS (SELECT known_at, max(known_at) OVER () AS newest, row_number() {before} > 1 AS again,"
        f" {values} AS told, lag({values}) {before} AS told_before FROM {relation})"
        f" SELECT floor((epoch(newest) - epoch(known_at)) / {int(LATELY.total_seconds())}) AS days_ago, count(*) AS n,"
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
