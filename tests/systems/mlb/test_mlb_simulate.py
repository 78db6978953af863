"""The simulated season: the real files' columns, the same bytes again, and nothing of the future."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from forecastle.contract.load import LoadedSystem
from tests.systems.mlb.conftest import NOW, SEED, run_sql
from tests.systems.sources import sources_of

FILES = (
    "games_2016.parquet",
    "lines_2016.parquet",
    "team_games_2015_2016.parquet",
    "game_logs_2014_2016.parquet",
)


def test_the_same_arguments_give_the_same_bytes(mlb: LoadedSystem, season: Path, tmp_path: Path) -> None:
    """And another seed another season."""
    world = mlb.function("simulate:world")
    again, other = (world(tmp_path / name, seed=seed, now=NOW, days=40) for name, seed in (("a", SEED), ("b", 6)))
    for file in FILES:
        assert (again / file).read_bytes() == (season / "mlb" / file).read_bytes() != (other / file).read_bytes()


@pytest.mark.parametrize("file", FILES)
def test_columns_and_types_are_the_real_files(season: Path, real_data: Path, file: str) -> None:
    """Of the columns that are declared; the real files have more."""
    simulated, real = (
        {field.name: str(field.type).replace("large_", "") for field in pq.read_schema(folder / "mlb" / file)}
        for folder in (season, real_data)
    )
    differs = {name: (kind, real[name]) for name, kind in simulated.items() if kind != real[name]}
    assert all("timestamp" in kind and "timestamp" in other for kind, other in differs.values()), differs


def test_nothing_is_later_than_now(season: Path) -> None:
    """Lines end at now; results are of games whose report had come."""
    lines = pd.read_parquet(season / "mlb" / FILES[1])
    assert lines["entered_ts"].max() <= pd.Timestamp(NOW)
    results = pd.read_parquet(season / "mlb" / FILES[2])
    assert pd.to_datetime(results["game_date"]).max() + pd.Timedelta(hours=36) <= pd.Timestamp(NOW.replace(tzinfo=None))


def test_the_simulated_market_is_good_and_has_a_margin(mlb: LoadedSystem, season: Path) -> None:
    """Its Brier is below that of one half, its juice some two points, and its last line better than its first."""
    tables = sources_of(mlb, season)
    last = run_sql(mlb, tables, "line_movement.sql").sort_values("event_at").drop_duplicates("game_id", keep="last")
    rows = run_sql(mlb, tables, "home_win.sql").merge(last, on="game_id")
    assert len(rows) > 300
    assert np.mean((rows["market_probability"] - rows["outcome"]) ** 2) < 0.25
    juice = mlb.function("features:margin_free")(ml_home=rows["ml_home"], ml_away=rows["ml_away"])["juice"]
    assert 0.01 < juice.mean() < 0.03
