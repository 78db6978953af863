"""`models/*`: one trained, calibrated, bundled and registered model for each declared one.

Belongs here: the asset and the check that its bundle loads and gives its golden rows again.
Does not belong here: training (`forecastle.learn`).
"""

from datetime import datetime
from typing import Any

import dagster as dg
import pandas as pd

from assets.describe import attributes, key, told_plainly
from forecastle.contract.load import LoadedSystem
from forecastle.draw.images import markdown_image
from forecastle.draw.importance import importance_bars
from forecastle.learn.build import BuiltModel, TrainingSetIdentity, build_model, test_rows
from forecastle.learn.bundle import load_bundle
from forecastle.learn.golden import golden_faults
from resources.platform import Platform


def build_model_asset(system: LoadedSystem, name: str) -> dg.AssetsDefinition:
    """The asset of one declared model."""
    declared = system.declaration.models[name]
    asset_key = key(system, "models", name)

    @dg.asset(
        **attributes(
            system,
            "models",
            name,
            description=declared.description or f"{declared.estimator} with its calibrator.",
            kinds={"lightgbm", "mlflow", "scikitlearn"},
            deps=[key(system, "training_set")],
            metadata={"estimator": declared.estimator, "features": ", ".join(system.declaration.model_features(name))},
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "bundle_loads",
                asset=asset_key,
                blocking=True,
                description="The bundle gives its golden rows, bit for bit.",
            )
        ],
    )
    def model_asset(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            built = train(platform, system, name, run_id=context.run.run_id)
            folder = platform.layout.bundles(system.name) / built.bundle
            faults = golden_faults(load_bundle(folder, expected_hash=built.bundle))
        check = dg.AssetCheckResult(
            asset_key=asset_key, check_name="bundle_loads", passed=not faults, metadata={"faults": list(faults)}
        )
        return dg.MaterializeResult(metadata=_metadata(built), check_results=[check])

    return model_asset


def train(platform: Platform, system: LoadedSystem, name: str, *, run_id: str) -> BuiltModel:
    """Build a model from the newest training set and publish what it says of its test rows."""
    identity, frame = read_training_set(platform, system)
    built = build_model(
        system,
        name,
        frame,
        identity=identity,
        tracking=platform.tracking(),
        bundles=platform.layout.bundles(system.name),
        trained_at=platform.clock(),
        dagster_run_id=run_id,
    )
    facts = {"bundle": built.bundle, "model_version": built.model_version, "mlflow_run_id": built.mlflow_run_id}
    platform.warehouse().publish(f"{system.name}/models/{name}", test_rows(frame, built), facts=facts)
    return built


def read_training_set(platform: Platform, system: LoadedSystem) -> tuple[TrainingSetIdentity, pd.DataFrame]:
    """The newest training set and which one it is."""
    warehouse = platform.warehouse()
    version = warehouse.resolve(f"{system.name}/training_set/all")
    known = datetime.fromisoformat(version.facts["knowledge_until"])
    identity = TrainingSetIdentity(version.version, version.content_hash, known, version.path)
    return identity, warehouse.frame(version)


def _metadata(built: BuiltModel) -> dict[str, Any]:
    trained = built.trained
    picture = markdown_image(importance_bars(trained.importances), label="Share of gain")
    return {
        "bundle": built.bundle,
        "model_version": built.model_version,
        "mlflow_run_id": built.mlflow_run_id,
        "calibrator": trained.calibrator.name,
        "start_from": trained.start_from or "base rate",
        "rounds": trained.rounds.rounds,
        "held_out_log_loss": trained.rounds.log_loss,
        "rows_trained": len(trained.split.train),
        "rows_purged": trained.split.purged,
        "importance": dg.MetadataValue.md(picture),
        "card": dg.MetadataValue.md(built.card),
    }
