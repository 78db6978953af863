"""The label of mlb and the market's own accuracy: asked at the cut-off, and the published Brier scores come out."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

from forecastle.contract.load import LoadedSystem
from tests.systems.mlb.conftest import run_sql

IMPLIED = "CASE WHEN {0} > 0 THEN 100.0 / (100.0 + {0}) ELSE -{0} / (100.0 - {0}) END"


def test_every_game_is_asked_at_its_cut_off_once(mlb: LoadedSystem, real_games: duckdb.DuckDBPyConnection) -> None:
    """2,462 games less three without a row of team_games and one tie; known after the game, never before."""
    rows = run_sql(mlb, real_games, "home_win.sql").merge(
        real_games.sql("SELECT * FROM games").to_arrow_table().to_pandas(), on="game_id"
    )
    assert len(rows) == 2_458
    assert rows["game_id"].is_unique
    assert set((rows["start_ts"] - rows["predict_at"]).dt.total_seconds()) == {1_200.0}
    assert ((rows["known_at_x"] - rows["start_ts"]).dt.total_seconds() > 6 * 3_600).all()
    assert rows["outcome"].mean() == pytest.approx(0.5293, abs=1e-4)


@pytest.mark.parametrize(
    ("when", "first", "games", "brier"),
    [
        ("TRUE", "ASC", 2_462, 0.24205),
        ("entered_ts <= start_ts - INTERVAL 6 HOUR", "DESC", 2_385, 0.24151),
        ("entered_ts <= start_ts - INTERVAL 20 MINUTE", "DESC", 2_462, 0.24032),
        ("entered_ts <= start_ts", "DESC", 2_462, 0.24039),
    ],
    ids=["open", "six hours", "cut-off", "close"],
)
def test_the_published_market_briers(real_data: Path, when: str, first: str, games: int, brier: float) -> None:
    """Normalised moneylines of the raw files, the tie counted as no home win."""
    folder = real_data / "mlb"
    found = (
        duckdb.connect()
        .sql(
            f"""
        SELECT count(*) AS games, avg((h / (h + a) - won) ** 2) AS brier FROM (
          SELECT {IMPLIED.format("ml_home")} AS h, {IMPLIED.format("ml_away")} AS a,
            (home_score > away_score)::INT AS won
          FROM '{folder}/lines_2016.parquet' JOIN '{folder}/games_2016.parquet' USING (game_id)
          WHERE ml_home IS NOT NULL AND ml_away IS NOT NULL AND {when}
          QUALIFY row_number() OVER (PARTITION BY game_id ORDER BY entered_ts {first}, seq {first}) = 1)
        """
        )
        .to_arrow_table()
        .to_pandas()
    )
    assert (found["games"][0], round(found["brier"][0], 5)) == (games, brier)


def test_the_view_and_the_label_give_them_too(mlb: LoadedSystem, real_games: duckdb.DuckDBPyConnection) -> None:
    """The last row of line_movement is the market at the cut-off, the label's column the closing line."""
    lines = run_sql(mlb, real_games, "line_movement.sql").sort_values("event_at")
    last = lines.drop_duplicates("game_id", keep="last")
    rows = run_sql(mlb, real_games, "home_win.sql").merge(last, on="game_id")
    # Four games fewer than published: 0.0001 of difference.
    assert np.mean((rows["market_probability"] - rows["outcome"]) ** 2) == pytest.approx(0.24032, abs=1e-4)
    assert np.mean((rows["open_probability"] - rows["outcome"]) ** 2) == pytest.approx(0.24205, abs=1e-4)
    assert np.mean((rows["closing_probability"] - rows["outcome"]) ** 2) == pytest.approx(0.24039, abs=1e-4)


def test_the_raw_clock_is_seven_hours_off(real_data: Path) -> None:
    """By entered_raw most games' last line stands 7 hours before the start; by entered_ts just before it."""
    folder = real_data / "mlb"
    gaps = (
        duckdb.connect()
        .sql(f"""
        SELECT date_diff('minute', max(entered_raw), any_value(start_ts)) AS raw,
          date_diff('minute', max(entered_ts), any_value(start_ts)) AS mended
        FROM '{folder}/lines_2016.parquet' JOIN '{folder}/games_2016.parquet' USING (game_id) GROUP BY game_id
        """)
        .to_arrow_table()
        .to_pandas()
    )
    assert gaps["raw"].median() == pytest.approx(421, abs=1)
    assert gaps["raw"].between(415, 430).mean() > 0.8
    assert gaps["mended"].median() == pytest.approx(1, abs=1)
