"""The point-in-time join: for each label row, the feature values that were known when the prediction was due.

Belongs here: the bitemporal rule as generated DuckDB SQL, one view at a time, spilling to disk.
Does not belong here: which views a model needs (`learn/`, assets), on-demand features, label SQL.
The ASOF join: https://duckdb.org/docs/stable/guides/sql_features/asof_join
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import duckdb

from forecastle.contract.errors import StoreError
from forecastle.store.sql import column_list, describe, instant, is_zoned, one_row, quote_ident

ROW: Final = "__row"


@dataclass(frozen=True, slots=True)
class ViewJoin:
    """One feature view to join: `relation` is a table or view of the connection.

    Rows of `relation` hold `keys`, `event_at`, `known_at` and `features`. `row_id` names a column that
    numbers its rows (`Warehouse.attach(row_id=…)`); without one they are numbered while joining.
    """

    name: str
    relation: str
    keys: tuple[str, ...]
    ttl: timedelta
    features: tuple[str, ...]
    row_id: str | None = None


@dataclass(frozen=True, slots=True)
class ViewMatch:
    """How many label rows one view answered with a live row, only with one older than the TTL, with none."""

    view: str
    present: int
    stale: int
    missing: int


@dataclass(frozen=True, slots=True)
class Joined:
    """The table a join made (`relation`, in the labels' order), its row count and how the views answered."""

    relation: str
    rows: int
    matches: tuple[ViewMatch, ...]


def point_in_time_join(
    connection: duckdb.DuckDBPyConnection,
    labels: str,
    views: Sequence[ViewJoin],
    *,
    output: str,
    predict_at: str = "predict_at",
    as_of: datetime | None = None,
) -> Joined:
    """Make table `output`: every label row once, in order, with each view's features as known at
    `predict_at`.

    A feature row joins when `known_at ≤ predict_at`, `event_at ≤ predict_at` and `event_at > predict_at −
    ttl`; of those the latest `event_at` wins, then the latest `known_at`, then the later row of the relation.
    `as_of` hides feature rows that became known after it. Each view adds its features, `<view>__event_at` and
    `<view>__known_at` (null where nothing joined). Null keys join nothing.

    Raises:
        StoreError: columns are missing or would stand twice.
    """
    columns = describe(connection, f"SELECT * FROM {quote_ident(labels)}")
    _check(connection, columns, views, predict_at=predict_at)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE __labels AS SELECT row_number() OVER () AS {ROW}, * FROM {quote_ident(labels)}"
    )
    joins, chosen, matches = [], [f"l.{quote_ident(c)}" for c in columns], []
    for number, view in enumerate(views):
        part = f"__part_{number}"
        matches.append(_join_view(connection, view, part, predict_at=predict_at, as_of=as_of))
        joins.append(f" LEFT JOIN {part} AS p{number} ON l.{ROW} = p{number}.{ROW}")
        chosen += [f"p{number}.{quote_ident(name)}" for name in _added(view)]
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {quote_ident(output)} AS"
        f" SELECT {', '.join(chosen)} FROM __labels AS l{''.join(joins)} ORDER BY l.{ROW}"
    )
    rows = _check_rows(connection, output)
    for table in ("__labels", *(f"__part_{number}" for number in range(len(views)))):
        connection.execute(f"DROP TABLE {table}")
    return Joined(output, rows, tuple(matches))


def reduced_rows(relation: str, keys: Sequence[str], *, order: str, columns: str) -> str:
    """SQL of the rows of a view that can ever win, with `usable_at`, the first instant at which each may be
    used.

    Per entity in the order (usable_at, event_at, known_at), a row stays when its event_at is the greatest so
    far and it is the last of its usable_at. The newest of them with `usable_at ≤ t` is the join's winner at
    t: one ASOF join.
    """
    by_key = f"PARTITION BY {column_list(keys)} ORDER BY usable_at, event_at, known_at, {order}"
    return (
        f"SELECT {columns}, usable_at FROM (SELECT *, max(event_at) OVER w AS newest, lead(usable_at) OVER "
        "w AS next_at"
        f" FROM (SELECT *, greatest(event_at, known_at) AS usable_at FROM {relation}"
        f" WHERE event_at IS NOT NULL AND known_at IS NOT NULL)"
        f" WINDOW w AS ({by_key})) WHERE event_at = newest AND usable_at IS DISTINCT FROM next_at"
    )


