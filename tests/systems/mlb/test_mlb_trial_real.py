"""An A/B on real games from end to end: two bundles answer, outcomes come, the experiment is read out.

The trial is a hold-back: July's champion answers, June's bundle keeps 5 % of the games. Nothing is simulated but the
clock, which stands at each game's cut-off when the service is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from tests.systems.world import World

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mlb_trial_real")]

JUNE, JULY, NOVEMBER = (datetime(2016, *day, 12, tzinfo=UTC) for day in ((6, 1), (7, 1), (11, 6)))
CUTOFF = timedelta(minutes=20)
READ = ("predictions", "outcomes", "experiment", "rollout")


@dataclass(frozen=True)
class Trial:
    """Who was under trial, every receipt, and what the assets made of it."""

    champion: str
    challenger: str
    said: str
    receipts: list[dict[str, Any]]
    table: pd.DataFrame
    experiment: Mapping[str, Any]
    rollout: Mapping[str, Any]
    checks: Mapping[str, bool]


@pytest.fixture(scope="module")
def trial(mlb: LoadedSystem, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """Two trainings, `forecastle challenge`, every game from July on asked at its cut-off, outcomes, the read-out."""
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(mlb, tmp_path_factory.mktemp("trial"), real_data, instance)
        world.made([*world.tables, *world.online, *world.training], now=JUNE)
        (first,) = world.bundles()
        world.made([*world.online, *world.training], now=JULY)
        champion = world.champion()
        assert champion != first
        said = world.forecastle("challenge", "mlb", first, "--reason", "hold-back", now=JULY)
        # A game has no rows after its cut-off, so what is newest in November is what was newest at the cut-off.
        world.made(world.online, now=NOVEMBER)
        receipts = asked(world, since=JULY)
        read = world.made(READ, now=NOVEMBER)
        told = (world.told(read, "experiment"), world.told(read, "rollout"))
        table = world.frame("experiment/all")
    checks = {check.check_name: check.passed for check in read.get_asset_check_evaluations()}
    return Trial(champion, first, said, receipts, table, *told, checks)


def asked(world: World, *, since: datetime) -> list[dict[str, Any]]:
    """Receipts of every game that starts later, each asked 20 minutes before."""
    games = world.frame("source/games").sort_values("start_ts")
    now, receipts = since, []
    with world.service(lambda: now) as service:
        for game in games[games["start_ts"] > pd.Timestamp(since + CUTOFF)].itertuples():
            now = (game.start_ts - CUTOFF).to_pydatetime()
            receipts.append(service.post("/predict", {"entity": {"game_id": game.game_id}}).body)
    return receipts


def test_both_bundles_answer_their_games(trial: Trial) -> None:
    """About one game in twenty is the challenger's, by its bundle; nobody is left without an answer."""
    assert "is under trial for 5% of the entities" in trial.said
    by = {receipt["entity"]["game_id"]: (receipt["variant"], receipt["model"]["bundle"]) for receipt in trial.receipts}
    assert set(by.values()) == {("champion", trial.champion), ("challenger", trial.challenger)}
    kept = sum(variant == "challenger" for variant, _ in by.values())
    assert len(by) > 1_250
    assert abs(kept - 0.05 * len(by)) < 4 * np.sqrt(0.05 * 0.95 * len(by))


def test_the_experiment_is_what_one_counts_by_hand(trial: Trial, real_data: Path) -> None:
    """Mean Brier score of each arm from receipts and the real results; the interval holds their difference and zero."""
    results = pd.read_parquet(real_data / "mlb" / "team_games_2015_2016.parquet")
    home = results[(results["team_alignment"] == 1) & (results["r_w"] + results["r_l"] == 1)]
    won = dict(zip(home["game_key"], home["r_w"].astype(float), strict=True))
    errors: dict[str, list[float]] = {"champion": [], "challenger": []}
    for receipt in trial.receipts:
        game = receipt["entity"]["game_id"]
        if game in won:  # four were called off
            errors[receipt["variant"]].append((receipt["probability"] - won[game]) ** 2)
    (row,) = trial.table.itertuples()
    assert (row.metric, row.control, row.treatment) == ("brier", len(errors["champion"]), len(errors["challenger"]))
    assert row.difference == pytest.approx(np.mean(errors["challenger"]) - np.mean(errors["champion"]))
    assert row.low < 0 < row.high
    assert row.low < row.difference < row.high


def test_half_a_season_s_twentieth_decides_nothing(trial: Trial) -> None:
    """The interval is wider than anything that two models of this market differ by, and every asset says so."""
    (row,) = trial.table.itertuples()
    assert row.verdict == "undecided"
    assert row.high - row.low > 0.05
    assert f"({row.control} and {row.treatment} entities): undecided" in trial.experiment["reasons"]
    assert trial.checks["sample_ratio"]
    assert trial.rollout["step"] == "hold"
    assert f"{row.treatment} answers have outcomes; phase 1 needs 500" in trial.rollout["reasons"]
