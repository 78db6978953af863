"""Pages of streamrec: who is asked about what, and what counts as liked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from tests.systems.sources import empty_tables

# A Monday.
FIRST = datetime(2026, 1, 5, 8, tzinfo=UTC)
OTHER, USER = 1, 2


@pytest.fixture
def rated(streamrec: LoadedSystem) -> duckdb.DuckDBPyConnection:
    """User 1 likes films 1 to 30 on the first day; user 2 rates films 1 to 10 two days later, a second apart."""
    connection = empty_tables(streamrec)
    for film in range(1, 31):
        add_rating(connection, OTHER, film, 5, FIRST + timedelta(seconds=film))
        connection.execute("INSERT INTO films VALUES (?, '1990', 'Drama Comedy', ?)", [str(film), FIRST])
    for user, gender, age in ((OTHER, "F", 24), (USER, "M", 40)):
        connection.execute("INSERT INTO users VALUES (?, ?, ?, ?)", [user, age, gender, FIRST])
    for film in range(1, 11):
        add_rating(connection, USER, film, 4 if film <= 5 else 2, asked_at() - timedelta(seconds=10 - film))
    # Known later than a week after the page: only then do its outcomes exist.
    add_rating(connection, 3, 1, 3, asked_at() + timedelta(days=9))
    return connection


def asked_at() -> datetime:
    return FIRST + timedelta(days=2)


def add_rating(connection: duckdb.DuckDBPyConnection, user: int, film: int, rating: int, at: datetime) -> None:
    columns = "user_id, item_id, rating, ts, event_at, known_at"
    connection.execute(f"INSERT INTO ratings ({columns}) VALUES (?, ?, ?, ?, ?, ?)", [user, film, rating, at, at, at])


def run(system: LoadedSystem, connection: duckdb.DuckDBPyConnection, file: str, user: int = USER) -> pd.DataFrame:
    rows = connection.sql(system.sql[file]).to_arrow_table().to_pandas()
    return rows[rows["user_id"] == user].set_index("item_id").sort_index()


def test_a_page_holds_the_films_its_user_has_not_rated(
    streamrec: LoadedSystem, rated: duckdb.DuckDBPyConnection
) -> None:
    """At the tenth rating 11 to 30 are left of the week's chart, which is made at its first rating."""
    # The chart of the first week is made at its first rating, when one film was rated: a later week's has all.
    for film in range(11, 31):
        add_rating(rated, 4, film, 5, FIRST - timedelta(days=3))
    rows = run(streamrec, rated, "page_liked.sql")
    assert list(rows.index) == list(range(11, 31))
    assert set(rows["predict_at"]) == {pd.Timestamp(asked_at())}
    assert set(rows["known_at"]) == {pd.Timestamp(asked_at() + timedelta(days=7))}
    assert (rows["gender"] == "M").all()
    assert (rows["age_band"] == "from_40").all()
    assert (rows["genre"] == "Drama").all()


@pytest.mark.parametrize(("rating", "days", "outcome"), [(4, 6.9, 1), (5, 0.001, 1), (3, 1.0, 0), (5, 7.1, 0)], ids=str)
def test_a_like_is_four_stars_within_seven_days(
    streamrec: LoadedSystem, rated: duckdb.DuckDBPyConnection, rating: int, days: float, outcome: int
) -> None:
    """Three stars are none, and the eighth day is too late."""
    for film in range(11, 31):
        add_rating(rated, 4, film, 5, FIRST - timedelta(days=3))
    add_rating(rated, USER, 12, rating, asked_at() + timedelta(days=days))
    rows = run(streamrec, rated, "page_liked.sql")
    assert rows.loc[12, "outcome"] == outcome
    assert rows["outcome"].sum() == outcome


def test_a_page_knows_nothing_of_what_its_user_rates_next(
    streamrec: LoadedSystem, rated: duckdb.DuckDBPyConnection
) -> None:
    """Five likes in ten ratings of two genres each; a rating one second after the page changes no feature of it."""
    for film in range(11, 31):
        add_rating(rated, 4, film, 5, FIRST - timedelta(days=3))
    before = run(streamrec, rated, "page_films.sql")
    add_rating(rated, USER, 12, 5, asked_at() + timedelta(seconds=1))
    after = run(streamrec, rated, "page_films.sql")
    pd.testing.assert_frame_equal(before, after)
    assert before.loc[12, "user_like_ratio"] == 0.5
    assert before.loc[12, "genre_likes"] == (5 + 5) / (2 * 10)
    assert before.loc[12, "genre_ratings"] == 1.0
    assert before.loc[12, "user_pace_seconds"] == 9 / 10
