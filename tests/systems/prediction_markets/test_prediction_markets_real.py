"""The system on the real ForecastBench quotes: counts, corrections, and the honest baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from forecastle.store.delta_log import TableVersion
from forecastle.store.leakage import leakage_check
from forecastle.store.sources import ingest
from forecastle.store.warehouse import Warehouse
from tests.systems.prediction_markets.conftest import in_order, train_on

END = datetime(2026, 8, 21, 6, tzinfo=UTC)
CHEAT = "LEFT JOIN markets ON markets.mid = weeks.mid AND markets.known_at <= weeks.known_at"

Run = Callable[[duckdb.DuckDBPyConnection, str], pd.DataFrame]


@pytest.fixture(scope="module")
def label(real_sources: duckdb.DuckDBPyConnection, run: Run) -> pd.DataFrame:
    """The real label rows."""
    return run(real_sources, "resolution.sql")


@pytest.fixture(scope="module")
def quotes(real_sources: duckdb.DuckDBPyConnection, run: Run) -> pd.DataFrame:
    """The rows of market_quotes."""
    return run(real_sources, "market_quotes.sql")


def test_every_real_row_is_read(system: LoadedSystem, real_data: Path, tmp_path: Path) -> None:
    """Row counts are those of the data folder's SOURCE.md; what has no file is empty and says so."""
    sources = system.declaration.sources
    warehouse = Warehouse(tmp_path, clock=lambda: END)
    read = {n: ingest(warehouse, system.name, n, s, data=real_data).read for n, s in in_order(system)}
    assert set(read) == set(sources)
    assert read["quotes"].rows == 246_953
    assert read["resolutions"].rows == 2_255
    assert read["snapshots"].rows == 5_590
    assert read["polls"].rows == 9_692
    assert {name: source.quarantined for name, source in read.items() if source.quarantined} == {"markets": 761}
    assert {name for name, source in read.items() if source.absent} == {"market_races", "trades"}


def test_resolved_markets_and_the_real_correction(real_sources: duckdb.DuckDBPyConnection, label: pd.DataFrame) -> None:
    """1,764 markets resolved, 1,210 of them were priced; market 886 went from 0 to 1 three days later.

    29 of the priced ones came and went between two Mondays and are never asked about: 1,210 − 29 = 1,181.
    """
    resolved = real_sources.execute("SELECT count(DISTINCT mid) FROM resolutions").fetchall()
    assert resolved == [(1_764,)]
    priced = "SELECT mid, MIN(known_at) AS priced_at FROM quotes GROUP BY mid"
    stated = "SELECT mid, MIN(known_at) AS stated_at FROM resolutions GROUP BY mid"
    between = "DATE_TRUNC('week', priced_at) + INTERVAL 7 DAY >= stated_at"
    counts = f"SELECT COUNT(*), COUNT(*) FILTER ({between}) FROM ({priced}) INNER JOIN ({stated}) USING (mid)"
    assert real_sources.execute(counts).fetchall() == [(1_210, 29)]
    assert label["market_id"].nunique() == 1_181
    corrected = label.groupby("market_id")["outcome"].nunique()
    assert corrected[corrected > 1].index.tolist() == [886]
    versions = label[label["market_id"] == 886].groupby("known_at")["outcome"].agg(["first", "nunique"])
    assert versions["first"].tolist() == [0, 1]
    assert [t.strftime("%Y-%m-%d") for t in versions.index] == ["2026-01-15", "2026-01-18"]
    first = label.groupby("market_id")["known_at"].transform("min")
    assert (label["predict_at"] < first).all()


