"""A system on recorded data in a home of its own, materialised and asked at whatever time it is said to be.

Belongs here: what tests need that live through some months of a recording.
Does not belong here: anything that knows one system by name; what stands still in time (`sources.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
from typer.testing import CliRunner

from assets.factory import build_system
from forecastle.cli.main import app
from forecastle.contract.load import LoadedSystem
from forecastle.serve.in_process import InProcessService
from forecastle.serve.settings import Settings
from forecastle.store.home import Home
from resources.environment import resources_from
from resources.platform import Alerts, Platform

LONG_AFTER = datetime(2100, 1, 1, tzinfo=UTC)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class World:
    """One system, its home, its recorded data, and the instance that keeps its runs."""

    system: LoadedSystem
    home: Path
    data: Path
    instance: dg.DagsterInstance

    def platform(self, now: datetime) -> Platform:
        return Platform(home=str(self.home), data=str(self.data), now=now.isoformat())

    @property
    def tables(self) -> list[str]:
        """Assets of its sources and views."""
        declared = self.system.declaration
        return [*(f"source/{n}" for n in declared.sources), *(f"features/{n}" for n in declared.feature_views)]

    @property
    def online(self) -> list[str]:
        """Assets that push its views to the online store."""
        return [f"online/{name}" for name in self.system.declaration.feature_views]

    @property
    def training(self) -> list[str]:
        """Assets from the training set to the gates' decision; the reports, which no gate reads, cost most."""
        kinds = ("models", "evaluation")
        models = [f"{kind}/{name}" for name in self.system.declaration.models for kind in kinds]
        return ["training_set", "parity", *models, "comparison", "promotion"]

    def made(self, assets: Sequence[str], *, now: datetime) -> dg.ExecuteInProcessResult:
        """Materialise assets of the refresh job, as Dagster's page or daemon would."""
        platform = self.platform(now)
        resources = resources_from({}) | {"platform": platform, "alerts": Alerts(platform=platform)}
        built = build_system(self.system)
        job = dg.Definitions.merge(dg.Definitions(resources=resources), built).resolve_job_def(f"{self.name}_refresh")
        keys = [dg.AssetKey([self.name, *asset.split("/")]) for asset in assets]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return job.execute_in_process(run_config=QUIET, instance=self.instance, asset_selection=keys)

    def told(self, ran: dg.ExecuteInProcessResult, asset: str) -> Mapping[str, Any]:
        """Metadata of an asset that a run made, of its newest partition where it has some."""
        *_, event = ran.asset_materializations_for_node("__".join([self.name, *asset.split("/")]))
        return {name: value.value for name, value in event.metadata.items()}

    def forecastle(self, *arguments: str, now: datetime) -> str:
        """What the command says."""
        told = {"FORECASTLE_HOME": str(self.home), "FORECASTLE_DATA": str(self.data), "FORECASTLE_NOW": now.isoformat()}
        result = CliRunner().invoke(app, list(arguments), env=told, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    def service(self, clock: Callable[[], datetime]) -> InProcessService:
        """The prediction service, to be entered."""
        return InProcessService(Settings(self.name, Home(self.home), None, clock, poll_seconds=0.01))

    def frame(self, table: str) -> pd.DataFrame:
        """The newest rows of a table such as "experiment/all"."""
        return self.platform(LONG_AFTER).warehouse().frame(f"{self.name}/{table}")

    def bundles(self) -> set[str]:
        """Hashes of every bundle that was made."""
        return {folder.name for folder in Home(self.home).bundles(self.name).iterdir() if folder.is_dir()}

    def champion(self) -> str:
        """The champion's hash."""
        champion = self.platform(LONG_AFTER).registry().champion(self.name)
        assert champion is not None, "the gates refused every bundle"
        return champion.bundle

    @property
    def name(self) -> str:
        return self.system.name
