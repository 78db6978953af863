"""The point-in-time join against a brute-force oracle, by property and on real quotes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import StoreError
from forecastle.store import sql
from forecastle.store.point_in_time import ViewJoin, ViewMatch, point_in_time_join, reduced_rows

START = datetime(2026, 6, 1, tzinfo=UTC)
Row = tuple[Any, ...]


def hour(number: float | None) -> datetime | None:
    return None if number is None else START + timedelta(hours=number)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with sql.connect() as opened:
        yield opened


def put(connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """A table of key columns (k: BIGINT, s: VARCHAR), times (…_at) and values (v…: DOUBLE)."""
    kinds = {"k": "BIGINT", "s": "VARCHAR", "n": "BIGINT"}
    fields = ", ".join(f"{c} {kinds.get(c, 'TIMESTAMPTZ' if c.endswith('_at') else 'DOUBLE')}" for c in columns)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({fields})")
    if rows:
        places = ", ".join(f"({', '.join('?' for _ in columns)})" for _ in rows)
        connection.execute(f"INSERT INTO {name} VALUES {places}", [value for row in rows for value in row])


def oracle(
    labels: Sequence[Row], rows: Sequence[Row], keys: int, ttl: timedelta, *, as_of: datetime | None = None
) -> list[Row]:
    """The rule of the design, read aloud: for each label look at every row. Rows: keys, event_at, known_at, value."""
    found: list[Row] = []
    for label in labels:
        key, at = label[:keys], label[keys]
        fit = [
            (row[keys], row[keys + 1], position, row[keys + 2])
            for position, row in enumerate(rows)
            if None not in (*key, at, *row[: keys + 2])
            and row[:keys] == key
            and row[keys + 1] <= at
            and row[keys] <= at
            and row[keys] > at - ttl
            and (as_of is None or row[keys + 1] <= as_of)
        ]
        best = max(fit, key=lambda item: item[:3], default=None)
        found.append((None, None, None) if best is None else (best[3], best[0], best[1]))
    return found


moments = st.integers(0, 8).map(float)
maybe_moments = st.one_of(st.none(), moments)
simple_keys = st.tuples(st.one_of(st.none(), st.integers(0, 2)))
composite_keys = st.tuples(st.one_of(st.none(), st.integers(0, 1)), st.sampled_from(["x", "y", None]))
values = st.one_of(st.none(), st.integers(0, 99).map(float))


def cases(keys: st.SearchStrategy[Row]) -> st.SearchStrategy[tuple[list[Row], list[Row], list[Row]]]:
    labels = st.lists(st.tuples(keys, maybe_moments.map(hour)).map(lambda t: (*t[0], t[1])), max_size=8)
    rows = st.lists(
        st.tuples(keys, maybe_moments.map(hour), maybe_moments.map(hour), values).map(lambda t: (*t[0], *t[1:])),
        max_size=14,
    )
    return st.tuples(labels, rows, rows)


Answered = tuple[int, list[Row], list[tuple[int, int]]]


def joined_and_told(
    connection: duckdb.DuckDBPyConnection,
    case: tuple[list[Row], list[Row], list[Row]],
    names: tuple[str, ...],
    ttls: tuple[int, int],
    as_of: datetime | None,
) -> tuple[Answered, Answered]:
    """What the join gives and what the oracle says: rows, how many, and how many each view knows."""
    labels, first, second = case
    numbered = [(n, *label) for n, label in enumerate(labels)]
    put(connection, "labels", ("n", *names, "predict_at"), numbered)
    views = []
    for number, (rows, ttl) in enumerate(zip((first, second), ttls, strict=True)):
        put(connection, f"view_{number}", (*names, "event_at", "known_at", f"v{number}"), rows)
        views.append(ViewJoin(f"view_{number}", f"view_{number}", names, timedelta(hours=ttl), (f"v{number}",)))
    joined = point_in_time_join(connection, "labels", views, output="joined", as_of=as_of)
    found = connection.execute("SELECT * FROM joined").fetchall()
    told = [
        oracle(labels, rows, len(names), timedelta(hours=ttl), as_of=as_of)
        for rows, ttl in zip((first, second), ttls, strict=True)
    ]
    whole = [(*label, *one, *two) for label, one, two in zip(numbered, *told, strict=True)]
    counts = [(match.present, match.present + match.stale + match.missing) for match in joined.matches]
    due = [(sum(row[1] is not None for row in rows), len(labels)) for rows in told]
    return (joined.rows, found, counts), (len(labels), whole, due)


@settings(max_examples=40, deadline=None)
@given(cases(simple_keys), st.tuples(st.integers(1, 9), st.integers(1, 9)), maybe_moments)
def test_every_label_gets_what_the_rule_says(
    connection: duckdb.DuckDBPyConnection, case: Any, ttls: tuple[int, int], as_of: float | None
) -> None:
    """Two views with their own TTLs, ties, nulls, restatements, events known early, any `as_of`: as the oracle."""
    joined, told = joined_and_told(connection, case, ("k",), ttls, hour(as_of))
    assert joined == told


@settings(max_examples=25, deadline=None)
@given(cases(composite_keys), st.tuples(st.integers(1, 9), st.integers(1, 9)), maybe_moments)
def test_composite_keys_follow_the_same_rule(
    connection: duckdb.DuckDBPyConnection, case: Any, ttls: tuple[int, int], as_of: float | None
) -> None:
    """A key of two columns, each perhaps null, joins as one."""
    joined, told = joined_and_told(connection, case, ("k", "s"), ttls, hour(as_of))
    assert joined == told


@settings(max_examples=25, deadline=None)
@given(cases(simple_keys), st.integers(1, 9))
def test_reduced_rows_lose_nothing(connection: duckdb.DuckDBPyConnection, case: Any, ttl: int) -> None:
    """A view reduced beforehand answers every label as the full view does."""
    labels, rows, _ = case
    put(connection, "labels", ("k", "predict_at"), labels)
    put(connection, "full_view", ("n", "k", "event_at", "known_at", "v"), [(n, *row) for n, row in enumerate(rows)])
    columns = "n, k, event_at, known_at, v"
    reduced = reduced_rows("full_view", ["k"], order="n", columns=columns)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE reduced_view AS SELECT {columns} FROM ({reduced}) ORDER BY n")
    answers = []
    for relation in ("full_view", "reduced_view"):
        view = ViewJoin("view", relation, ("k",), timedelta(hours=ttl), ("v",), "n")
        point_in_time_join(connection, "labels", [view], output="joined")
        answers.append(connection.execute("SELECT * FROM joined").fetchall())
    assert answers[0] == answers[1]


def join_one(connection: duckdb.DuckDBPyConnection, labels: list[Row], rows: list[Row], **options: Any) -> list[Row]:
    put(connection, "labels", ("k", "predict_at"), labels)
    put(connection, "view", ("k", "event_at", "known_at", "v"), rows)
    view = ViewJoin("view", "view", ("k",), options.pop("ttl", timedelta(hours=24)), ("v",))
    point_in_time_join(connection, "labels", [view], output="joined", **options)
    return connection.execute("SELECT v FROM joined").fetchall()


def test_a_planted_value_known_later_never_joins(connection: duckdb.DuckDBPyConnection) -> None:
    """A feature whose event lies before the prediction but which became known one microsecond later is not seen."""
    at = START + timedelta(hours=5)
    late = at + timedelta(microseconds=1)
    rows = [(1, hour(1), hour(1), 10.0), (1, hour(4), late, 99.0), (1, late, hour(2), 98.0)]
    assert join_one(connection, [(1, at)], rows) == [(10.0,)]
    assert join_one(connection, [(1, late)], rows) == [(98.0,)]


def test_a_late_row_does_not_hide_a_newer_event(connection: duckdb.DuckDBPyConnection) -> None:
    """What becomes known last is not what wins: the newest event does, and its last restatement."""
    rows = [(1, hour(3), hour(3), 3.0), (1, hour(1), hour(4), 1.0), (1, hour(3), hour(5), 3.5)]
    labels = [(1, hour(n)) for n in (2, 3, 4, 5)]
    assert join_one(connection, labels, rows) == [(None,), (3.0,), (3.0,), (3.5,)]


def test_the_time_to_live_is_exclusive(connection: duckdb.DuckDBPyConnection) -> None:
    """A row exactly as old as the TTL is stale; one microsecond younger it is not."""
    ttl = timedelta(hours=2)
    labels = [(1, START + ttl - timedelta(microseconds=1)), (1, START + ttl)]
    assert join_one(connection, labels, [(1, START, START, 7.0)], ttl=ttl) == [(7.0,), (None,)]


def test_a_null_value_of_the_winner_is_the_answer(connection: duckdb.DuckDBPyConnection) -> None:
    """A null in the newest row is a value, not a reason to look further back."""
    assert join_one(connection, [(1, hour(9))], [(1, hour(1), hour(1), 5.0), (1, hour(2), hour(2), None)]) == [(None,)]


def test_as_of_rebuilds_what_was_believed(connection: duckdb.DuckDBPyConnection) -> None:
    """After a restatement, `as_of` before it gives the old value again."""
    rows = [(1, hour(1), hour(1), 0.4), (1, hour(1), hour(6), 0.6)]
    labels = [(1, hour(8))]
    assert join_one(connection, labels, rows) == [(0.6,)]
    assert join_one(connection, labels, rows, as_of=hour(5)) == [(0.4,)]


def test_equal_labels_stay_two_rows_in_order(connection: duckdb.DuckDBPyConnection) -> None:
    """Duplicate labels and labels of unknown entities keep their rows and places."""
    labels = [(2, hour(3)), (1, hour(3)), (2, hour(3)), (9, hour(3)), (None, hour(3)), (1, None)]
    found = join_one(connection, labels, [(1, hour(1), hour(1), 1.0), (2, hour(1), hour(1), 2.0)])
    assert found == [(2.0,), (1.0,), (2.0,), (None,), (None,), (None,)]


def test_matches_are_counted(connection: duckdb.DuckDBPyConnection) -> None:
    """Present, stale and missing add up to the labels."""
    put(connection, "labels", ("k", "predict_at"), [(1, hour(2)), (1, hour(50)), (7, hour(2))])
    put(connection, "view", ("k", "event_at", "known_at", "v"), [(1, hour(1), hour(1), 1.0)])
    view = ViewJoin("view", "view", ("k",), timedelta(hours=3), ("v",))
    joined = point_in_time_join(connection, "labels", [view], output="joined")
    assert joined.matches == (ViewMatch("view", present=1, stale=1, missing=1),)
    assert connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE '\\_\\_%' ESCAPE '\\'"
    ).fetchone() == (0,)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"features": ("nope",)}, "no column nope"),
        ({"keys": ("z",)}, "no key z"),
        ({"features": ("predict_at",)}, "no column predict_at"),
        ({"name": "other", "features": ("v", "v")}, None),
    ],
)
def test_what_cannot_be_joined_is_told(
    connection: duckdb.DuckDBPyConnection, change: dict[str, Any], told: str | None
) -> None:
    """Missing columns and keys and doubled names are refused before anything is made."""
    put(connection, "labels", ("k", "predict_at"), [(1, hour(2))])
    put(connection, "view", ("k", "event_at", "known_at", "v"), [])
    given_view = {"name": "view", "relation": "view", "keys": ("k",), "ttl": timedelta(hours=3), "features": ("v",)}
    view = ViewJoin(**{**given_view, **change})
    views = [view] if told else [view, ViewJoin(**given_view)]
    with pytest.raises(StoreError, match=told or "stands in"):
        point_in_time_join(connection, "labels", views, output="joined", as_of=START)


def test_a_naive_predict_at_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    """A prediction time without zone is no time."""
    connection.execute("CREATE OR REPLACE TEMP TABLE labels AS SELECT 1 AS k, TIMESTAMP '2026-01-01' AS predict_at")
    put(connection, "view", ("k", "event_at", "known_at", "v"), [])
    with pytest.raises(StoreError, match="with zone"):
        point_in_time_join(connection, "labels", [ViewJoin("view", "view", ("k",), timedelta(1), ("v",))], output="o")


def test_a_large_join_spills_instead_of_failing(tmp_path: Path) -> None:
    """400,000 wide rows and 100,000 labels are joined in 128 MB, and agree with an inequality join on a sample."""
    with sql.connect(memory_limit="128MB", threads=1, temp_directory=tmp_path) as connection:
        connection.execute("SET preserve_insertion_order = true")
        connection.execute(
            "CREATE TEMP TABLE view AS SELECT (hash(i) % 500)::BIGINT AS k, TIMESTAMPTZ '2026-01-01'"
            " + INTERVAL 1 SECOND * (hash(i, 1) % 5000000)::BIGINT AS event_at,"
            " event_at + INTERVAL 1 SECOND * (hash(i, 2) % 90000)::BIGINT AS known_at, i::DOUBLE AS v,"
            " hash(i, 3)::DOUBLE AS v2, hash(i, 4)::DOUBLE AS v3, hash(i, 5)::DOUBLE AS v4 FROM range(400000) t(i)"
        )
        connection.execute(
            "CREATE TEMP TABLE labels AS SELECT i AS n, (hash(i) % 500)::BIGINT AS k, TIMESTAMPTZ '2026-01-01'"
            " + INTERVAL 1 SECOND * (hash(i, 9) % 5000000)::BIGINT AS predict_at FROM range(100000) t(i)"
        )
        view = ViewJoin("view", "view", ("k",), timedelta(days=7), ("v", "v2", "v3", "v4"))
        assert point_in_time_join(connection, "labels", [view], output="joined").rows == 100_000
        wrong = connection.execute(
            "SELECT count(*) FROM (SELECT l.n, arg_max(v.v, (v.event_at, v.known_at)) AS v"
            " FROM labels l LEFT JOIN view v"
            " ON l.k = v.k AND v.known_at <= l.predict_at AND v.event_at <= l.predict_at"
            " AND v.event_at > l.predict_at - INTERVAL 7 DAY WHERE l.n < 2000 GROUP BY l.n) o"
            " JOIN joined j ON o.n = j.n WHERE o.v IS DISTINCT FROM j.v"
        ).fetchone()
    assert wrong == (0,)


@pytest.mark.parametrize(("days", "rows", "brier"), [(1, 1206, 0.0320), (7, 1124, 0.0436), (30, 796, 0.0462)])
def test_real_market_prices_score_as_published(real_data: Path, days: int, rows: int, brier: float) -> None:
    """The last price known 1, 7 and 30 days before the first stated outcome scores as SOURCE.md says."""
    folder = real_data / "prediction_markets"
    with sql.connect() as connection:
        connection.execute(
            f"CREATE TEMP TABLE labels AS SELECT mid, arg_min(resolved_to, (known_at, resolution_date)) AS outcome,"
            f" min(known_at)::TIMESTAMPTZ - INTERVAL {days} DAY AS predict_at"
            f" FROM read_parquet('{folder}/resolutions.parquet') GROUP BY mid"
        )
        connection.execute(
            "CREATE TEMP VIEW quotes AS SELECT mid, value_date::TIMESTAMPTZ AS event_at,"
            f" known_at::TIMESTAMPTZ AS known_at, value::DOUBLE AS price FROM read_parquet('{folder}/quotes.parquet')"
        )
        view = ViewJoin("quotes", "quotes", ("mid",), timedelta(days=36500), ("price",))
        point_in_time_join(connection, "labels", [view], output="joined")
        found = connection.execute(
            "SELECT count(price), avg((price - outcome) ** 2) FROM joined WHERE price IS NOT NULL"
        ).fetchone()
    assert found is not None
    assert found[0] == rows
    assert found[1] == pytest.approx(brier, abs=5e-5)
