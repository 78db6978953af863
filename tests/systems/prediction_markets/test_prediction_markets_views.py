"""Feature SQL of prediction markets: rows by hand, a naive second derivation, and what was known when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem

Run = Callable[[duckdb.DuckDBPyConnection, str], pd.DataFrame]

VIEWS = ("market_quotes.sql", "market_polls.sql", "market_trades.sql")
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    """An instant, in days after 1 January 2026."""
    return FIRST + timedelta(days=number)


def quote(connection: duckdb.DuckDBPyConnection, value_day: int, value: float, known: float) -> None:
    row = [1, "manifold", day(value_day).date(), value, day(known)]
    connection.execute("INSERT INTO quotes VALUES (?, ?, ?, ?, ?)", row)


def poll(
    connection: duckdb.DuckDBPyConnection,
    number: int,
    *,
    ended: int,
    pct: float,
    known: float,
    who: str = "A",
) -> None:
    row = [number, 7, day(ended).date(), day(known), who, pct]
    connection.execute("INSERT INTO polls VALUES (?, ?, ?, ?, ?, ?)", row)


def trade(connection: duckdb.DuckDBPyConnection, number: int, traded: float, usd: float, known: float) -> None:
    row = [number, 1, day(traded), 0.5, usd, day(known)]
    connection.execute("INSERT INTO trades VALUES (?, ?, ?, ?, ?, ?)", row)


def by_known_at(frame: pd.DataFrame, column: str) -> dict[float, float | None]:
    """One column by the day on which its row became known; null is None."""
    values = frame[column].astype(object).where(frame[column].notna(), None)
    days = (frame["known_at"] - pd.Timestamp(FIRST)) / pd.Timedelta(days=1)
    return dict(zip(days.round(6), values, strict=True))


def test_price_and_volatility_use_what_was_known_at_each_instant(
    empty_sources: duckdb.DuckDBPyConnection, run: Run
) -> None:
    """A restated price changes later rows only, and a late one never becomes the newest."""
    quote(empty_sources, 1, 0.20, known=2)
    quote(empty_sources, 2, 0.40, known=3)
    quote(empty_sources, 0, 0.90, known=4)
    quote(empty_sources, 2, 0.30, known=5)
    made = run(empty_sources, "market_quotes.sql")
    assert by_known_at(made, "market_price") == {2: 0.20, 3: 0.40, 4: 0.40, 5: 0.30}
    volatility = by_known_at(made, "price_volatility_7d")
    assert volatility[2] is None
    assert volatility[3] == pytest.approx(np.std([0.20, 0.40], ddof=1))
    assert volatility[4] == pytest.approx(np.std([0.90, 0.20, 0.40], ddof=1))
    assert volatility[5] == pytest.approx(np.std([0.90, 0.20, 0.30], ddof=1))
    event_days = made.sort_values("known_at")["event_at"].dt.day.tolist()
    assert event_days == [2, 3, 3, 3]


def test_volatility_forgets_the_eighth_day(empty_sources: duckdb.DuckDBPyConnection, run: Run) -> None:
    """The week that ends on the newest day has seven days."""
    quote(empty_sources, 0, 0.10, known=1)
    quote(empty_sources, 1, 0.50, known=2)
    quote(empty_sources, 7, 0.70, known=8)
    volatility = by_known_at(run(empty_sources, "market_quotes.sql"), "price_volatility_7d")
    assert volatility[8] == pytest.approx(np.std([0.50, 0.70], ddof=1))


def test_the_scheduled_close_counts_from_its_knowledge_time(empty_sources: duckdb.DuckDBPyConnection, run: Run) -> None:
    """The days left are null before the close was known, and a row of their own says when that was."""
    for number in range(6):
        quote(empty_sources, number, 0.5, known=number + 1)
    empty_sources.execute("INSERT INTO markets VALUES (1, ?, ?, ?)", [day(-9), day(30), day(4.5)])
    days_left = by_known_at(run(empty_sources, "market_quotes.sql"), "days_to_resolution")
    assert days_left == {1: None, 2: None, 3: None, 4: None, 4.5: 25.5, 5: 25.0, 6: 24.0}


def test_polls_count_from_their_entry_and_for_seven_days(empty_sources: duckdb.DuckDBPyConnection, run: Run) -> None:
    """The average reads the candidate's polls that were known and had ended within the week."""
    empty_sources.execute("INSERT INTO market_races VALUES (1, 7, 'A', ?)", [day(0)])
    quote(empty_sources, 4, 0.35, known=5)
    quote(empty_sources, 9, 0.45, known=10)
    poll(empty_sources, 1, ended=3, pct=40, known=6)
    poll(empty_sources, 1, ended=3, pct=60, known=6, who="B")
    poll(empty_sources, 2, ended=5, pct=50, known=7)
    poll(empty_sources, 3, ended=5, pct=90, known=40)
    made = run(empty_sources, "market_polls.sql")
    average = by_known_at(made, "poll_avg_7d")
    assert average == {5: None, 6: 0.40, 7: pytest.approx((40 + 50) / 200), 10: 0.50, 40: None}
    spread = by_known_at(made, "poll_market_spread")
    assert spread[6] == pytest.approx(0.40 - 0.35)
    assert spread[10] == pytest.approx(0.50 - 0.45)


