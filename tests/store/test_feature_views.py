"""Feature views and labels: SQL run locked down, checked against the contract, published with its inputs."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from forecastle.contract.errors import StoreError
from forecastle.contract.system import Entity, FeatureView, Label
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.feature_views import publish_view, run_view, unique_audit
from forecastle.store.labels import run_label
from forecastle.store.selects import select
from forecastle.store.sources import ingest
from forecastle.store.warehouse import Warehouse
from forecastle.store.watermark import watermark
from tests.store.weather import START, write_readings, write_system

TABLE = TableName("toy", "features", "prices")
ENTITY = Entity.model_validate({"keys": {"market_id": "int64"}})
VIEW = FeatureView.model_validate(
    {
        "entity": "market",
        "sql": "prices.sql",
        "ttl": "7d",
        "features": {"price": {"dtype": "float64", "unit": "probability", "min": 0, "max": 1}},
    }
)
TEXT = "SELECT mid AS market_id, event_at, known_at, price FROM quotes"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path / "warehouse", clock=lambda: START)
    made.publish("toy/source/quotes", quotes([(2, 0, 1, 0.5), (1, 1, 2, 0.25), (1, 0, 0, 0.75)]))
    return made


def quotes(rows: list[tuple[int | None, int, int | None, float]]) -> pa.Table:
    def at(hours: int | None) -> datetime | None:
        return None if hours is None else START + timedelta(hours=hours)

    when = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "mid": pa.array([r[0] for r in rows], pa.int64()),
            "event_at": pa.array([at(r[1]) for r in rows], when),
            "known_at": pa.array([at(r[2]) for r in rows], when),
            "price": pa.array([r[3] for r in rows], pa.float64()),
        }
    )


def run(warehouse: Warehouse, text: str = TEXT, **changes: Any) -> TableVersion:
    view = VIEW.model_copy(update=changes)
    return run_view(warehouse, TABLE, view, entity=ENTITY, text=text, sources={"quotes": "toy/source/quotes"})


def test_a_view_becomes_a_sorted_table_that_names_its_inputs(warehouse: Warehouse) -> None:
    """Columns stand in declared order, rows by key and knowledge, and the commit says which SQL read which version."""
    version = run(warehouse)
    assert list(version.columns) == ["market_id", "event_at", "known_at", "price"]
    assert warehouse.arrow(TABLE)["price"].to_pylist() == [0.75, 0.25, 0.5]
    assert version.facts == {
        "sql_sha256": hashlib.sha256(TEXT.encode()).hexdigest(),
        "input.quotes": "toy/source/quotes@0",
    }
    assert run(warehouse).unchanged


def test_the_same_rows_of_other_inputs_are_a_version_that_names_them(warehouse: Warehouse) -> None:
    """A newer source or another text of the SQL, and equal rows: same bytes, new facts; once more changes nothing."""
    text = f"{TEXT} WHERE mid < 3"
    first = run(warehouse, text)
    warehouse.publish("toy/source/quotes", quotes([(2, 0, 1, 0.5), (1, 1, 2, 0.25), (1, 0, 0, 0.75), (3, 0, 0, 1.0)]))
    second = run(warehouse, text)
    assert (first.facts["input.quotes"], second.facts["input.quotes"]) == ("toy/source/quotes@0", "toy/source/quotes@1")
    assert (second.version, second.sha256, second.content_hash) == (1, first.sha256, first.content_hash)
    assert run(warehouse, text).unchanged
    third = run(warehouse, f"{text} -- two markets")
    assert third.facts["sql_sha256"] == hashlib.sha256(f"{text} -- two markets".encode()).hexdigest()
    assert (third.version, third.sha256) == (2, first.sha256)
    assert warehouse.version(TABLE) == third


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELECT mid AS market_id, event_at, known_at FROM quotes", "column price: expected float64, the SQL does not"),
        (TEXT.replace("price", "price AS prise"), r"column price: (?s:.*)did you mean 'prise'"),
        (TEXT.replace("price", "price, 1 AS extra"), "column extra: not declared"),
        (TEXT.replace("price", "price::VARCHAR AS price"), "expected float64, found VARCHAR"),
        (TEXT.replace("event_at", "event_at::TIMESTAMP AS event_at", 1), "expected a time with zone"),
        (TEXT.replace("mid", "mid * 1.5", 1), "column market_id: expected int64, found"),
        (TEXT.replace("price", "price * 4 AS price"), r"price: 2 row\(s\) break max \(allowed: at most 1"),
        (TEXT.replace("price", "price - 0.5 AS price"), "break min"),
        (TEXT.replace("price", "CASE WHEN price > 0.5 THEN price END AS price"), "break nullable"),
        (TEXT.replace("price", "price / 0 AS price"), "break finite"),
        (TEXT.replace("known_at", "NULL::TIMESTAMPTZ AS known_at"), "known_at: 3"),
        (TEXT + " UNION ALL " + TEXT, r"3 group\(s\) of rows share market_id, known_at, event_at"),
        (TEXT + "; DROP TABLE quotes", "exactly one SELECT"),
        ("SELECT * FROM read_text('/etc/hostname')", "cannot be run"),
        ("SELECT nonsense FROM quotes", "cannot be run"),
    ],
)
def test_what_breaks_the_contract_is_never_published(warehouse: Warehouse, text: str, told: str) -> None:
    """SQL or rows that do not fit are named, and the old version stays."""
    before = run(warehouse)
    with pytest.raises(StoreError, match=told):
        run(warehouse, text)
    assert warehouse.version(TABLE) == before


def test_equal_rows_are_found_in_any_order(warehouse: Warehouse) -> None:
    """Sorted rows are proven unique by their neighbours, others by groups; nulls are equal to nothing but nulls."""
    audit = unique_audit(("a", "b"))
    for values, groups in (
        ("(1, 'x'), (1, 'y'), (2, 'a')", 0),
        ("(2, 'a'), (1, 'y'), (1, 'x')", 0),
        ("(1, 'x'), (1, 'x'), (2, 'a')", 1),
        ("(1, 'x'), (2, 'a'), (1, 'x'), (2, 'a')", 2),
        ("(1, NULL), (1, 'x'), (NULL, 'x')", 0),
        ("(1, NULL), (2, 'x'), (1, NULL)", 1),
    ):
        with warehouse.connect() as connection:
            connection.execute(f"CREATE TEMP TABLE t AS SELECT * FROM (VALUES {values}) AS v(a, b)")
            told = audit(connection, "t")
        assert [text.split(" ")[0] for text in told] == ([str(groups)] if groups else [])


def test_the_selects_own_connection_writes_its_draft_and_nothing_else(warehouse: Warehouse, tmp_path: Path) -> None:
    """SQL of a view is run where one file may be written; it reads no other file and changes no setting."""
    draft, other = warehouse.draft_path(TABLE), tmp_path / "other.parquet"
    columns = {"market_id": "int64", "event_at": "timestamp", "known_at": "timestamp", "price": "float64"}
    before = run(warehouse)
    with select(
        warehouse, TEXT, {"quotes": "toy/source/quotes"}, columns=columns, order_by=("market_id",), what="view",
        writable=draft,
    ) as selection:  # fmt: skip
        connection = selection.connection
        connection.execute(f"COPY ({selection.query}) TO '{draft}' (FORMAT parquet)")
        for forbidden in (
            f"COPY ({selection.query}) TO '{other}' (FORMAT parquet)",
            f"SELECT * FROM read_parquet('{before.path}')",
            "SET allowed_paths = ['/etc/hostname']",
            "SET enable_external_access = true",
            f"ATTACH '{other}'",
        ):
            with pytest.raises(duckdb.Error, match=r"(?i)permission|cannot|locked|disabled"):
                connection.execute(forbidden)
    assert draft.is_file()
    assert not other.exists()


def test_null_keys_are_never_published(warehouse: Warehouse) -> None:
    """A row without its key belongs to nobody."""
    warehouse.publish("toy/source/quotes", quotes([(None, 0, 0, 0.5)]))
    with pytest.raises(StoreError, match="market_id: 1"):
        run(warehouse)


def test_as_of_reads_the_sources_that_stood_then(tmp_path: Path) -> None:
    """A view can be made again from the table versions of an earlier day."""
    now = [START]
    warehouse = Warehouse(tmp_path, clock=lambda: now[0])
    for day, price in enumerate((0.1, 0.9)):
        now[0] = START + timedelta(days=day)
        warehouse.publish("toy/source/quotes", quotes([(1, 0, 0, price)]))
    version = run_view(
        warehouse, TABLE, VIEW, entity=ENTITY, text=TEXT, sources={"quotes": "toy/source/quotes"}, as_of=START
    )
    assert version.facts["input.quotes"] == "toy/source/quotes@0"
    assert warehouse.arrow(TABLE)["price"].to_pylist() == [0.1]


@pytest.mark.parametrize(("hours", "seen"), [(-1, []), (0, [0.75]), (1, [0.75, 0.5]), (2, [0.75, 0.25, 0.5])])
def test_sql_can_be_shown_only_what_was_known(warehouse: Warehouse, hours: int, seen: list[float]) -> None:
    """`known_until` and `event_until` hide source rows whose knowledge or event lies later."""
    columns = {"market_id": "int64", "event_at": "timestamp", "known_at": "timestamp", "price": "float64"}
    with select(
        warehouse,
        TEXT,
        {"quotes": "toy/source/quotes"},
        columns=columns,
        order_by=("market_id", "known_at"),
        what="view",
        known_until=START + timedelta(hours=hours),
        event_until=START + timedelta(hours=hours),
    ) as selection:
        assert selection.batches.read_all()["price"].to_pylist() == seen


def test_labels_hold_zero_or_one(warehouse: Warehouse) -> None:
    """A label table is sorted by prediction time; an outcome of 2, or one label twice, is refused."""
    label = Label.model_validate({"sql": "won.sql", "matures": "1d"})
    table = TableName("toy", "label", "all")
    text = "SELECT mid AS market_id, event_at AS predict_at, (price > 0.4)::INT AS outcome, known_at FROM quotes"

    def make(sql_text: str) -> TableVersion:
        return run_label(warehouse, table, label, entity=ENTITY, text=sql_text, sources={"quotes": "toy/source/quotes"})

    assert make(text).columns["outcome"] == "BIGINT"
    assert warehouse.arrow(table).select(["market_id", "outcome"]).to_pylist() == [
        {"market_id": 1, "outcome": 1},
        {"market_id": 2, "outcome": 1},
        {"market_id": 1, "outcome": 0},
    ]
    for wrong, told in (
        (text.replace("(price > 0.4)::INT", "2"), "outcome: 3"),
        (text + " UNION ALL " + text, "share predict_at, market_id, known_at"),
    ):
        with pytest.raises(StoreError, match=told):
            make(wrong)


def test_a_declared_view_runs_over_its_published_sources(tmp_path: Path) -> None:
    """A loaded system's view needs its name only, and its watermark is that of its rows."""
    warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: START)
    system = write_system(tmp_path / "weather")
    with pytest.raises(StoreError, match="materialise it first"):
        publish_view(warehouse, system, "warmth")
    write_readings(tmp_path / "data", days=5, stations=2)
    ingest(warehouse, "weather", "readings", system.declaration.sources["readings"], data=tmp_path / "data")
    version = publish_view(warehouse, system, "warmth")
    newest = watermark(warehouse, version)
    assert (version.rows, newest.rows) == (12, 12)
    assert newest.event_at == datetime(2026, 1, 5, 12, tzinfo=UTC)
    assert newest.known_at == datetime(2026, 1, 6, 18, tzinfo=UTC)
    with pytest.raises(StoreError, match="no event_at"):
        watermark(warehouse, warehouse.publish("weather/notes/all", pa.table({"a": [1]})))
