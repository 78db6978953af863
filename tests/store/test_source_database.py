"""Sources of kind sql: SQLite by path and PostgreSQL by an address from the environment, read as files are."""

from __future__ import annotations

import gc
import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from forecastle.contract.errors import SourceError
from forecastle.contract.source import Source
from forecastle.contract.source_check import origin_faults
from forecastle.store import source_database
from forecastle.store.sources import Ingested, ingest
from forecastle.store.warehouse import Warehouse
from tests.store import postgresql
from tests.store.tcp_proxy import TcpProxy

NOW = datetime(2026, 6, 1, tzinfo=UTC)
COLUMNS: dict[str, Any] = {
    "id": {"dtype": "int64", "unit": "id"},
    "at": {"dtype": "timestamp", "unit": "utc"},
    "price": {"dtype": "float64", "unit": "usd", "min": 0, "nullable": True},
    "side": {"dtype": "string", "unit": "category", "nullable": True},
    "paid": {"dtype": "bool", "nullable": True},
    "due": {"dtype": "date", "unit": "date", "nullable": True},
}
ROWS = [
    (1, "2026-05-01 10:00:00.000001", 0.1, "", True, "2026-05-03"),
    (2, "2026-05-01 11:00:00", 1e-300, "it's: NULL", False, None),
    (3, "2026-05-01T12:00:00+02:00", None, None, None, "2026-05-04"),
    (3, "2026-05-01T12:00:00+02:00", 7.0, "a later row of one key", None, None),
    (4, "2026-05-01 13:00:00", -5.0, "breaks min", None, None),
]


def source(**changes: Any) -> Source:
    declared = {
        "kind": "sql",
        "path": "${DATA}/loans.sqlite",
        "table": "loans",
        "event_at": "at",
        "known_at": {"delay": "1h"},
        "key": ["id"],
        "time_zone": "Africa/Lagos",
        "quarantine_limit": 0.5,
        "columns": COLUMNS,
    }
    return Source.model_validate({**declared, **changes})


def read(folder: Path, declared: Source, *, variables: Mapping[str, str] | None = None) -> tuple[Ingested, Warehouse]:
    warehouse = Warehouse(folder / "warehouse", clock=lambda: NOW)
    return ingest(warehouse, "toy", "loans", declared, data=folder, variables=variables or {}), warehouse


@pytest.fixture
def lender(tmp_path: Path) -> Path:
    """A data folder with a SQLite file, which has no types for times."""
    with closing(sqlite3.connect(tmp_path / "loans.sqlite")) as connection:
        connection.execute("CREATE TABLE loans (id INTEGER, at TEXT, price REAL, side TEXT, paid BOOLEAN, due TEXT)")
        connection.executemany("INSERT INTO loans VALUES (?, ?, ?, ?, ?, ?)", ROWS)
        connection.commit()
    return tmp_path


def expect(warehouse: Warehouse) -> None:
    """What ROWS are once they were read: naive times are local to Lagos, one hour ahead of UTC."""
    found = warehouse.arrow("toy/source/loans").to_pylist()
    assert [row["id"] for row in found] == [1, 2, 3]
    assert [row["event_at"] for row in found] == [
        datetime(2026, 5, 1, 9, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 5, 1, 10, tzinfo=UTC),
        datetime(2026, 5, 1, 10, tzinfo=UTC),
    ]
    assert all(row["known_at"] - row["event_at"] == timedelta(hours=1) for row in found)
    assert [row["price"] for row in found] == [0.1, 1e-300, None]
    assert [row["side"] for row in found] == ["", "it's: NULL", None]
    assert [row["paid"] for row in found] == [True, False, None]
    assert [str(row["due"]) for row in found] == ["2026-05-03", "None", "2026-05-04"]
    (broken,) = warehouse.arrow("toy/quarantine/loans").to_pylist()
    assert (broken["row_number"], broken["column"], broken["value"], broken["rule"]) == (5, "price", "-5.0", "min")