def test_a_poll_entered_before_its_end_waits_for_it(empty_sources: duckdb.DuckDBPyConnection, run: Run) -> None:
    """Some real polls have created_at before end_date: they count from the next instant after the end."""
    empty_sources.execute("INSERT INTO market_races VALUES (1, 7, 'A', ?)", [day(0)])
    poll(empty_sources, 1, ended=3, pct=40, known=2)
    quote(empty_sources, 1, 0.35, known=2.5)
    quote(empty_sources, 2, 0.35, known=3.5)
    made = run(empty_sources, "market_polls.sql")
    assert by_known_at(made, "poll_avg_7d") == {2.5: None, 3.5: 0.40}


def test_volume_is_of_the_last_day_and_null_without_any_known_trade(
    empty_sources: duckdb.DuckDBPyConnection, run: Run
) -> None:
    """Money of the last 24 hours as far as reported; a quiet day is zero, an unreported market null."""
    quote(empty_sources, 0, 0.5, known=1)
    trade(empty_sources, 1, traded=1.2, usd=10.0, known=1.3)
    trade(empty_sources, 2, traded=1.4, usd=5.0, known=1.9)
    quote(empty_sources, 1, 0.5, known=1.5)
    quote(empty_sources, 2, 0.5, known=2.3)
    quote(empty_sources, 3, 0.5, known=4)
    volume = by_known_at(run(empty_sources, "market_trades.sql"), "volume_24h")
    assert volume == {1: None, 1.3: 10.0, 1.5: 10.0, 1.9: 15.0, 2.3: 5.0, 4: 0.0}


@pytest.mark.parametrize("file", VIEWS)
def test_nothing_known_later_reaches_a_simulated_row(
    simulated_sources: duckdb.DuckDBPyConnection, system: LoadedSystem, run: Run, file: str
) -> None:
    """On sources cut at t the SQL gives the rows known by t, bit for bit."""
    whole = run(simulated_sources, file)
    for quantile in (0.3, 0.7):
        until = whole["known_at"].quantile(quantile, interpolation="lower")
        expected = rows_of(whole[whole["known_at"] <= until])
        assert len(expected) > 1000
        assert rows_of(run(known_then(simulated_sources, system, until), file)).equals(expected)


@pytest.mark.parametrize("file", VIEWS)
def test_nothing_known_later_reaches_a_real_row(
    real_sources: duckdb.DuckDBPyConnection, system: LoadedSystem, run: Run, file: str
) -> None:
    """On the real sources cut at t the SQL gives the rows known by t, bit for bit."""
    whole = run(real_sources, file)
    until = whole["known_at"].quantile(0.6, interpolation="lower")
    expected = rows_of(whole[whole["known_at"] <= until])
    assert len(expected) > 1000
    assert rows_of(run(known_then(real_sources, system, until), file)).equals(expected)


def known_then(
    connection: duckdb.DuckDBPyConnection, system: LoadedSystem, until: pd.Timestamp
) -> duckdb.DuckDBPyConnection:
    """A connection whose sources hold nothing that became known after an instant."""
    cut = connection.cursor()
    cut.execute("SET TimeZone = 'UTC'")
    cut.execute("CREATE SCHEMA IF NOT EXISTS known_then")
    for name in system.declaration.sources:
        rows = f"SELECT * FROM main.{name} WHERE known_at <= $until"
        cut.execute(f"CREATE OR REPLACE TABLE known_then.{name} AS {rows}", {"until": until})
    cut.execute("SET schema = 'known_then'")
    return cut


