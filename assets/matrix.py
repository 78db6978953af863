"""The assets of a matrix: `models/NAME`, `evaluation/NAME` and `calibration/NAME` with a partition a model, and
`factory/NAME`, which makes all of their partitions side by side.

Belongs here: the four assets, one event for each model and stage, failures that stay one model's.
Does not belong here: training in processes (`forecastle.learn.factory`), one model by itself (`models.py`).
Definitions with a thousand models load as quickly as with one: models are partitions, not assets.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pandas as pd

from assets.describe import attributes, key, told_plainly
from assets.evaluation import brief_calibration, calibrated, evaluated
from assets.kept_models import bundle_of, ended_with, kept_metadata, kept_models, publish_end
from assets.models import (
    brief_metadata,
    bundle_faults,
    bundle_loads_spec,
    publish_model,
    read_training_set,
    recording,
    trained_result,
)
from assets.reports import miscalibration_spec
from forecastle.contract.errors import ForecastleError
from forecastle.contract.load import LoadedSystem
from forecastle.learn.build import BuiltModel, TrainingSetIdentity, model_rows, test_rows
from forecastle.learn.factory import FailedModel, build_models, cores
from forecastle.learn.inputs import inputs_hash
from resources.platform import Platform

STAGES = ("models", "evaluation", "calibration")
EVERY_MODEL_CHECK = "every_model_made"


@dataclass(frozen=True)
class Group:
    """One declared matrix of a system and the names of its models."""

    system: LoadedSystem
    name: str
    models: tuple[str, ...]

    def key(self, stage: str) -> dg.AssetKey:
        """Key of one of its assets."""
        return key(self.system, stage, self.name)


def groups_of(system: LoadedSystem) -> list[Group]:
    """Every matrix of a system."""
    return [Group(system, name, models) for name, models in system.declaration.model_groups().items()]


def partitioned_keys(system: LoadedSystem) -> list[dg.AssetKey]:
    """Assets with a partition a model, or a cut of the backtest: the refresh job makes them through `factory/NAME` and
    `backtest`, not by themselves.

    One job can hold assets of one kind of partitions only, and one run of it makes all of the models.
    """
    cuts = key(system, "backtest_cut")
    return [*(group.key(stage) for group in groups_of(system) for stage in STAGES), cuts]


def build_group(group: Group) -> list[dg.AssetsDefinition]:
    """The four assets of one matrix."""
    partitions = dg.StaticPartitionsDefinition(list(group.models))
    return [_factory(group), *(_stage(group, stage, partitions) for stage in STAGES)]


def _factory(group: Group) -> dg.AssetsDefinition:
    system, asset_key = group.system, group.key("factory")

    @dg.asset(
        **attributes(
            system,
            "factory",
            group.name,
            description=f"Trains, evaluates and calibrates all {len(group.models)} models of {group.name} side by "
            "side; each is a partition of models, evaluation and calibration. Those of the same declaration and "
            "training set that `comparison` has not judged yet are kept, not trained again.",
            kinds={"mlflow"},
            deps=[key(system, "training_set")],
        ),
        check_specs=[
            dg.AssetCheckSpec(EVERY_MODEL_CHECK, asset=asset_key, description="Every model of the matrix was made.")
        ],
    )
    def factory_asset(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        failed, kept = [], 0
        for number, made in enumerate(_made(platform, group, run_id=context.run.run_id), start=1):
            if isinstance(made, FailedModel):
                failed.append(made)
                context.log.error("%s failed: %s", made.name, made.reason)
                context.log_event(not_of_newest(group, made.name, f"failed: {made.reason}"))
            else:
                kept += "kept" in made[0].metadata
                for event in made:
                    context.log_event(event)
            context.log.info("%d of %d models are done", number, len(group.models))
        reasons = {one.name: one.reason or "no reason is known" for one in failed}
        publish_end(platform, system, group.name, models=group.models, reasons=reasons)
        return _told(group, failed, kept=kept)

    return factory_asset


def not_of_newest(group: Group, model: str, reason: str) -> dg.AssetObservation:
    """Says on the partition's own page that the newest training has no such model: it may be green from before."""
    told = {"of_newest_training": False, "reason": reason}
    return dg.AssetObservation(group.key("models"), partition=model, metadata=told)


def failed_models(platform: Platform, system: LoadedSystem) -> dict[str, str]:
    """Why each model failed in the newest run of its factory; one that was made by itself since is not among them."""
    return {
        row["model"]: row["reason"]
        for group in groups_of(system)
        for row in ended_with(platform, system, group.name)
        if row["reason"] and row["model"] in group.models and bundle_of(platform, system, row["model"]) == row["bundle"]
    }


