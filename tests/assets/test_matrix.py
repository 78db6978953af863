"""A matrix in the graph: partitions, failures of one model, the leaderboard, the ensemble that is promoted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from assets.alerts import check_outcomes, tell_changes
from assets.matrix import partitioned_keys
from forecastle.contract.load import LoadedSystem, load_system
from forecastle.learn.bundle import load_bundle
from forecastle.serve.champion import load_champion
from resources.platform import Alerts
from tests.assets.world import FOLDER, NAME, World, checks, failures, small_system

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("graph")]

PARAMS = "learning_rate: 0.05, num_leaves: 3, n_jobs: 1, deterministic: true, force_row_wise: true, verbosity: -1"
MODELS = f"""\
models:
  many:
    seed: 7
    matrix:
      estimators:
        short: {{estimator: lightgbm.LGBMClassifier, params: {{n_estimators: 20, {PARAMS}}}, start_from: market_price}}
        long: {{estimator: lightgbm.LGBMClassifier, params: {{n_estimators: 40, {PARAMS}}}, start_from: market_price}}
        none: {{estimator: lightgbm.LGBMClassifier, params: {{min_child_samples: 99999, {PARAMS}}}}}
      feature_sets: {{price: [market_price, price_volatility_7d]}}

promote: {{choose: ensemble, top: 2}}