def _join_view(
    connection: duckdb.DuckDBPyConnection,
    view: ViewJoin,
    part: str,
    *,
    predict_at: str,
    as_of: datetime | None,
) -> ViewMatch:
    """Table `part`: label row → the winner's columns, where one is live; narrow keys first, then a gather."""
    keys = column_list(view.keys)
    on = " AND ".join(f"l.{quote_ident(k)} = r.{quote_ident(k)}" for k in view.keys)
    at = f"l.{quote_ident(predict_at)}"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE __winners AS SELECT l.{ROW} AS label_row, r.{ROW} AS {ROW},"
        f" r.event_at > {at} - INTERVAL {view.ttl // timedelta(microseconds=1)} MICROSECOND AS live"
        f" FROM (SELECT {ROW}, {keys}, {quote_ident(predict_at)} FROM __labels) AS l"
        f" ASOF JOIN ({_usable_rows(view, as_of)}) AS r ON {on} AND {at} >= r.usable_at"
    )
    row_id, numbered = _numbered(view)
    values = [f"v.{quote_ident(feature)}" for feature in view.features]
    values += [f"v.{time} AS {quote_ident(f'{view.name}__{time}')}" for time in ("event_at", "known_at")]
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {part} AS SELECT w.label_row AS {ROW}, {', '.join(values)}"
        f" FROM __winners AS w JOIN {numbered} AS v ON w.{ROW} = v.{row_id} WHERE w.live"
    )
    present, stale, total = one_row(
        connection,
        "SELECT count(*) FILTER (WHERE live), count(*) FILTER (WHERE NOT live),"
        " (SELECT count(*) FROM __labels) FROM __winners",
    )
    connection.execute("DROP TABLE __winners")
    return ViewMatch(view.name, present, stale, total - present - stale)


def _usable_rows(view: ViewJoin, as_of: datetime | None) -> str:
    """Narrow rows of a view that can win, each with the first instant at which it may be used."""
    row_id, numbered = _numbered(view)
    keys = column_list(view.keys)
    known = f" WHERE known_at <= {instant(as_of)}" if as_of else ""
    narrow = f"(SELECT {keys}, event_at, known_at, {row_id} AS {ROW} FROM {numbered}{known})"
    columns = f"{keys}, event_at, known_at, {ROW}"
    return reduced_rows(narrow, view.keys, order=ROW, columns=columns)


def _numbered(view: ViewJoin) -> tuple[str, str]:
    relation = quote_ident(view.relation)
    if view.row_id is not None:
        return quote_ident(view.row_id), relation
    return "__number", f"(SELECT *, row_number() OVER () AS __number FROM {relation})"


def _check(
    connection: duckdb.DuckDBPyConnection,
    labels: dict[str, str],
    views: Sequence[ViewJoin],
    *,
    predict_at: str,
) -> None:
    problems = [f"labels have no column {predict_at}"] if predict_at not in labels else []
    if predict_at in labels and not is_zoned(labels[predict_at]):
        problems.append(f"{predict_at} is {labels[predict_at]}; a time with zone is required")
    given = dict.fromkeys(labels, "the labels")
    for view in views:
        found = describe(connection, f"SELECT * FROM {quote_ident(view.relation)}")
        needed = (*view.keys, "event_at", "known_at", *view.features)
        problems += [f"view {view.name} has no column {c}" for c in needed if c not in found]
        problems += [f"labels have no key {k} of view {view.name}" for k in view.keys if k not in labels]
        problems += [f"{c} stands in {given[c]} and in view {view.name}" for c in _added(view) if c in given]
        given.update(dict.fromkeys(_added(view), f"view {view.name}"))
    if problems:
        raise StoreError("the join cannot be made: " + "; ".join(problems))


def _added(view: ViewJoin) -> tuple[str, ...]:
    return (*view.features, f"{view.name}__event_at", f"{view.name}__known_at")


def _check_rows(connection: duckdb.DuckDBPyConnection, output: str) -> int:
    """Row count of the output, which is that of the labels."""
    rows, expected = _count(connection, output), _count(connection, "__labels")
    if rows != expected:
        raise StoreError(f"the join made {rows} rows of {expected} labels; no label may be lost or doubled")
    return rows


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    return int(one_row(connection, f"SELECT count(*) FROM {quote_ident(relation)}")[0])