def _made(
    platform: Platform, group: Group, *, run_id: str
) -> Iterator[FailedModel | Sequence[dg.AssetMaterialization]]:
    """Each model trained, published, evaluated and calibrated, as it comes; first those that a stopped run left."""
    system = group.system
    with told_plainly():
        identity, frame = read_training_set(platform, system)
        platform.tracking().end_killed_runs()
        kept = kept_models(platform, system, group.models, inputs=inputs_hash(system, identity))
        for model in kept:
            yield _materialized(group, model.name, kept_metadata(platform, system, model))
        names = [name for name in group.models if name not in {model.name for model in kept}]
        record = recording(platform, system, identity, run_id=run_id)
        building = build_models(system, names, frame, record, processes=cores())
        for built in building if names else ():
            try:
                yield built if isinstance(built, FailedModel) else _recorded(platform, group, built, frame, identity)
            except ForecastleError as error:
                yield FailedModel(built.name, str(error))


def _recorded(
    platform: Platform, group: Group, built: BuiltModel, frame: pd.DataFrame, identity: TrainingSetIdentity
) -> FailedModel | Sequence[dg.AssetMaterialization]:
    """One model that was built, published and judged."""
    system, name = group.system, built.name
    if faults := bundle_faults(platform, system, built):
        return FailedModel(name, "; ".join(faults[:3]))
    publish_model(platform, system, built, frame, identity=identity)
    told = {
        "models": brief_metadata(platform, system, built),
        "evaluation": evaluated(platform, system, name, trained=built),
        "calibration": brief_calibration(system, test_rows(model_rows(system, name, frame), built)),
    }
    return _materialized(group, name, told)


def _materialized(group: Group, model: str, told: Mapping[str, Mapping[str, Any]]) -> list[dg.AssetMaterialization]:
    """What the UI shows of one model, a materialisation for each stage."""
    return [
        dg.AssetMaterialization(group.key(stage), partition=model, metadata=metadata)
        for stage, metadata in told.items()
    ]


def _told(group: Group, failed: Sequence[FailedModel], *, kept: int) -> dg.MaterializeResult:
    """The step's result: how many were made, trained or kept, and which were not; it fails where none was made."""
    reasons = "\n".join(f"- {model.name}: {model.reason}" for model in failed)
    if len(failed) == len(group.models):
        raise dg.Failure(description=f"no model of {group.name} could be made:\n{reasons}", allow_retries=False)
    made = len(group.models) - len(failed)
    there = f"; {kept} of them were there already and not yet judged: materialise comparison to end that training"
    check = dg.AssetCheckResult(
        asset_key=group.key("factory"),
        check_name=EVERY_MODEL_CHECK,
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{made} of {len(group.models)} models were made"
        + (there if kept else "")
        + (f":\n{reasons}" if failed else ""),
        metadata={"failed": [model.name for model in failed]},
    )
    metadata = {
        "made": made,
        "kept": kept,
        "failed": len(failed),
        "reasons": dg.MetadataValue.md(reasons or "none failed"),
    }
    return dg.MaterializeResult(metadata=metadata, check_results=[check])


def _stage(group: Group, stage: str, partitions: dg.StaticPartitionsDefinition) -> dg.AssetsDefinition:
    """One stage of one model at a time, for whoever materialises a partition by itself."""
    system, asset_key = group.system, group.key(stage)
    above = key(system, "training_set") if stage == "models" else group.key("models")
    checks = {"models": [bundle_loads_spec(asset_key)], "calibration": [miscalibration_spec(system, asset_key)]}

    @dg.asset(
        **attributes(
            system,
            stage,
            group.name,
            description=f"{_DESCRIPTIONS[stage]} A partition for each model of {group.name}.",
            kinds={"mlflow", "python"},
            deps=[above],
        ),
        partitions_def=partitions,
        check_specs=checks.get(stage),
    )
    def stage_asset(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        model = context.partition_key
        with told_plainly():
            if stage == "models":
                return trained_result(platform, system, model, asset_key=asset_key, run_id=context.run.run_id)
            if stage == "evaluation":
                return dg.MaterializeResult(metadata=evaluated(platform, system, model))
            return calibrated(platform, system, model, asset_key=asset_key)

    return stage_asset


_DESCRIPTIONS = {
    "models": "A model with its calibrator, bundle, card and MLflow run.",
    "evaluation": "Scores beside the baseline and the champion, by slice, with paired intervals.",
    "calibration": "Does the model mean what it says: the reliability diagram and its decomposition.",
}
