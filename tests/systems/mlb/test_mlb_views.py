"""The feature views of mlb: line movement by hand, the cut-off, and form that knows finished games only."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from tests.systems.mlb.conftest import START, Lined, run_sql


def test_line_movement_by_hand(lined: Lined) -> None:
    """-110 / +102 is 0.5238 and 0.4950 of the payout, 0.5141 without margin; -130 / +120 is 0.5652, 0.4545: 0.5543."""
    rows = lined([(300, -110, 102), (100, -130, 120)])
    first, last = (110 / 210) / (110 / 210 + 100 / 202), (130 / 230) / (130 / 230 + 100 / 220)
    assert rows["market_probability"].tolist() == pytest.approx([first, last])
    assert rows["line_move"].tolist() == pytest.approx([0.0, last - first])
    assert rows["line_velocity_1h"].tolist() == pytest.approx([0.0, last - first])
    assert rows["reverse_line_move"].tolist() == pytest.approx([0.0, first - last])
    assert rows["starts_at_seconds"].tolist() == [START.timestamp()] * 2


def test_velocity_looks_back_one_hour(lined: Lined) -> None:
    """The line of 90 minutes before stood an hour before that of 30 minutes before; that of 60 was no hour old."""
    rows = lined([(200, 100, -110), (90, -105, -105), (60, -150, 140), (30, -120, 110)])
    at_90, at_30 = rows["market_probability"][1], rows["market_probability"][3]
    assert rows["line_velocity_1h"][3] == pytest.approx(at_30 - at_90)


def test_steam_is_three_moves_to_one_side_within_half_an_hour(lined: Lined) -> None:
    """Counted from the third on, below zero against the home team, and nothing once a move goes back."""
    up = lined([(200, -100, -100), (130, -105, 100), (120, -110, 105), (110, -115, 108), (105, -112, 105)])
    assert up["steam_moves"].tolist() == [0, 0, 0, 3, 0]
    down = lined([(200, -115, 108), (130, -110, 105), (120, -105, 100), (110, 100, -105)])
    assert down["steam_moves"].tolist() == [0, 0, 0, -3]


def test_nothing_after_the_cut_off_reaches_a_feature(lined: Lined) -> None:
    """A line exactly 20 minutes before the start is the last one that counts."""
    rows = lined([(300, -110, 102), (20, -120, 110), (19.9, -400, 330), (-5, -900, 600)])
    assert rows["ml_home"].tolist() == [-110, -120]


def test_a_suspended_market_keeps_its_line_and_the_last_of_one_instant_holds(lined: Lined) -> None:
    """Null moneylines are no lines; of two at the same instant the later number stands."""
    rows = lined([(300, -110, 102), (200, None, None), (100, -120, 110), (100, -125, 115)])
    assert rows["ml_home"].tolist() == [-110, -125]


def test_a_line_is_known_once_its_game_is(lined: Lined) -> None:
    """The game was announced a day before: an earlier line is known then."""
    rows = lined([(3_000, -110, 102), (300, -112, 104)])
    assert (START - rows["known_at"]).tolist() == [timedelta(days=1), timedelta(minutes=300)]


def test_form_knows_finished_games_only(mlb: LoadedSystem, real_games: duckdb.DuckDBPyConnection) -> None:
    """Scores of games that were not known at a row's moment are turned round: no feature of that moment moves."""
    moment = datetime.fromisoformat("2016-07-01T12:00:00+00:00")
    before = {file: _known(run_sql(mlb, real_games, file), moment) for file in ("team_form.sql", "starter_form.sql")}
    changed = real_games.cursor()
    changed.execute("BEGIN")
    changed.execute(f"UPDATE team_games SET r_w = 1 - r_w, b_r = b_r + 50 WHERE known_at > '{moment}'")
    changed.execute(f"UPDATE game_logs SET home_score = 99, away_score = 99 WHERE known_at > '{moment}'")
    after = {file: _known(run_sql(mlb, changed, file), moment) for file in before}
    changed.execute("ROLLBACK")
    for file, rows in before.items():
        assert len(rows) > 1_000
        # The cursor's zone has another name for UTC.
        pd.testing.assert_frame_equal(rows, after[file], check_dtype=False)


def test_rest_is_whole_days_off(mlb: LoadedSystem, real_games: duckdb.DuckDBPyConnection) -> None:
    """An independent count from the calendar, for single games of July and August at their cut-off."""
    rows = run_sql(mlb, real_games, "team_form.sql").sort_values("known_at").drop_duplicates("game_id", keep="last")
    played = real_games.sql("SELECT game_date, team_key FROM team_games").to_arrow_table().to_pandas()
    dates = played.assign(day=pd.to_datetime(played["game_date"]).dt.date).groupby("team_key")["day"].apply(set)
    checked = 0
    for row in rows.itertuples():
        if row.game_id[7:9] not in {"07", "08"} or not row.game_id.endswith("0"):
            continue
        day = date.fromisoformat(f"{row.game_id[3:7]}-{row.game_id[7:9]}-{row.game_id[9:11]}")
        off = next(n for n in range(1, 20) if day - timedelta(days=n) in dates[row.game_id[:3]]) - 1
        assert row.rest_days_home == min(off, 7)
        checked += 1
    assert checked > 700


def test_parks_differ_as_they_are_known_to(mlb: LoadedSystem, real_games: duckdb.DuckDBPyConnection) -> None:
    """Denver's thin air gives most runs; Los Angeles is among the three parks that give fewest."""
    rows = run_sql(mlb, real_games, "team_form.sql")
    factor = rows.groupby(rows["game_id"].str[:3])["park_factor"].mean().drop("NL2", errors="ignore").sort_values()
    assert factor.index[-1] == "COL"
    assert "LAN" in factor.index[:3]


def test_starters_are_found_by_initial_and_surname(mlb: LoadedSystem, real_games: duckdb.DuckDBPyConnection) -> None:
    """Nearly every starter has a past from May on; Kershaw's is better than the average of 4.5 runs."""
    rows = run_sql(mlb, real_games, "starter_form.sql").merge(
        real_games.sql("SELECT * FROM games").to_arrow_table().to_pandas(), on="game_id"
    )
    late = rows[rows["start_ts"] > pd.Timestamp("2016-05-01", tz="UTC")]
    assert np.mean(late["starter_runs_home"] != 4.5) > 0.95
    assert late.loc[late["home_sp"] == "C KERSHAW", "starter_runs_home"].max() < 3.6


def test_the_second_game_of_a_day_has_one_row_a_moment(
    mlb: LoadedSystem, real_games: duckdb.DuckDBPyConnection
) -> None:
    """Doubleheaders are two games: no view or label has one of them twice."""
    for file in ("team_form.sql", "starter_form.sql", "line_movement.sql"):
        rows = run_sql(mlb, real_games, file)
        assert not rows.duplicated(["game_id", "event_at", "known_at"]).any()
        assert {"1", "2"} <= set(rows["game_id"].str[-1])


def _known(rows: pd.DataFrame, at: datetime) -> pd.DataFrame:
    """Rows known at a moment, in one order."""
    kept = rows[rows["known_at"] <= pd.Timestamp(at)]
    return kept.sort_values(["game_id", "known_at"], ignore_index=True)