def rows_of(made: pd.DataFrame) -> pd.DataFrame:
    """A view's rows in the order of market and knowledge."""
    return made.sort_values(["market_id", "known_at"]).reset_index(drop=True)


def test_every_row_is_one_instant_of_one_market_and_never_in_the_future(
    simulated_sources: duckdb.DuckDBPyConnection, run: Run
) -> None:
    """Keys are unique, and the event time never lies after the knowledge time."""
    for file in VIEWS:
        made = run(simulated_sources, file)
        assert not made.duplicated(["market_id", "known_at"]).any()
        assert (made["event_at"] <= made["known_at"]).all()


def test_later_knowledge_never_has_an_earlier_event_time(
    simulated_sources: duckdb.DuckDBPyConnection, run: Run
) -> None:
    """The join prefers the latest event time, so within a market it must never fall as knowledge grows."""
    for file in VIEWS:
        made = run(simulated_sources, file).sort_values(["market_id", "known_at"])
        steps = made.groupby("market_id")["event_at"].diff().dropna()
        assert (steps >= pd.Timedelta(0)).all()


def test_a_naive_derivation_of_sampled_rows_agrees(
    simulated_sources: duckdb.DuckDBPyConnection, simulated: Path, run: Run
) -> None:
    """Eighty rows computed again from the files with plain pandas, one filter at a time."""
    raw = {p.stem: pd.read_parquet(p) for p in (simulated / "prediction_markets").glob("*.parquet")}
    raw["polls_races"]["created_at"] = raw["polls_races"]["created_at"].dt.tz_localize("UTC")
    made = [run(simulated_sources, file) for file in VIEWS]
    keys = ["market_id", "known_at"]
    joined = made[0].merge(made[1], on=keys, suffixes=("", "_polls")).merge(made[2], on=keys, suffixes=("", "_trades"))
    sample = joined.sort_values(keys).sample(80, random_state=5)
    assert sample["poll_avg_7d"].notna().sum() > 10
    assert sample["volume_24h"].gt(0).sum() > 5
    for row in sample.to_dict("records"):
        expected = naive_row(raw, int(row["market_id"]), row["known_at"])
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), (name, row)


def naive_row(raw: dict[str, pd.DataFrame], mid: int, instant: pd.Timestamp) -> dict[str, float]:
    """The six features of one market at one instant."""
    week, nan = pd.Timedelta(days=7), float("nan")
    quotes = raw["quotes"].query("mid == @mid and known_at <= @instant").sort_values("known_at")
    daily = quotes.groupby("value_date")["value"].last().astype(float)
    daily.index = pd.to_datetime(daily.index, utc=True)
    newest = daily.index.max()
    recent = daily[daily.index > newest - week]
    market = raw["markets"].query("mid == @mid").iloc[0]
    listed = raw["snapshots"].query("mid == @mid")["freeze_datetime"]
    known = len(listed) > 0 and listed.max() <= instant
    race = raw["market_races"].query("mid == @mid and known_at <= @instant")
    polls = raw["polls_races"].merge(race[["race_id", "candidate_name"]], on=["race_id", "candidate_name"])
    ended = pd.to_datetime(polls["end_date"], utc=True)
    polls = polls[(polls["created_at"] <= instant) & (ended <= instant) & (ended > instant - week)]
    average = polls["pct"].mean() / 100 if len(polls) else nan
    trades = raw["trades"].query("mid == @mid and known_at <= @instant")
    last_day = trades["traded_at"] > instant - pd.Timedelta(days=1)
    return {
        "market_price": daily[newest],
        "price_volatility_7d": recent.std() if len(recent) > 1 else nan,
        "days_to_resolution": (market["close_ts"] - instant) / pd.Timedelta(days=1) if known else nan,
        "poll_avg_7d": average,
        "poll_market_spread": average - daily[newest] if newest > instant - week else nan,
        "volume_24h": trades.loc[last_day, "size_usd"].sum() if len(trades) else nan,
    }