"""
MANY = ("many__short__price", "many__long__price", "many__none__price")


@pytest.fixture(scope="module")
def factory_system(tmp_path_factory: pytest.TempPathFactory) -> LoadedSystem:
    """Prediction markets with a matrix of three models, of which one can learn nothing."""
    folder = tmp_path_factory.mktemp("systems") / NAME
    shutil.copytree(FOLDER, folder)
    text = (folder / "system.yaml").read_text()
    begin, end = text.index("models:\n"), text.index("evaluate:\n")
    (folder / "system.yaml").write_text(text[:begin] + MODELS + text[end:])
    loaded = load_system(folder)
    # The checks of features and training set ran in another instance than these tests' own.
    gates = small_system().declaration.gates.model_copy(update={"parity": False, "leakage": False})
    return replace(loaded, declaration=loaded.declaration.model_copy(update={"gates": gates}))


def test_a_matrix_is_four_assets_whatever_its_size(factory_system: LoadedSystem, copied: World) -> None:
    """Three of them with a partition a model; the refresh job makes them through the fourth."""
    world = copied.declared_by(factory_system)
    graph = world.definitions.resolve_asset_graph()
    for stage in ("models", "evaluation", "calibration"):
        node = graph.get(dg.AssetKey([NAME, stage, "many"]))
        assert tuple(node.partitions_def.get_partition_keys()) == MANY
    job = world.definitions.resolve_job_def(f"{NAME}_refresh")
    held = set(job.asset_layer.executable_asset_keys)
    assert dg.AssetKey([NAME, "factory", "many"]) in held
    assert not held & set(partitioned_keys(factory_system))


def test_the_factory_ends_in_one_champion_that_answers(factory_system: LoadedSystem, copied: World) -> None:
    """Two models are made, one fails alone and is named; their ensemble is promoted and loaded by the service."""
    world = copied.declared_by(factory_system)
    result = world.run("factory/many", "comparison", "ensemble", "promotion")
    assert failures(result) == {}
    made = {
        (event.asset_key.path[1], event.partition)
        for event in result.all_events
        if event.is_step_materialization and event.partition
    }
    stages = ("models", "evaluation", "calibration")
    assert made == {(stage, model) for stage in stages for model in MANY[:2]}
    pages = [
        Path(event.materialization.metadata["card_page"].path)
        for event in result.all_events
        if event.is_step_materialization and event.asset_key.path[1:] in (["models", "many"], ["ensemble"])
    ]
    assert [page.is_file() for page in pages] == [True] * 3
    check = checks(result)["factory/many", "every_model_made"]
    assert not check.passed
    assert "many__none__price: lightgbm.LGBMClassifier found nothing to learn" in check.description
    board = world.platform.warehouse().frame(f"{NAME}/comparison/all").set_index("forecaster")
    assert set(board.index) >= {*MANY[:2], "baseline"}
    assert board.loc[list(MANY[:2]), "chosen"].all()
    assert not board.loc["baseline", "chosen"]
    assert board.loc[MANY[2], "gates"].startswith("failed: lightgbm.LGBMClassifier found nothing to learn")
    decisions_are_recorded(world)
    a_failed_model_alarms(world)
    champion = world.platform.registry().champion(NAME)
    folder = world.platform.layout.bundles(NAME) / champion.bundle
    assert load_bundle(folder).scoring.kind == "ensemble"
    served = load_champion(folder, system=NAME, expected_hash=champion.bundle)
    vector = list(served.bundle.golden.rows[0])
    assert served.scorer.score_row(vector) == served.bundle.golden.raw[0]
    assert set(served.answering(vector).removeprefix("ensemble: ").split(", ")) == set(MANY[:2])


def decisions_are_recorded(world: World) -> None:
    """Each model's decision is in a table, its MLflow run and its partition's page; none waits for approval."""
    warehouse = world.platform.warehouse()
    gates = warehouse.frame(f"{NAME}/decisions/all")
    assert set(gates["model"]) == set(MANY[:2])
    assert {"rows", "calibration", "baseline"} <= set(gates["gate"])
    for name in MANY[:2]:
        facts = warehouse.resolve(f"{NAME}/models/{name}").facts
        tags = world.platform.tracking().describe(facts["mlflow_run_id"])["tags"]
        passed = bool(gates.loc[gates["model"] == name, "passed"].all())
        assert tags["gates"] == ("passed" if passed else "refused")
    assert observed(world, "evaluation", MANY[0])["of_newest_training"].value is True
    # A chosen model has the whole calibration report, as a declared one has.
    assert "reliability" in Path(observed(world, "calibration", MANY[0])["report"].path).read_text()
    failed = observed(world, "models", MANY[2])
    assert failed["of_newest_training"].value is False
    assert "found nothing to learn" in failed["reason"].value
    assert not {decision.model for decision in world.platform.registry().decisions(NAME)} & set(MANY)


def observed(world: World, stage: str, model: str) -> Mapping[str, dg.MetadataValue]:
    """Metadata of the newest observation of one partition."""
    wanted = dg.AssetRecordsFilter(dg.AssetKey([NAME, stage, "many"]), asset_partitions=[model])
    (record,) = world.instance.fetch_observations(wanted, limit=1).records
    return record.event_log_entry.asset_observation.metadata


def a_failed_model_alarms(world: World) -> None:
    """The check's warning becomes one alert that names the model and why it failed."""
    check = dg.AssetCheckKey(dg.AssetKey([NAME, "factory", "many"]), "every_model_made")
    found = check_outcomes(world.instance, [check])
    log = Alerts(platform=world.platform).log()
    (said,) = tell_changes(log, NAME, found, before={})
    assert f"{MANY[2]}: lightgbm.LGBMClassifier found nothing to learn" in said
    assert "every_model_made" in {incident.cause for incident in log.open(NAME)}


def test_one_partition_is_made_alone(factory_system: LoadedSystem, copied: World) -> None:
    """As a click on one partition in the UI does; the others stay as they were."""
    world = copied.declared_by(factory_system)
    keys = [dg.AssetKey([NAME, stage, "many"]) for stage in ("models", "evaluation", "calibration")]
    job = world.definitions.resolve_implicit_job_def_def_for_assets(keys)
    result = job.execute_in_process(
        instance=world.instance, asset_selection=keys, partition_key=MANY[0], raise_on_error=False
    )
    assert failures(result) == {}
    assert world.instance.get_materialized_partitions(keys[0]) == {MANY[0]}
    failed = job.execute_in_process(
        instance=world.instance, asset_selection=keys, partition_key=MANY[2], raise_on_error=False
    )
    assert "found nothing to learn" in failures(failed)["models/many"]
