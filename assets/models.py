"""`models/*`: one trained, calibrated, bundled and registered model for each declared one.

Belongs here: the asset and the check that its bundle loads and gives its golden rows again.
Does not belong here: training (`forecastle.learn`).
"""

import json
from datetime import datetime
from typing import Any

import dagster as dg
import pandas as pd

from assets.describe import attributes, key, told_plainly
from assets.shown import shown_table
from forecastle.contract.load import LoadedSystem
from forecastle.draw.images import markdown_image
from forecastle.draw.importance import importance_bars
from forecastle.learn.build import BuiltModel, Recording, TrainingSetIdentity, build_model, model_rows, test_rows
from forecastle.learn.bundle import CARD_PAGE, load_bundle
from forecastle.learn.choose import held_out_rows
from forecastle.learn.golden import golden_faults
from forecastle.learn.inputs import inputs_hash
from forecastle.store.training_set import snapshot_hash
from resources.platform import Platform

INPUTS = "inputs"
"""Fact of a model's table: the hash of all that the model was made of."""


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
        check_specs=[bundle_loads_spec(asset_key)],
    )
    def model_asset(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            return trained_result(platform, system, name, asset_key=asset_key, run_id=context.run.run_id)

    return model_asset


def bundle_loads_spec(asset_key: dg.AssetKey) -> dg.AssetCheckSpec:
    """What the check promises."""
    description = "The bundle gives its golden rows, bit for bit."
    return dg.AssetCheckSpec("bundle_loads", asset=asset_key, blocking=True, description=description)


def trained_result(
    platform: Platform, system: LoadedSystem, name: str, *, asset_key: dg.AssetKey, run_id: str
) -> dg.MaterializeResult:
    """Train one model and prove that its bundle loads."""
    built = train(platform, system, name, run_id=run_id)
    faults = bundle_faults(platform, system, built)
    check = dg.AssetCheckResult(
        asset_key=asset_key, check_name="bundle_loads", passed=not faults, metadata={"faults": list(faults)}
    )
    return dg.MaterializeResult(metadata=model_metadata(platform, system, built), check_results=[check])


def bundle_faults(platform: Platform, system: LoadedSystem, built: BuiltModel) -> tuple[str, ...]:
    """What the bundle on disk does not give again of its golden rows."""
    folder = platform.layout.bundles(system.name) / built.bundle
    return golden_faults(load_bundle(folder, expected_hash=built.bundle))


def train(platform: Platform, system: LoadedSystem, name: str, *, run_id: str) -> BuiltModel:
    """Build a model from the newest training set and publish what it says of its test rows."""
    identity, frame = read_training_set(platform, system)
    built = build_model(system, name, frame, recording(platform, system, identity, run_id=run_id))
    publish_model(platform, system, built, frame, identity=identity)
    return built


def recording(platform: Platform, system: LoadedSystem, identity: TrainingSetIdentity, *, run_id: str) -> Recording:
    """Where the platform records a model of this training set, now, for this run."""
    return Recording(
        identity, platform.tracking(), platform.layout.bundles(system.name), platform.clock(), dagster_run_id=run_id
    )


def publish_model(
    platform: Platform, system: LoadedSystem, built: BuiltModel, frame: pd.DataFrame, *, identity: TrainingSetIdentity
) -> None:
    """Publish what a model says of its test rows, and what it said of training rows that it had not seen."""
    facts = {
        "bundle": built.bundle,
        "model_version": built.model_version,
        "mlflow_run_id": built.mlflow_run_id,
        "training_set_hash": identity.content_hash,
        INPUTS: inputs_hash(system, identity),
        "importances": json.dumps(built.trained.importances.to_dict("list")),
    }
    warehouse = platform.warehouse()
    held_out = held_out_rows(system, built.trained, frame).assign(bundle=built.bundle)
    warehouse.publish(f"{system.name}/held_out/{built.name}", held_out, facts=facts)
    rows = test_rows(model_rows(system, built.name, frame), built)
    warehouse.publish(f"{system.name}/models/{built.name}", rows, facts=facts)


def read_training_set(platform: Platform, system: LoadedSystem) -> tuple[TrainingSetIdentity, pd.DataFrame]:
    """The newest training set and which one it is."""
    warehouse = platform.warehouse()
    version = warehouse.resolve(f"{system.name}/training_set/all")
    known = datetime.fromisoformat(version.facts["knowledge_until"])
    identity = TrainingSetIdentity(
        version.version, version.content_hash, known, version.path, snapshot_hash=snapshot_hash(version)
    )
    return identity, warehouse.frame(version)


def model_metadata(platform: Platform, system: LoadedSystem, built: BuiltModel) -> dict[str, Any]:
    """What the UI shows of a model: its bundle, how it was made, what it looks at, its card."""
    picture = markdown_image(importance_bars(built.trained.importances), label="Share of gain")
    return brief_metadata(platform, system, built) | {"importance": dg.MetadataValue.md(picture)}


def brief_metadata(platform: Platform, system: LoadedSystem, built: BuiltModel) -> dict[str, Any]:
    """The same without a picture, for one model of many."""
    trained = built.trained
    page = platform.layout.bundles(system.name) / built.bundle / CARD_PAGE
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
        "importance": shown_table(trained.importances.head(10)),
        "card": dg.MetadataValue.md(built.card.markdown),
        "card_page": dg.MetadataValue.path(str(page)),
    }
