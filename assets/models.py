"""`models/*`: one trained, calibrated, bundled and registered model for each declared one.

Belongs here: the asset and the check that its bundle loads and gives its golden rows again.
Does not belong here: training (`forecastle.learn`).
"""

from datetime import datetime

import dagster as dg
import pandas as pd

from assets.describe import attributes, key, told_plainly
from forecastle.contract.load import LoadedSystem
from forecastle.draw.images import markdown_image
from forecastle.draw.importance import importance_bars
from forecastle.learn.build import TrainingSetIdentity, build_model, test_rows
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
            warehouse = platform.warehouse()
            identity, frame = read_training_set(platform, system)
            bundles = platform.layout.bundles(system.name)
            built = build_model(
                system, name, frame, identity=identity, tracking=platform.tracking(), bundles=bundles,
                trained_at=platform.clock(), dagster_run_id=context.run.run_id,
            )  # fmt: skip
            facts = {"bundle": built.bundle, "model_version": built.model_version, "mlflow_run_id": built.mlflow_run_id}
            warehouse.publish(f"{system.name}/models/{name}", test_rows(frame, built), facts=facts)
            faults = golden_faults(load_bundle(bundles / built.bundle, expected_hash=built.bundle))
        check = dg.AssetCheckResult(
            asset_key=asset_key, check_name="bundle_loads", passed=not faults, metadata={"faults": list(faults)}
        )
        metadata = {
            "bundle": built.bundle,
            "model_version": built.model_version,
            "mlflow_run_id": built.mlflow_run_id,
            "training_set": identity.content_hash,
            "calibrator": built.trained.calibrator.name,
            "start_from": built.trained.start_from or "base rate",
            "rounds": built.trained.rounds.rounds,
            "held_out_log_loss": built.trained.rounds.log_loss,
            "rows_trained": len(built.trained.split.train),
            "rows_purged": built.trained.split.purged,
            "importance": dg.MetadataValue.md(
                markdown_image(importance_bars(built.trained.importances), label="Share of gain")
            ),
            "card": dg.MetadataValue.md(built.card),
        }
        return dg.MaterializeResult(metadata=metadata, check_results=[check])

    return model_asset


def read_training_set(platform: Platform, system: LoadedSystem) -> tuple[TrainingSetIdentity, pd.DataFrame]:
    """The newest training set and which one it is."""
    warehouse = platform.warehouse()
    version = warehouse.resolve(f"{system.name}/training_set/all")
    known = datetime.fromisoformat(version.facts["knowledge_until"])
    identity = TrainingSetIdentity(version.version, version.content_hash, known, version.path)
    return identity, warehouse.frame(version)
