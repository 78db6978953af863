"""Connections, names and literals of the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastle.contract.errors import StoreError
from forecastle.store import sql


@pytest.mark.parametrize("name", ["", "A", "1a", 'x"; drop table t; --', "a b", "a" * 128, "é", "../a"])
def test_only_plain_words_become_identifiers(name: str) -> None:
    """Anything but lower-case letters, digits and underscores is refused before it reaches SQL."""
    with pytest.raises(StoreError, match="identifier"):
        sql.quote_ident(name)


@given(st.text(st.characters(blacklist_characters="\x00", codec="utf-8"), max_size=40))
def test_any_text_survives_as_a_literal(text: str) -> None:
    """A quoted text is read back by the engine as itself, whatever quotes it holds."""
    assert duckdb.connect().execute(f"SELECT {sql.quote_text(text)}").fetchone() == (text,)


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(-840, 840))  # noqa: DTZ001
def test_an_instant_is_the_same_in_any_zone(naive: datetime, minutes: int) -> None:
    """The literal of a time equals the time to the microsecond, in whatever zone it was written."""
    at = naive.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes)))
    found = duckdb.connect().execute(f"SELECT epoch_us({sql.instant(at)})").fetchone()
    assert found == ((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1),)


def test_a_time_without_zone_is_refused() -> None:
    """A naive time could mean any instant, so it means none."""
    with pytest.raises(StoreError, match="without a zone"):
        sql.instant(datetime(2026, 1, 1))  # noqa: DTZ001


def test_sessions_share_an_engine_and_no_tables() -> None:
    """What one session holds for itself, another does not see; both think in UTC."""
    with sql.session() as one, sql.session() as other:
        one.execute("CREATE TEMP TABLE kept AS SELECT 1 AS a")
        assert one.execute("SELECT a FROM kept").fetchall() == [(1,)]
        with pytest.raises(duckdb.CatalogException):
            other.execute("SELECT a FROM kept").fetchall()
        assert other.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]


def test_connections_think_in_utc() -> None:
    """A day begins at midnight UTC whatever the machine's zone."""
    with sql.connect() as connection:
        found = connection.execute("SELECT epoch(date_trunc('day', TIMESTAMPTZ '2026-06-01 01:00+05'))").fetchone()
    assert found == (datetime(2026, 5, 31, tzinfo=UTC).timestamp(),)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('{other}')",
        "SELECT * FROM read_csv('{other}')",
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "COPY (SELECT 1 AS a) TO '{allowed}' (FORMAT parquet)",
        "ATTACH '{folder}/x.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_paths = ['/']",
        "SET TimeZone = 'Europe/London'",
    ],
)
def test_a_locked_connection_reaches_nothing_else(statement: str, tmp_path: Path) -> None:
    """SQL that people write reads the files it was given and changes neither files nor settings."""
    allowed, other = tmp_path / "allowed.parquet", tmp_path / "secret.txt"
    duckdb.connect().execute(f"COPY (SELECT 7 AS a) TO '{allowed}' (FORMAT parquet)")
    other.write_text("a\nsecret\n")
    before = allowed.read_bytes()
    with sql.connect_locked([allowed]) as connection:
        assert connection.execute(f"SELECT a FROM read_parquet('{allowed}')").fetchone() == (7,)
        with pytest.raises(duckdb.Error):
            connection.execute(statement.format(other=other, folder=tmp_path, allowed=allowed))
    assert allowed.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["allowed.parquet", "secret.txt"]


@pytest.mark.parametrize(
    "text", ["", "SELECT 1; SELECT 2", "DROP TABLE t", "CREATE TABLE t AS SELECT 1", "PRAGMA version", "SELEC 1"]
)
def test_exactly_one_select_is_allowed(text: str) -> None:
    """The engine's own parser decides what a SELECT is; everything else is refused by name."""
    with sql.connect() as connection, pytest.raises(StoreError, match="view x"):
        sql.check_one_select(connection, text, what="view x")


@pytest.mark.parametrize("text", ["SELECT 1 -- done", "WITH a AS (SELECT 1) SELECT * FROM a;", "VALUES (1)"])
def test_a_select_is_handed_back(text: str) -> None:
    """Comments, a closing semicolon and CTEs are still one SELECT."""
    with sql.connect() as connection:
        assert sql.check_one_select(connection, text, what="view x") == text
