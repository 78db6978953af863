"""A plain model that fails: what the run left undone is done without it, by the sensor and by `forecastle run`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import dagster as dg
import pytest

from assets.rest import rest_of, rest_of_run
from assets.run import run
from forecastle.contract.load import LoadedSystem, load_system
from resources.platform import Alerts
from tests.assets.test_matrix import PARAMS
from tests.assets.world import FOLDER, NAME, World, assets_made, failures, small_system

NONE = f"  none:\n    estimator: lightgbm.LGBMClassifier\n    params: {{min_child_samples: 99999, {PARAMS}}}\n"
TRAINED = [
    *(f"{stage}/{model}" for model in ("lightgbm", "none") for stage in ("models", "evaluation", "calibration")),
    "comparison",
    "promotion",
    "shadow",
]


def a(*path: str) -> dg.AssetKey:
    return dg.AssetKey(["s", *path])


FAILED = {a("models", "none")}
LEFT = {a("evaluation", "none"), a("comparison"), a("promotion")}


@pytest.mark.parametrize(
    ("made", "failed", "rest"),
    [
        ({a("models", "other")}, FAILED, [a("comparison"), a("promotion")]),
        ({a("factory", "many")}, FAILED, [a("comparison"), a("promotion")]),
        ({a("models", "none")}, FAILED, []),
        ({a("training_set")}, FAILED, []),
        ({a("models", "other")}, FAILED | {a("parity")}, []),
        ({a("models", "other")}, set(), []),
    ],
)
def test_the_rest_is_what_other_models_can_do(
    made: set[dg.AssetKey], failed: set[dg.AssetKey], rest: list[dg.AssetKey]
) -> None:
    """Another model or a factory was made and nothing but models failed; a bundle that does not load failed too."""
    assert rest_of(made | failed | LEFT, made=made, failed=failed) == rest


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> LoadedSystem:
    """Prediction markets with a second plain model that can learn nothing."""
    folder = tmp_path_factory.mktemp("systems") / NAME
    shutil.copytree(FOLDER, folder)
    text = (folder / "system.yaml").read_text()
    (folder / "system.yaml").write_text(text.replace("models:\n", f"models:\n{NONE}", 1))
    loaded = load_system(folder)
    # The checks of features and training set ran in another instance than these tests' own.
    gates = small_system().declaration.gates.model_copy(update={"parity": False, "leakage": False})
    return replace(loaded, declaration=loaded.declaration.model_copy(update={"gates": gates}))


@pytest.mark.slow
@pytest.mark.xdist_group("graph")
def test_the_other_model_is_judged_and_promoted(
    two_models: LoadedSystem, copied: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run fails by the one model; the sensor asks for the rest of it once, and `forecastle run` does it itself.

    A refresh makes `shadow` too, which no training does.
    """
    world = copied.declared_by(two_models)
    job = world.definitions.resolve_job_def(f"{NAME}_refresh")
    wanted = {dg.AssetKey([NAME, *asset.split("/")]) for asset in TRAINED}
    ran = job.execute_in_process(instance=world.instance, asset_selection=list(wanted), raise_on_error=False)
    assert set(failures(ran)) == {"models/none"}
    assert "comparison" not in assets_made(ran)
    (request,) = asked(world)
    assert request.run_key == f"rest of {ran.run_id}"
    assert request.asset_selection == [dg.AssetKey([NAME, "comparison"]), dg.AssetKey([NAME, "promotion"])]
    training = world.definitions.resolve_job_def(f"{NAME}_train")
    rest = training.execute_in_process(instance=world.instance, asset_selection=request.asset_selection)
    assert assets_made(rest) == {"comparison", "promotion"}
    board = world.platform.warehouse().frame(f"{NAME}/comparison/all").set_index("forecaster")
    assert board.loc["none", "gates"].startswith("failed: it was not made from the newest training set")
    assert world.platform.registry().decisions(NAME)[0].model == "lightgbm"
    assert rest_of_run(world.instance, rest.run_id) == []
    assert not any("rest of" in (request.run_key or "") for request in asked(world))
    assert not run(job.get_subset(asset_selection=wanted), world.instance)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    made = [line["asset"].removeprefix(f"{NAME}__") for line in said if line["event"] == "made"]
    assert made[-3:] == ["comparison", "promotion", "shadow"]


def asked(world: World) -> list[dg.RunRequest]:
    """What the sensor of trainings asks for now."""
    ours = {"platform": world.platform, "alerts": Alerts(platform=world.platform)}
    repository = world.definitions.get_repository_def()
    with dg.build_sensor_context(
        instance=world.instance, repository_def=repository, resources=ours, sensor_name=f"{NAME}_retraining"
    ) as context:
        return list(repository.get_sensor_def(f"{NAME}_retraining").evaluate_tick(context).run_requests or ())
