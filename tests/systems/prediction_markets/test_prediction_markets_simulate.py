"""The simulated world: same seed, same bytes; true probabilities that come true; honest lateness."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from forecastle.contract.load import LoadedSystem

Run = Callable[[duckdb.DuckDBPyConnection, str], pd.DataFrame]


@pytest.fixture(scope="module")
def tables(simulated: Path) -> dict[str, pd.DataFrame]:
    """Every file of the simulated world by name."""
    return {p.stem: pd.read_parquet(p) for p in (simulated / "prediction_markets").glob("*.parquet")}


def write(system: LoadedSystem, folder: Path, *, seed: int, now: datetime) -> dict[str, bytes]:
    """The bytes of a small world."""
    system.function("simulate:world")(folder, seed=seed, now=now, markets=40, days=90)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_same_seed_gives_the_same_bytes(system: LoadedSystem, now: datetime, tmp_path: Path) -> None:
    """Every file, byte for byte; another seed is another world."""
    first = write(system, tmp_path / "a", seed=3, now=now)
    assert first == write(system, tmp_path / "b", seed=3, now=now)
    assert first["quotes.parquet"] != write(system, tmp_path / "c", seed=4, now=now)["quotes.parquet"]


def test_it_writes_every_source_with_its_declared_columns(system: LoadedSystem, simulated: Path) -> None:
    """One file per source, no column more or less than declared, and the truth beside them."""
    for source in system.declaration.sources.values():
        path = Path(source.path.replace("${DATA}", str(simulated)))
        assert pq.read_schema(path).names == list(source.columns)
    assert pq.read_schema(simulated / "prediction_markets" / "truth.parquet").names == [
        "mid", "day", "true_probability",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [{"now": datetime(2026, 6, 1)}, {"markets": 0}, {"days": 29}],  # noqa: DTZ001  the naive time is the test
)
def test_arguments_that_make_no_world_are_refused(
    system: LoadedSystem, now: datetime, tmp_path: Path, wrong: dict[str, object]
) -> None:
    """A time without a zone, no market, or too short a history: nothing is written."""
    with pytest.raises(ValueError, match="needs a zone, markets at least 1, days at least 30"):
        system.function("simulate:world")(tmp_path / "w", **{"seed": 1, "now": now, **wrong})
    assert not (tmp_path / "w").exists()


def test_nothing_known_after_now_is_written(tables: dict[str, pd.DataFrame], now: datetime) -> None:
    """The files hold what could be known at `now`, in the order in which it became known."""
    for name, column in {
        "quotes": "known_at", "resolutions": "known_at", "snapshots": "freeze_datetime",
        "market_races": "known_at", "polls_races": "created_at", "trades": "known_at",
    }.items():  # fmt: skip
        known = tables[name][column]
        known = known if known.dt.tz is not None else known.dt.tz_localize("UTC")
        assert known.is_monotonic_increasing
        assert known.max() <= pd.Timestamp(now)


def test_true_probabilities_come_true(tables: dict[str, pd.DataFrame]) -> None:
    """Against the truth, outcomes behave as coin tosses with those odds, at every level of probability.

    One day per market, drawn at random, makes the tosses independent; each of the four z statistics
    sum(o − p) / sqrt(sum p (1 − p)) stays within 3.5, which fair tosses leave with probability 0.002 in all.
    """
    outcome = tables["resolutions"].sort_values("known_at").groupby("mid")["resolved_to"].last()
    truth = tables["truth"].merge(outcome.rename("outcome"), left_on="mid", right_index=True)
    one = truth.groupby("mid").sample(1, random_state=2)
    assert len(one) > 250
    bands = [one, *(band for _, band in one.groupby(pd.cut(one["true_probability"], [0, 0.25, 0.6, 1])))]
    for band in bands:
        p, outcome_ = band["true_probability"], band["outcome"]
        assert abs((outcome_ - p).sum() / np.sqrt((p * (1 - p)).sum())) < 3.5


def test_prices_are_noisier_than_the_truth_but_near_it(
    tables: dict[str, pd.DataFrame], simulated_sources: duckdb.DuckDBPyConnection, run: Run
) -> None:
    """On label rows the truth scores best, the price a little worse, the base rate far worse (Brier)."""
    label = run(simulated_sources, "resolution.sql").sort_values("known_at")
    label = label.drop_duplicates(["market_id", "predict_at"], keep="last").sort_values("predict_at")
    quotes = run(simulated_sources, "market_quotes.sql").sort_values("known_at")
    joined = pd.merge_asof(
        label.drop(columns="known_at"), quotes, left_on="predict_at", right_on="known_at", by="market_id"
    )
    truth = tables["truth"].rename(columns={"mid": "market_id"})
    joined["day"] = joined["predict_at"].dt.date
    joined = joined.merge(truth, on=["market_id", "day"])
    o = joined["outcome"].to_numpy(float)
    brier = {name: float(np.mean((o - joined[name]) ** 2)) for name in ("true_probability", "market_price")}
    assert brier["true_probability"] < brier["market_price"] < brier["true_probability"] + 0.04
    assert brier["market_price"] < 0.7 * o.mean() * (1 - o.mean())


def test_lateness_is_that_of_the_real_quotes(tables: dict[str, pd.DataFrame], now: datetime) -> None:
    """Real quotes: median 1.14 days late, 4.5 % by more than a week (the data folder's SOURCE.md)."""
    quotes = tables["quotes"]
    # The newest weeks are left out: what is still to arrive would make them look punctual.
    seen = quotes[pd.to_datetime(quotes["value_date"], utc=True) < pd.Timestamp(now) - pd.Timedelta(days=90)]
    lag = (seen["known_at"] - pd.to_datetime(seen["value_date"], utc=True)) / pd.Timedelta(days=1)
    assert lag.min() > 1
    assert lag.median() == pytest.approx(1.2, abs=0.1)
    assert (lag > 7).mean() == pytest.approx(0.04, abs=0.012)


def test_no_quote_becomes_known_after_its_market_was_resolved(tables: dict[str, pd.DataFrame]) -> None:
    """As in the real data, prices end with the resolution."""
    first = tables["resolutions"].groupby("mid")["known_at"].min().rename("resolved_at")
    known = tables["quotes"].merge(first, left_on="mid", right_index=True)
    assert len(known) > 1000
    assert (known["known_at"] < known["resolved_at"]).all()


def test_some_resolutions_are_corrected_and_some_only_redated(tables: dict[str, pd.DataFrame]) -> None:
    """Three markets were first stated wrongly; more were stated again with another date."""
    stated = tables["resolutions"].groupby("mid")["resolved_to"].agg(["size", "nunique"])
    assert (stated["nunique"] == 2).sum() == 3
    assert ((stated["size"] == 2) & (stated["nunique"] == 1)).sum() > 5


def test_markets_are_left_to_ask_about(tables: dict[str, pd.DataFrame], now: datetime) -> None:
    """At `now` some markets are open and have a price known within two days."""
    quotes = tables["quotes"][~tables["quotes"]["mid"].isin(tables["resolutions"]["mid"])]
    newest = quotes.groupby("mid")["known_at"].max()
    assert (newest > pd.Timestamp(now) - timedelta(days=2)).sum() > 50
