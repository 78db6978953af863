"""A small world in which the whole graph of prediction markets runs in seconds, in this process.

Belongs here: making and copying such a world, running a part of its graph, what is in its home folder.
Does not belong here: tests.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from assets.factory import build_system
from assets.failures import reason
from forecastle.contract.load import LoadedSystem, load_system
from forecastle.store.delta_log import TableVersion
from resources.environment import resources_from
from resources.platform import Alerts, Platform

FOLDER = Path(__file__).parents[2] / "platform" / "systems" / "prediction_markets"
NAME = "prediction_markets"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SEED = 11


@dataclass(frozen=True)
class World:
    """One system with a data folder, a home folder and a Dagster instance of its own."""

    system: LoadedSystem
    data: Path
    home: Path
    instance: dg.DagsterInstance

    @property
    def platform(self) -> Platform:
        return Platform(home=str(self.home), data=str(self.data), now=NOW.isoformat())

    @property
    def definitions(self) -> dg.Definitions:
        ours = {"platform": self.platform, "alerts": Alerts(platform=self.platform)}
        resources = resources_from({}) | ours
        return dg.Definitions.merge(dg.Definitions(resources=resources), build_system(self.system))

    def run(self, *assets: str) -> dg.ExecuteInProcessResult:
        """Run the refresh job, or only the named assets of it ("features/market_quotes")."""
        job = self.definitions.resolve_job_def(f"{NAME}_refresh")
        selection = [dg.AssetKey([NAME, *asset.split("/")]) for asset in assets] or None
        with warnings.catch_warnings():
            # What libraries warn each other of is theirs; what our own lines are warned of is an error.
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", module=r"(forecastle|assets|resources)\b")
            return job.execute_in_process(instance=self.instance, asset_selection=selection, raise_on_error=False)

    def copy(self, folder: Path, *, instance: dg.DagsterInstance) -> World:
        """The same state elsewhere, source files too: tests may break it.

        MLflow stays behind: its database names files by absolute path.
        """
        shutil.copytree(self.data, folder / "data")
        shutil.copytree(self.home, folder / "home", ignore=shutil.ignore_patterns("mlflow", "bentoml"))
        return replace(self, data=folder / "data", home=folder / "home", instance=instance)

    def declared_by(self, system: LoadedSystem) -> World:
        """The same state under another declaration."""
        return replace(self, system=system)

    def newest(self, table: str) -> TableVersion:
        """The newest version of a table such as "source/quotes"."""
        return self.platform.warehouse().resolve(f"{NAME}/{table}")

    def files(self) -> dict[str, str]:
        """SHA-256 of every file a reader could see: tables, bundles, pointer, online rows, registry."""
        return {
            path.relative_to(self.home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.home.rglob("*"))
            if path.is_file() and not path.name.startswith(".") and path.suffix not in {".db", ".sqlite-shm"}
        }


def small_system() -> LoadedSystem:
    """Prediction markets with margins as wide as the intervals of a small test set are; nothing else is changed."""
    system = load_system(FOLDER)
    gates = system.declaration.gates.model_copy(update={"brier_margin": 0.05, "champion_margin": 0.05})
    return replace(system, declaration=system.declaration.model_copy(update={"gates": gates}))


def make_data(data: Path) -> Path:
    """A data folder with the source files of a world of 600 markets."""
    simulate = load_system(FOLDER).function("simulate:world")
    simulate(data / NAME, seed=SEED, now=NOW, markets=600, days=300)
    return data


def failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """What each failed step said of itself, as `forecastle run` would show it."""
    return {
        str(event.step_key).removeprefix(f"{NAME}__").replace("__", "/"): reason(event)
        for event in result.all_events
        if event.event_type_value == "STEP_FAILURE"
    }


def assets_made(result: dg.ExecuteInProcessResult) -> set[str]:
    """The assets that a run materialised."""
    keys = (event.asset_key for event in result.get_asset_materialization_events())
    return {"/".join(key.path[1:]) for key in keys if key is not None}


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Metadata of one materialisation: plain values where there are any."""
    key = dg.AssetKey([NAME, *asset.split("/")])
    events = [event for event in result.get_asset_materialization_events() if event.asset_key == key]
    return {name: value.value for name, value in events[-1].materialization.metadata.items()}


def checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """Every evaluated check by asset and name."""
    return {("/".join(e.asset_key.path[1:]), e.check_name): e for e in result.get_asset_check_evaluations()}