@pytest.mark.parametrize(
    ("days_before", "markets", "brier"), [(1, 1_206, 0.0320), (7, 1_124, 0.0436), (30, 796, 0.0462)]
)
def test_the_last_price_before_the_answer_has_the_known_brier_score(
    real_sources: duckdb.DuckDBPyConnection, quotes: pd.DataFrame, days_before: int, markets: int, brier: float
) -> None:
    """Last price known 1, 7 or 30 days before the outcome was: markets and Brier of SOURCE.md.

    The numbers there take the outcome as first stated, so market 886 counts as a no; its correction would add
    about 0.001.
    """
    stated = "SELECT mid::BIGINT AS market_id, MIN(known_at) AS known_at, ARG_MIN(resolved_to, known_at) AS outcome"
    first = real_sources.sql(f"{stated} FROM resolutions GROUP BY mid").to_arrow_table().to_pandas()
    first["asked_at"] = first.pop("known_at") - pd.Timedelta(days=days_before)
    prices = quotes[["market_id", "known_at", "market_price"]].sort_values("known_at")
    joined = pd.merge_asof(
        first.sort_values("asked_at"), prices, left_on="asked_at", right_on="known_at", by="market_id"
    ).dropna()
    assert len(joined) == markets
    assert round(np.mean((joined["outcome"] - joined["market_price"]) ** 2), 4) == brier


def test_features_that_real_data_cannot_give_are_null(
    real_sources: duckdb.DuckDBPyConnection, quotes: pd.DataFrame, run: Run
) -> None:
    """No polls are linked and no trades known: null at every instant of a quote, never a made-up number."""
    instants = real_sources.execute("SELECT count(*) FROM (SELECT DISTINCT mid, known_at FROM quotes)").fetchall()
    for file, features in {
        "market_polls.sql": ["poll_avg_7d", "poll_market_spread"], "market_trades.sql": ["volume_24h"],
    }.items():  # fmt: skip
        made = run(real_sources, file)
        assert [(len(made),)] == instants
        assert made[features].isna().all(axis=None)
    assert quotes["market_price"].between(0, 1).all()
    assert 0.4 < quotes["days_to_resolution"].isna().mean() < 0.6


def test_the_price_is_a_hard_baseline(label: pd.DataFrame, quotes: pd.DataFrame) -> None:
    """Mondays with a fresh price: 9,102 of 13,285 questions, base rate 21 %, Brier of the price 0.053."""
    asked = label.sort_values("known_at").drop_duplicates(["market_id", "predict_at"], keep="last")
    joined = pd.merge_asof(
        asked.drop(columns="known_at").sort_values("predict_at"),
        quotes.sort_values("known_at"),
        left_on="predict_at",
        right_on="known_at",
        by="market_id",
    )
    fresh = joined[joined["event_at"] > joined["predict_at"] - pd.Timedelta(days=7)]
    assert (len(joined), len(fresh)) == (13_285, 9_102)
    assert fresh["outcome"].mean() == pytest.approx(0.2098, abs=0.0005)
    assert np.mean((fresh["outcome"] - fresh["market_price"]) ** 2) == pytest.approx(0.0532, abs=0.0005)


@pytest.mark.slow
def test_training_saw_only_what_was_known(system: LoadedSystem, real_data: Path, tmp_path: Path) -> None:
    """At six instants every feature is derived again from the real sources cut there; a view that cheats is caught.

    The planted view reads the scheduled close before the last listing told it.
    """
    warehouse, training = train_on(system, real_data, tmp_path / "honest", now=END)
    report = leakage_check(warehouse, system, training, instants=6)
    assert report.ok
    assert report.rows_checked > 5_000
    text = system.sql["market_quotes.sql"]
    assert CHEAT in text
    planted = {"market_quotes.sql": text.replace(CHEAT, "LEFT JOIN markets ON markets.mid = weeks.mid")}
    caught = leakage_check(*planted_at(system, planted, real_data, tmp_path / "planted"), instants=2)
    assert set(caught.differences["feature"]) == {"days_to_resolution"}


def planted_at(
    system: LoadedSystem, sql: dict[str, str], data: Path, folder: Path
) -> tuple[Warehouse, LoadedSystem, TableVersion]:
    """Warehouse, system and training set with changed views."""
    warehouse, training = train_on(system, data, folder, now=END, sql=sql)
    return warehouse, replace(system, sql={**system.sql, **sql}), training
