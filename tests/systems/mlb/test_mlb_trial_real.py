"""An A/B on real games from end to end: two bundles answer, outcomes come, the experiment is read out.

The trial is a hold-back: July's champion answers, June's bundle keeps 5 % of the games. Nothing is simulated but the
clock, which stands at each game's cut-off when the service is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from assets.factory import build_system
from forecastle.cli.main import app
from forecastle.contract.load import LoadedSystem
from forecastle.serve.in_process import InProcessService
from forecastle.serve.settings import Settings
from forecastle.store.home import Home
from resources.environment import resources_from
from resources.platform import Alerts, Platform

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mlb_trial_real")]

JUNE, JULY, NOVEMBER = (datetime(2016, *day, 12, tzinfo=UTC) for day in ((6, 1), (7, 1), (11, 6)))
CUTOFF = timedelta(minutes=20)
TRAINED = (
    "training_set",
    "parity",
    "models/lightgbm",
    "evaluation/lightgbm",
    "calibration/lightgbm",
    "comparison",
    "promotion",
)
READ = ("predictions", "outcomes", "experiment", "rollout")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class World:
    """The system in a home of its own on real files, at whatever time it is said to be."""

    system: LoadedSystem
    home: Path
    data: Path
    instance: dg.DagsterInstance

    def platform(self, now: datetime) -> Platform:
        return Platform(home=str(self.home), data=str(self.data), now=now.isoformat())

    def made(self, assets: Sequence[str], *, now: datetime) -> dg.ExecuteInProcessResult:
        """Materialise assets of the refresh job, as the page or the daemon would."""
        platform = self.platform(now)
        ours = {"platform": platform, "alerts": Alerts(platform=platform)}
        definitions = dg.Definitions.merge(
            dg.Definitions(resources=resources_from({}) | ours), build_system(self.system)
        )
        selection = [dg.AssetKey(["mlb", *asset.split("/")]) for asset in assets]
        job = definitions.resolve_job_def("mlb_refresh")
        return job.execute_in_process(run_config=QUIET, instance=self.instance, asset_selection=selection)

    def forecastle(self, *arguments: str, now: datetime) -> str:
        """What the command says."""
        told = {"FORECASTLE_HOME": str(self.home), "FORECASTLE_DATA": str(self.data), "FORECASTLE_NOW": now.isoformat()}
        result = CliRunner().invoke(app, list(arguments), env=told, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    def bundles(self) -> set[str]:
        return {folder.name for folder in Home(self.home).bundles("mlb").iterdir() if folder.is_dir()}


@dataclass(frozen=True)
class Trial:
    """Who was under trial, every receipt, and what the assets made of it."""

    champion: str
    challenger: str
    said: str
    receipts: list[dict[str, Any]]
    read: dg.ExecuteInProcessResult
    table: pd.DataFrame

    def told(self, asset: str) -> Mapping[str, Any]:
        """Metadata of an asset's materialisation."""
        (event,) = self.read.asset_materializations_for_node(f"mlb__{asset}")
        return {name: value.value for name, value in event.metadata.items()}


@pytest.fixture(scope="module")
def trial(mlb: LoadedSystem, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """Two trainings, `forecastle challenge`, every game from July on asked at its cut-off, outcomes, the read-out."""
    views = [*mlb.declaration.feature_views]
    online = [f"online/{name}" for name in views]
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(mlb, tmp_path_factory.mktemp("trial"), real_data, instance)
        tables = [*(f"source/{name}" for name in mlb.declaration.sources), *(f"features/{name}" for name in views)]
        world.made([*tables, *online, *TRAINED], now=JUNE)
        (first,) = world.bundles()
        world.made([*online, *TRAINED], now=JULY)
        champion = world.platform(JULY).registry().champion("mlb")
        assert champion is not None
        assert champion.bundle != first
        said = world.forecastle("challenge", "mlb", first, "--reason", "hold-back", now=JULY)
        # A game has no rows after its cut-off, so what is newest in November is what was newest at the cut-off.
        world.made(online, now=NOVEMBER)
        receipts = asked(world, since=JULY)
        read = world.made(READ, now=NOVEMBER)
        table = world.platform(NOVEMBER).warehouse().frame("mlb/experiment/all")
    return Trial(champion.bundle, first, said, receipts, read, table)


def asked(world: World, *, since: datetime) -> list[dict[str, Any]]:
    """Receipts of every game that starts later, each asked 20 minutes before."""
    games = world.platform(since).warehouse().frame("mlb/source/games").sort_values("start_ts")
    now = since
    settings = Settings("mlb", Home(world.home), None, lambda: now, poll_seconds=0.01)
    receipts = []
    with InProcessService(settings) as service:
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
    assert f"({row.control} and {row.treatment} entities): undecided" in trial.told("experiment")["reasons"]
    split = trial.read.get_asset_check_evaluations()
    assert {check.check_name: check.passed for check in split}["sample_ratio"]
    assert trial.told("rollout")["step"] == "hold"
    assert f"{row.treatment} answers have outcomes; phase 1 needs 500" in trial.told("rollout")["reasons"]
