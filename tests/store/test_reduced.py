"""Reduced views searched in place: the answer of the point-in-time join, value for value."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import CorruptionError, StoreError
from forecastle.store import sql
from forecastle.store.feature_views import publish_view
from forecastle.store.point_in_time import ViewJoin, point_in_time_join
from forecastle.store.population import population
from forecastle.store.reduced import open_reduced, reduced_join, write_reduced
from forecastle.store.reduced_views import keep_reduced
from forecastle.store.sources import ingest
from forecastle.store.training_set import join_features, publish_training_set
from forecastle.store.warehouse import Warehouse
from tests.store.weather import write_readings, write_system

START = datetime(2026, 6, 1, tzinfo=UTC)
FEATURES = ("f", "i", "b")
keys = st.tuples(st.none() | st.integers(0, 2), st.sampled_from(["x", "y", None]))
moments = st.none() | st.integers(0, 8).map(lambda hours: START + timedelta(hours=hours))
values = st.tuples(
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.booleans(),
)
tables = st.lists(st.tuples(keys, moments, moments, values), max_size=14)
asked = st.lists(st.tuples(keys, moments), max_size=8)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with sql.connect() as opened:
        yield opened


def put(connection: duckdb.DuckDBPyConnection, rows: list[Any], labels: list[Any]) -> None:
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE rows_ (k BIGINT, s VARCHAR, event_at TIMESTAMPTZ, known_at TIMESTAMPTZ,"
        " f DOUBLE, i BIGINT, b BOOLEAN)"
    )
    for key, event_at, known_at, found in rows:
        connection.execute("INSERT INTO rows_ VALUES (?, ?, ?, ?, ?, ?, ?)", [*key, event_at, known_at, *found])
    connection.execute("CREATE OR REPLACE TEMP TABLE labels (k BIGINT, s VARCHAR, predict_at TIMESTAMPTZ, n BIGINT)")
    for number, (key, at) in enumerate(labels):
        connection.execute("INSERT INTO labels VALUES (?, ?, ?, ?)", [*key, at, number])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables, asked, st.integers(1, 9))
def test_it_is_the_point_in_time_join(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, rows: list[Any], labels: list[Any], ttl_hours: int
) -> None:
    """Composite keys, nulls, ties, restatements, large integers, stale rows: every column of every label is equal."""
    put(connection, rows, labels)
    ttl = timedelta(hours=ttl_hours)
    full = ViewJoin("view", "rows_", ("k", "s"), ttl, FEATURES)
    expected = point_in_time_join(connection, "labels", [full], output="expected")
    write_reduced(connection, "rows_", "view", keys=("k", "s"), folder=tmp_path / "view")
    found = reduced_join(connection, "labels", [(open_reduced(tmp_path / "view"), ttl)], output="found")
    assert (found.rows, found.matches) == (expected.rows, expected.matches)
    everything = "SELECT * FROM {} ORDER BY n"
    assert connection.sql(everything.format("found")).columns == connection.sql("SELECT * FROM expected").columns
    assert (
        connection.execute(everything.format("found")).fetchall()
        == connection.execute(everything.format("expected")).fetchall()
    )


def test_many_rows_over_many_batches(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """250,000 rows of 500 entities, two views with their own TTLs, against the join of full tables."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE many AS SELECT (hash(i) % 500)::BIGINT AS k,"
        " TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL 1 MINUTE * (i * 37 % 200000) AS event_at,"
        " TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL 1 MINUTE * (i * 37 % 200000 + i % 3000) AS known_at,"
        " i::DOUBLE AS f FROM range(250000) t(i)"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE wanted AS SELECT (i % 520)::BIGINT AS k,"
        " TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL 1 MINUTE * (i * 53 % 210000) AS predict_at, i AS n"
        " FROM range(5000) t(i)"
    )
    connection.execute("CREATE OR REPLACE TEMP VIEW second AS SELECT k, event_at, known_at, -f AS g FROM many")
    ttls = (timedelta(hours=3), timedelta(days=400))
    full = [ViewJoin("a", "many", ("k",), ttls[0], ("f",)), ViewJoin("b", "second", ("k",), ttls[1], ("g",))]
    expected = point_in_time_join(connection, "wanted", full, output="expected")
    views = [
        write_reduced(connection, n, v, keys=("k",), folder=tmp_path / v) for n, v in (("many", "a"), ("second", "b"))
    ]
    found = reduced_join(connection, "wanted", list(zip(views, ttls, strict=True)), output="found")
    assert found.matches == expected.matches
    assert found.matches[0].stale > 0
    difference = "SELECT count(*) FROM (SELECT * FROM found EXCEPT ALL SELECT * FROM expected)"
    assert connection.execute(difference).fetchall() == [(0,)]


def test_a_changed_file_is_found(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Each file carries its SHA-256; a view that was never written says so; text is no feature."""
    put(connection, [((1, "x"), START, START, (0.5, 1, True))], [])
    view = write_reduced(connection, "rows_", "view", keys=("k", "s"), folder=tmp_path / "view")
    column = np.load(view.folder / "f.npy", mmap_mode="r+")
    column[0] = 0.25
    column.flush()
    with pytest.raises(CorruptionError, match=r"f\.npy"):
        open_reduced(view.folder)
    assert write_reduced(connection, "rows_", "view", keys=("k", "s"), folder=view.folder).column("f")[0] == 0.5
    with pytest.raises(StoreError, match="write it first"):
        open_reduced(tmp_path / "none")
    with pytest.raises(StoreError, match="s is VARCHAR"):
        write_reduced(connection, "rows_", "view", keys=("k",), folder=tmp_path / "text")


def test_training_sets_and_populations_are_the_same_by_either_way(tmp_path: Path) -> None:
    """Once every view has its copy, joins go by it: same training set, same population, for the version it is of."""
    system = write_system(tmp_path / "weather")
    write_readings(tmp_path)
    warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: START)
    ingest(warehouse, "weather", "readings", system.declaration.sources["readings"], data=tmp_path)
    version = publish_view(warehouse, system, "warmth")
    now = datetime(2026, 1, 18, tzinfo=UTC)
    plain = publish_training_set(warehouse, system, now=now), population(warehouse, system, now=now)
    first = keep_reduced(warehouse, version, keys=("station_id",))
    assert keep_reduced(warehouse, version, keys=("station_id",)) == first
    again = publish_training_set(warehouse, system, now=now), population(warehouse, system, now=now)
    assert again[0].content_hash == plain[0].content_hash
    pd.testing.assert_frame_equal(again[1], plain[1])
    (first.folder / "view.json").unlink()
    assert publish_training_set(warehouse, system, now=now).unchanged


def test_a_label_after_now_sees_only_what_is_known_now(tmp_path: Path) -> None:
    """A copy cannot hide later knowledge from a later label, so that label goes by the tables."""
    system = write_system(tmp_path / "weather")
    write_readings(tmp_path)
    warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: START)
    ingest(warehouse, "weather", "readings", system.declaration.sources["readings"], data=tmp_path)
    version = publish_view(warehouse, system, "warmth")
    keep_reduced(warehouse, version, keys=("station_id",))
    now = datetime(2026, 1, 10, tzinfo=UTC)
    with warehouse.connect() as connection:
        connection.execute(
            "CREATE TABLE asked AS SELECT 0::BIGINT AS station_id, TIMESTAMPTZ '2026-01-11 00:00:00+00' AS predict_at"
        )
        join_features(warehouse, system, connection, labels="asked", now=now)
        ((known_at,),) = connection.execute("SELECT warmth__known_at FROM __joined").fetchall()
    assert known_at <= now
