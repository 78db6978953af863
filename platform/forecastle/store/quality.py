"""What arrived each day, counted: volumes, nulls, outliers and jumps of sources and feature views.

Belongs here: the daily profile of a table, by the UTC day on which its rows became known.
Does not belong here: what is alarming about it (`measure/quality.py`), rows that break a contract (`sources.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import pandas as pd

from forecastle.contract.column import Column
from forecastle.contract.load import LoadedSystem
from forecastle.contract.source import Source
from forecastle.measure.units import SUSPECTED_FACTORS, related_factors
from forecastle.store.delta_log import TableVersion
from forecastle.store.sql import instant, quote_ident
from forecastle.store.warehouse import Warehouse

PROFILE_COLUMNS: Final = ("table", "column", "measure", "day", "rows", "found", "rows_so_far", "found_so_far")
HISTORY: Final = timedelta(days=63)
# Values beyond these quantiles of the history are outliers: about one row in a thousand is one at any time.
EXTREMES: Final = (0.0005, 0.9995)
# The values of one entity move by themselves as well; a jump is a factor met within 15 %.
_DAY_US: Final = 86_400_000_000
_JUMP_BAND: Final = 0.15
_TALLIED: Final = ("float64", "int64")
_NO_NUMBERS: Final = ("id", "category", "utc")


@dataclass(frozen=True, slots=True)
class ProfiledTable:
    """One table to count: its columns, and the columns that name what its rows are about."""

    kind: str
    name: str
    columns: Mapping[str, Column]
    keys: tuple[str, ...]


def profiled_tables(system: LoadedSystem) -> list[ProfiledTable]:
    """Every source and feature view of a system."""
    declared = system.declaration
    sources = [ProfiledTable("source", n, s.columns, _entity_of(s)) for n, s in declared.sources.items()]
    views = [
        ProfiledTable("features", name, view.features, tuple(declared.entity[view.entity].keys))
        for name, view in declared.feature_views.items()
    ]
    return [*sources, *views]


def daily_profile(warehouse: Warehouse, table: ProfiledTable, version: TableVersion, *, now: datetime) -> pd.DataFrame:
    """Counts of one table version by UTC day of `known_at`, of the last nine weeks before `now`.

    Returns columns table, column, measure, day, rows and found as `measure.quality.judge_quality` takes them, and both
    again of each day's rows that were known by the time of day of `now`.
    Outliers are counted against the extremes of all days but the newest, and by entity where the table has one: one in
    a thousand rows is too rare a thing for its clustering to be learned, and the rows that a view makes of one busy
    entity in a day lie beyond them together. A jump is a value that differs from the same entity's value before by the
    factor of another unit.
    """
    columns = [name for name in table.columns if name in version.columns]
    numbers = [name for name in columns if _is_number(table.columns[name])]
    keys = [key for key in table.keys if key in version.columns]
    with warehouse.connect() as connection:
        warehouse.attach(connection, {"__all": version})
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            "CREATE TEMP TABLE __rows AS SELECT *, CAST(known_at AS DATE) AS __day FROM __all"
            " WHERE known_at > ? AND known_at <= ?",
            [now - HISTORY, now],
        )
        connection.execute(
            f"CREATE TEMP TABLE __fences AS SELECT {_fences(numbers)} FROM __rows"
            " WHERE __day < (SELECT max(__day) FROM __rows)"
        )
        lagged = f"SELECT *, {_lags(numbers, keys)} FROM __rows"
        tallies = _tallies(columns, numbers, table.columns, keys)
        selects = ", ".join(f"{sql} AS {name}" for name, sql, *_ in tallies)
        early = f"epoch_us(known_at) % {_DAY_US} <= epoch_us({instant(now)}) % {_DAY_US}"
        whole, so_far = (
            connection.execute(
                f"SELECT __day AS day, count(*) AS rows, {selects}"
                f" FROM ({lagged}) CROSS JOIN __fences WHERE {counted} GROUP BY ALL ORDER BY ALL"
            ).df()
            for counted in ("true", early)
        )
    return _tidy(f"{table.kind}/{table.name}", whole, so_far, tallies)


def _tallies(
    columns: Sequence[str], numbers: Sequence[str], declared: Mapping[str, Column], keys: Sequence[str]
) -> list[tuple[str, str, str, str, str]]:
    """(alias, SQL of the count, column, measure, alias of its rows)."""
    found = []
    entity = f"DISTINCT ROW({', '.join(map(quote_ident, keys))})" if keys else "*"
    for index, name in enumerate(columns):
        quoted = quote_ident(name)
        found.append((f"__n{index}", f"count(*) FILTER (WHERE {quoted} IS NULL)", name, "null_rate", "rows"))
        if name not in numbers:
            continue
        known = (f"__k{index}", f"count({entity}) FILTER (WHERE {quoted} IS NOT NULL)", "", "", "")
        beyond = f"{quoted} < {quote_ident('__lo_' + name)} OR {quoted} > {quote_ident('__hi_' + name)}"
        found += [known, (f"__o{index}", f"count({entity}) FILTER (WHERE {beyond})", name, "outlier_rate", known[0])]
        if keys:
            pairs = f"{quoted} > 0 AND {quote_ident('__was_' + name)} > 0"
            ratio = f"abs(ln({quoted} / {quote_ident('__was_' + name)}))"
            near = " OR ".join(f"abs({ratio} - {size!r}) < {_JUMP_BAND}" for size in _log_factors(declared[name]))
            jumped = (f"__p{index}", f"count(*) FILTER (WHERE {pairs})", "", "", "")
            counted = f"count(*) FILTER (WHERE CASE WHEN {pairs} THEN {near} ELSE false END)"
            found += [jumped, (f"__j{index}", counted, name, "unit_jump_rate", jumped[0])]
    return found


def _tidy(
    table: str, whole: pd.DataFrame, so_far: pd.DataFrame, tallies: Sequence[tuple[str, str, str, str, str]]
) -> pd.DataFrame:
    whole, early = (days.assign(day=pd.to_datetime(days["day"]).dt.date).set_index("day") for days in (whole, so_far))
    early = early.reindex(whole.index, fill_value=0)
    wanted = [("", "volume", "rows", "rows"), *((name, m, of, alias) for alias, _, name, m, of in tallies if m)]
    parts = [
        pd.DataFrame({
            "column": column, "measure": measure, "day": whole.index, "rows": whole[of].to_numpy(),
            "found": whole[alias].to_numpy(), "rows_so_far": early[of].to_numpy(),
            "found_so_far": early[alias].to_numpy(),
        })
        for column, measure, of, alias in wanted
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True).assign(table=table)[list(PROFILE_COLUMNS)]


def _fences(numbers: Sequence[str]) -> str:
    low, high = EXTREMES
    cuts = [
        f"quantile_cont({quote_ident(name)}, {q}) AS {quote_ident(f'__{side}_{name}')}"
        for name in numbers
        for side, q in (("lo", low), ("hi", high))
    ]
    return ", ".join(cuts) or "1 AS __none"


def _lags(numbers: Sequence[str], keys: Sequence[str]) -> str:
    if not keys or not numbers:
        return "1 AS __none_before"
    window = f"PARTITION BY {', '.join(map(quote_ident, keys))} ORDER BY event_at, known_at"
    return ", ".join(f"lag({quote_ident(name)}) OVER ({window}) AS {quote_ident('__was_' + name)}" for name in numbers)


def _log_factors(column: Column) -> list[float]:
    factors = related_factors(column.unit or "") or SUSPECTED_FACTORS
    return sorted({round(abs(math.log(factor)), 12) for factor in factors})


def _entity_of(source: Source) -> tuple[str, ...]:
    """What rows of a source are about: its key without times; where an id names single events, its other ids."""
    times = set(source.time_columns().values())
    key = tuple(name for name in source.key if name not in times)
    others = tuple(name for name, column in source.columns.items() if column.unit == "id" and name not in source.key)
    if not others or set(key) != set(source.key):
        return key
    return (*others, *(name for name in key if name in source.columns and source.columns[name].unit != "id"))


def _is_number(column: Column) -> bool:
    return column.dtype in _TALLIED and column.unit not in _NO_NUMBERS and column.allowed is None