@pytest.mark.parametrize("chunk", [1, 2, 50_000])
def test_a_sqlite_table_is_read_as_a_file_is(lender: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Zones, quarantine and duplicates are those of every source, however the rows are cut into chunks."""
    monkeypatch.setattr(source_database, "CHUNK_ROWS", chunk)
    ingested, warehouse = read(lender, source())
    expect(warehouse)
    assert (ingested.read.rows, ingested.read.quarantined, ingested.read.duplicates) == (3, 1, 1)
    assert [file.path for file in ingested.read.files] == ["loans.sqlite: table loans"]


def test_a_query_chooses_and_colons_are_colons(lender: Path) -> None:
    """One SELECT may name, join and filter; text that looks like a bound parameter is text."""
    query = "SELECT *, 'x:price' AS extra FROM loans WHERE side <> ':side' AND id < 3;"
    ingested, _ = read(lender, source(table=None, query=query))
    assert (ingested.read.rows, ingested.read.added_columns) == (2, ("extra",))


def test_reading_changes_nothing(lender: Path) -> None:
    """The database is opened read-only: a statement that slipped through writes nothing."""
    before = (lender / "loans.sqlite").read_bytes()
    with pytest.raises(SourceError, match="readonly"):
        read(lender, source(table=None, query="DELETE FROM loans RETURNING *"))
    assert (lender / "loans.sqlite").read_bytes() == before
    ((place, text, _),) = origin_faults(source(table=None, query="DELETE FROM loans RETURNING *"))
    assert (place, text) == (("query",), "query is not one SELECT")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"table": "lones"}, "no such table: lones"),
        ({"table": None, "query": "SELECT 1 AS id"}, "has no column at, price, side, paid, due, it has id"),
        (
            {"table": None, "query": "SELECT id + 0.5 AS id, at, price, side, paid, due FROM loans"},
            "expected int64, found",
        ),
        ({"path": "${DATA}/none.sqlite"}, "0 files match"),
        ({"path": "", "url": {"env": "LOANS_URL"}}, "LOANS_URL is not set"),
    ],
)
def test_what_cannot_be_read_is_told(lender: Path, changes: dict[str, Any], told: str) -> None:
    """Missing tables, columns, types and addresses are named, and no table is published."""
    with pytest.raises(SourceError, match=told):
        read(lender, source(**changes))
    assert not list((lender / "warehouse").glob("toy/*/*/_delta_log"))


def test_an_address_stays_out_of_messages(tmp_path: Path) -> None:
    """A refused connection tells neither password nor user nor host; what is no address is not repeated."""
    declared = source(path="", url={"env": "LOANS_URL"})
    for address in ("postgresql://someone:hunter2@127.0.0.1:1/x", "hunter2 at somewhere"):
        with pytest.raises(SourceError) as refused:
            read(tmp_path, declared, variables={"LOANS_URL": address})
        assert "hunter2" not in str(refused.value)
        assert "someone" not in str(refused.value)
        assert "127.0.0.1" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, []),
        ({"path": ""}, ["kind"]),
        ({"url": {"env": "A"}}, ["kind"]),
        ({"query": "SELECT 1"}, ["kind"]),
        ({"table": None}, ["kind"]),
        ({"table": None, "query": "SELECT 1; SELECT 2"}, ["query"]),
        ({"table": None, "query": "not sql ("}, ["query"]),
        ({"kind": "csv"}, ["table"]),
        ({"kind": "csv", "path": "", "table": None}, ["kind"]),
    ],
)
def test_a_declaration_says_where_rows_come_from_once(changes: dict[str, Any], fields: list[str]) -> None:
    """One address and one statement for a database; a file needs a path and nothing of a database."""
    assert [place for place, _, _ in origin_faults(source(**changes))] == [(field,) for field in fields]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql.server() as url:
        yield url


@pytest.fixture
def address(server: str) -> Iterator[str]:
    """A PostgreSQL with the same rows under their own types; `at` is a time without zone."""
    engine = sqlalchemy.create_engine(server)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE IF EXISTS loans"))
        connection.execute(
            sqlalchemy.text(
                "CREATE TABLE loans (id bigint, at timestamp, price float8, side text, paid boolean, due date);"
                "CREATE SEQUENCE IF NOT EXISTS counter"
            )
        )
        insert = sqlalchemy.text("INSERT INTO loans VALUES (:a, :b, :c, :d, :e, :f)")
        for row in ROWS:
            at = datetime.fromisoformat(row[1])
            if at.tzinfo is not None:
                at = (at.astimezone(UTC) + timedelta(hours=1)).replace(tzinfo=None)
            values = (row[0], at, *row[2:])
            connection.execute(insert, dict(zip("abcdef", values, strict=True)))
    yield server
    engine.dispose()


def test_a_postgresql_table_is_read_as_a_file_is(tmp_path: Path, address: str) -> None:
    """The same rows by a real server: same table, same quarantine, whatever types the database has."""
    ingested, warehouse = read(tmp_path, source(path="", url={"env": "LOANS_URL"}), variables={"LOANS_URL": address})
    expect(warehouse)
    assert [file.path for file in ingested.read.files] == ["table loans"]


def test_postgresql_types_keep_their_values(tmp_path: Path, address: str) -> None:
    """Decimals, times with zone, infinity and unusual floats arrive as they are."""
    query = (
        "SELECT 1 AS id, TIMESTAMPTZ '2026-05-01 10:00:00+05:45' AS at, 0.1::numeric(38, 20) AS price,"
        " '6e5e5c4e-0000-4000-8000-000000000001'::uuid AS side, NULL::boolean AS paid, NULL::date AS due"
    )
    query += " UNION ALL SELECT 2, now(), 'Infinity'::float8, NULL, NULL, NULL"
    declared = source(path="", url={"env": "LOANS_URL"}, table=None, query=query)
    _, warehouse = read(
        tmp_path, declared, variables={"LOANS_URL": address.replace("postgresql+psycopg", "postgresql")}
    )
    (row,) = warehouse.arrow("toy/source/loans").to_pylist()
    assert row["event_at"] == datetime(2026, 5, 1, 4, 15, tzinfo=UTC)
    assert math.isclose(row["price"], 0.1, rel_tol=0)
    assert row["side"] == "6e5e5c4e-0000-4000-8000-000000000001"
    (broken,) = warehouse.arrow("toy/quarantine/loans").to_pylist()
    assert (broken["value"], broken["rule"]) == ("inf", "finite")


def test_postgresql_is_only_read(tmp_path: Path, address: str) -> None:
    """The transaction is read-only on the server's side: a SELECT that calls what writes is refused."""
    query = "SELECT nextval('counter') AS id, at, price, side, paid, due FROM loans"
    with pytest.raises(SourceError, match="read-only transaction"):
        read(tmp_path, source(path="", url={"env": "U"}, table=None, query=query), variables={"U": address})


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # psycopg's, of cursors whose connection broke
def test_answers_that_a_proxy_cuts_are_no_rows(tmp_path: Path, address: str) -> None:
    """Ended after any number of bytes: told without the address and the last good table stays, or read whole."""
    url = sqlalchemy.make_url(address)
    proxy = TcpProxy(int(url.port or 0))
    declared, variables = source(path="", url={"env": "LOANS_URL"}), {"LOANS_URL": address}
    through = {"LOANS_URL": url.set(port=proxy.port).render_as_string(hide_password=False)}
    read(tmp_path, declared, variables=variables)
    told: list[str] = []
    for cut_at in range(0, 2_400, 200):
        proxy.arm(cut_at=cut_at)
        try:
            _, warehouse = read(tmp_path, declared, variables=through)
        except SourceError as error:
            told.append(str(error))
            warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: NOW)
        expect(warehouse)
    assert len(told) >= 6
    assert all("the last good table stays" in text and postgresql.PASSWORD not in text for text in told)
    proxy.close()
    gc.collect()  # while warnings are ignored
