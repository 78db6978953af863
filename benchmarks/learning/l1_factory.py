"""L1: fifty LightGBM and scikit-learn models, 20,000 rows × 30 features, from declaration to bundle, MLflow and card.

    python -m benchmarks.learning.l1_factory --models 50

Target: five minutes on two cores, and of our own (all but the estimators' fits) less than 1.5 s a model. Core seconds
are those of this process and its children, so that other work on the machine does not count; the fits' are taken in a
second pass in one process, and what is left of the first pass, imports included, is ours.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from assets.factory import build_system
from benchmarks.learning.world import NAME, NOW, estimators, plant_rows, write_plant
from benchmarks.table import print_table
from forecastle.contract.load import LoadedSystem
from forecastle.learn import cross_fit, train
from forecastle.learn.build import learn_model
from forecastle.learn.factory import cores
from resources.environment import resources_from
from resources.platform import Alerts, Platform

TARGET_SECONDS, OVERHEAD_SECONDS = 300.0, 1.5


def main() -> None:
    """Make every model through the Dagster asset that a user materialises."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    linear = options.models // 5
    models = f"  many:\n    matrix:\n      estimators:\n{estimators(options.models - linear, linear)}\n"
    with tempfile.TemporaryDirectory() as folder:
        system = write_plant(Path(folder) / "systems", models=models)
        frame = plant_rows(options.rows)
        seconds, core_seconds, made = materialised(system, Path(folder) / "home", frame)
        fits = fit_seconds(system, frame)
    overhead = (core_seconds - fits) / options.models
    rows = [
        {
            "models": options.models,
            "made": made,
            "wall, s": seconds,
            "target, s": TARGET_SECONDS,
            "all, core s": core_seconds,
            "fits alone, core s": fits,
            "own core s a model": overhead,
            "target, s a model": OVERHEAD_SECONDS,
            "cores": cores(),
        }
    ]
    print_table("L1: the factory", rows, packages=("lightgbm", "scikit-learn", "mlflow", "dagster"))


def materialised(system: LoadedSystem, home: Path, frame: Any) -> tuple[float, float, int]:
    """Wall and core seconds of one run of `factory/many` and `comparison`, and how many models it made."""
    platform = Platform(home=str(home), now=NOW.isoformat())
    platform.warehouse().publish(f"{NAME}/training_set/all", frame, facts={"knowledge_until": NOW.isoformat()})
    resources = resources_from({}) | {"platform": platform, "alerts": Alerts(platform=platform)}
    definitions = dg.Definitions.merge(dg.Definitions(resources=resources), build_system(system))
    job = definitions.resolve_job_def(f"{NAME}_refresh")
    keys = [dg.AssetKey([NAME, "factory", "many"]), dg.AssetKey([NAME, "comparison"])]
    with dg.DagsterInstance.ephemeral() as instance:
        began, cores_began = time.perf_counter(), core_seconds()
        result = job.execute_in_process(instance=instance, asset_selection=keys)
        seconds, spent = time.perf_counter() - began, core_seconds() - cores_began
    events = [event for event in result.all_events if event.is_step_materialization]
    return seconds, spent, sum(event.asset_key == dg.AssetKey([NAME, "models", "many"]) for event in events)


def core_seconds() -> float:
    """Spent so far by this process and by its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def fit_seconds(system: LoadedSystem, frame: Any) -> float:
    """Seconds that the estimators of all models spend in their fits, one after the other in this process."""
    total = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*given: Any, **named: Any) -> Any:
            nonlocal total
            began = time.process_time()
            found = function(*given, **named)
            total += time.process_time() - began
            return found

        return inner

    train.fit, cross_fit.fit = timed(train.fit), timed(cross_fit.fit)
    for name in system.declaration.models:
        learn_model(system, name, frame)
    return total


if __name__ == "__main__":
    main()
