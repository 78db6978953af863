"""One run of a factory of four small models, in a process that a test may kill.

    python -m tests.assets.killed_factory FOLDER    prints the name of each model that it trained

The second model waits for a line of input, so that a kill finds the factory half-way.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import dagster as dg

from assets.factory import build_system
from forecastle.contract.load import LoadedSystem
from forecastle.learn import build
from forecastle.learn.bundle import BundleParts
from resources.environment import resources_from
from resources.platform import Alerts, Platform
from tests.learn.ferries import NOW
from tests.learn.fleet import fleet_frame, write_fleet

MODELS = ("trees__0__short", "trees__0__long", "trees__1__short", "trees__1__long")


def main(folder: Path) -> bool:
    """Publish the training set and materialise `factory/trees`."""
    system, platform = write_fleet(folder / "systems"), platform_of(folder)
    facts = {"knowledge_until": NOW.isoformat()}
    platform.warehouse().publish("ferries/training_set/all", fleet_frame(600), facts=facts)
    slow_down()
    folder.joinpath("dagster").mkdir(exist_ok=True)
    with dg.DagsterInstance.local_temp(str(folder / "dagster")) as instance:
        return materialised(system, platform, instance)


def materialised(system: LoadedSystem, platform: Platform, instance: dg.DagsterInstance, *asset: str) -> bool:
    """Run one asset, by default the factory; true when it was made."""
    resources = resources_from({}) | {"platform": platform, "alerts": Alerts(platform=platform)}
    definitions = dg.Definitions.merge(dg.Definitions(resources=resources), build_system(system))
    job, key = (
        definitions.resolve_job_def("ferries_refresh"),
        dg.AssetKey(["ferries", *(asset or ("factory", "trees"))]),
    )
    return job.execute_in_process(instance=instance, asset_selection=[key], raise_on_error=False).success


def platform_of(folder: Path) -> Platform:
    """The home of one test."""
    return Platform(home=str(folder / "home"), now=NOW.isoformat())


def slow_down() -> None:
    """Say each model that was trained; registering the second waits for leave, with its MLflow run open."""
    register, trained = build._register, []

    def registering(parts: BundleParts, recording: build.Recording, **told: Any) -> tuple[str, str]:
        trained.append(parts.facts["model"])
        sys.stdout.write(f"trained {trained[-1]}\n")
        sys.stdout.flush()
        if len(trained) == 2:
            sys.stdin.readline()
        return register(parts, recording, **told)

    build._register = registering


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(0 if main(Path(sys.argv[1])) else 1)
