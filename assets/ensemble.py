"""`ensemble`: the chosen models as one, where a declaration asks for several or divides rows into segments.

Belongs here: the asset, and reading what the ensemble is made of.
Does not belong here: choosing (`comparison.py`), combining (`forecastle.learn.combine`).
"""

import json

import dagster as dg
import pandas as pd

from assets.comparison import chosen
from assets.describe import attributes, key, told_plainly
from assets.evaluation import calibrated, evaluated
from assets.models import model_metadata, publish_model, read_training_set, recording
from assets.reports import miscalibration_spec
from forecastle.contract.errors import LearnError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.matrix_check import ENSEMBLE_NAME
from forecastle.learn.build import BuiltModel, record_model
from forecastle.learn.bundle import load_bundle
from forecastle.learn.choose import Choice
from forecastle.learn.combine import Ingredient, combine
from forecastle.store.delta_log import TableVersion
from resources.platform import Platform


def build_ensemble(system: LoadedSystem) -> dg.AssetsDefinition:
    """The candidate that is made of several models: one bundle, judged and recorded like any other."""
    asset_key = key(system, "ensemble")

    @dg.asset(
        **attributes(
            system,
            "ensemble",
            description="The chosen models as one bundle: a row is answered by the mean of its segment's members.",
            kinds={"mlflow"},
            deps=[key(system, "comparison")],
        ),
        check_specs=[miscalibration_spec(system, asset_key)],
    )
    def ensemble_asset(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            choice, models = chosen(platform, system)
            if choice.is_one_model:
                model = choice.members[0].model
                result = calibrated(platform, system, model, asset_key=asset_key)
                return result._replace(metadata={**(result.metadata or {}), "members": [model]})
            built, described = make_ensemble(platform, system, choice, models, run_id=context.run.run_id)
            scores = evaluated(platform, described, ENSEMBLE_NAME)
            result = calibrated(platform, described, ENSEMBLE_NAME, asset_key=asset_key)
        members = {"members": [member.model for member in choice.members]}
        metadata = {**model_metadata(platform, system, built), **scores, **(result.metadata or {}), **members}
        return result._replace(metadata=metadata)

    return ensemble_asset


def make_ensemble(
    platform: Platform, system: LoadedSystem, choice: Choice, models: dict[str, TableVersion], *, run_id: str
) -> tuple[BuiltModel, LoadedSystem]:
    """Combine the chosen models, record the bundle and publish its test rows; the system returned declares it too."""
    identity, frame = read_training_set(platform, system)
    if any(version.facts["training_set_hash"] != identity.content_hash for version in models.values()):
        raise LearnError("the training set is newer than the models: make the models again, then the ensemble")
    ingredients = [_ingredient(platform, system, choice, models, number) for number in range(len(choice.members))]
    described, learned = combine(system, choice, ingredients, frame)
    built = record_model(described, learned, frame, recording(platform, system, identity, run_id=run_id))
    publish_model(platform, described, built, frame, identity=identity)
    return built, described


def _ingredient(
    platform: Platform, system: LoadedSystem, choice: Choice, models: dict[str, TableVersion], number: int
) -> Ingredient:
    member = choice.members[number]
    facts = models[member.model].facts
    folder = platform.layout.bundles(system.name) / facts["bundle"]
    return Ingredient(
        member,
        load_bundle(folder, expected_hash=facts["bundle"]),
        platform.warehouse().frame(f"{system.name}/held_out/{member.model}"),
        pd.DataFrame(json.loads(facts["importances"])),
    )
