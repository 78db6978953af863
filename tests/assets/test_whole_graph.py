"""The whole graph on a small simulated world: everything is made, says what it is, and is the same again."""

from __future__ import annotations

import json
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from assets.run import of_day
from forecastle.contract.errors import StoreError
from forecastle.learn.bundle import load_bundle
from forecastle.learn.golden import golden_faults
from forecastle.store.home import Home
from tests.assets.conftest import Made
from tests.assets.world import NAME, World, assets_made, checks, failures, metadata

pytestmark = pytest.mark.xdist_group("graph")


def test_every_asset_is_materialised(made: Made) -> None:
    """From seven source files to a Bento in one run, nothing skipped."""
    assert failures(made.result) == {}
    assert made.result.success
    declared = made.world.definitions.resolve_asset_graph().get_all_asset_keys()
    assert assets_made(made.result) == {"/".join(key.path[1:]) for key in declared}


def test_every_check_is_evaluated_and_no_blocking_one_failed(made: Made) -> None:
    """A check that is declared and never runs protects nobody."""
    declared = made.world.definitions.resolve_asset_graph().asset_check_keys
    found = checks(made.result)
    assert set(found) == {("/".join(key.asset_key.path[1:]), key.name) for key in declared}
    assert found["training_set", "leakage"].passed
    assert found["models/lightgbm", "bundle_loads"].passed
    assert found["promotion", "gates"].passed


def test_the_leakage_check_looked_at_values(made: Made) -> None:
    """It passes because values were derived again and agree, not because there were none."""
    leakage = {n: v.value for n, v in checks(made.result)["training_set", "leakage"].metadata.items()}
    assert leakage["differences"] == 0
    assert leakage["values_checked"] > 1_000


@pytest.mark.parametrize(
    "asset", ["source/quotes", "features/market_quotes", "training_set", "batch_predictions", "evaluation/lightgbm"]
)
def test_row_counts_and_hashes_are_those_of_the_table(made: Made, asset: str) -> None:
    """What the UI shows is what a reader of the warehouse gets."""
    table = asset if "/" in asset else f"{asset}/all"
    said, version = metadata(made.result, asset), made.world.newest(table)
    frame = made.world.platform.warehouse().frame(version)
    assert said["dagster/row_count"] == version.rows == len(frame) > 0
    assert said["content_hash"] == version.content_hash
    assert said["sha256"] == version.sha256


def test_a_contract_becomes_the_column_schema(made: Made) -> None:
    """Types, ranges and units of the declaration stand on the asset, and the table has just those columns."""
    node = made.world.definitions.resolve_asset_graph().get(dg.AssetKey([NAME, "source", "quotes"]))
    schema = {column.name: column for column in node.metadata["dagster/column_schema"].columns}
    assert set(schema) == set(made.world.newest("source/quotes").columns)
    price = schema["value"]
    assert (price.type, price.constraints.nullable, price.constraints.other) == ("float64", False, ["≥ 0", "≤ 1"])
    assert price.tags == {"unit": "probability"}


def test_column_lineage_goes_back_to_raw_columns(made: Made) -> None:
    """The market price of a training row is quotes.value, and the on-demand features know their roots too."""
    node = made.world.definitions.resolve_asset_graph().get(dg.AssetKey([NAME, "training_set"]))
    lineage = node.metadata["dagster/column_lineage"].deps_by_column
    price = {(dep.asset_key.path[-1], dep.column_name) for dep in lineage["market_price"]}
    assert ("quotes", "value") in price
    signals = {(dep.asset_key.path[-1], dep.column_name) for dep in lineage["spread_vol_ratio"]}
    assert {("polls", "pct"), ("quotes", "value")} <= signals


@pytest.mark.parametrize(
    ("asset", "name"),
    [("models/lightgbm", "importance"), ("calibration/lightgbm", "reliability"), ("drift/features", "picture")],
)
def test_pictures_are_where_a_person_looks(made: Made, asset: str, name: str) -> None:
    """A PNG inside the materialisation's Markdown: the UI shows it without asking anybody for a file."""
    assert "data:image/png;base64," in metadata(made.result, asset)[name]


def test_the_champion_is_the_promoted_bundle(made: Made) -> None:
    """Registry, pointer file, MLflow alias and bundle name one and the same model."""
    platform, home = made.world.platform, Home(made.world.home)
    champion = platform.registry().champion(NAME)
    assert champion is not None
    said = metadata(made.result, "promotion")
    assert (said["promoted"], said["candidate"], said["champion"]) == (True, champion.bundle, champion.bundle)
    pointer = json.loads(home.champion(NAME).read_text())
    assert (pointer["bundle"], pointer["model_version"]) == (champion.bundle, champion.model_version)
    bundle = load_bundle(home.bundles(NAME) / champion.bundle, expected_hash=champion.bundle)
    assert golden_faults(bundle) == ()
    assert bundle.facts["training_set_hash"] == made.world.newest("training_set/all").content_hash
    run = platform.tracking().describe(bundle.facts["mlflow_run_id"])
    assert run["status"] == "FINISHED"
    assert run["tags"]["training_set"] == bundle.facts["training_set_hash"]
    assert run["tags"]["feature_set"] == bundle.feature_set.hash
    assert run["tags"]["bundle"] == champion.bundle
    assert run["datasets"] == [{"name": "training_set", "digest": bundle.facts["training_set_snapshot"][:36]}]


def test_no_training_row_is_younger_than_its_prediction(made: Made) -> None:
    """Every feature that stands in a row was known, and had happened, when the prediction would have been asked."""
    rows = made.world.platform.warehouse().frame("prediction_markets/training_set/all")
    for view in made.world.system.declaration.feature_views:
        for time in ("known_at", "event_at"):
            seen = rows[f"{view}__{time}"].dropna()
            assert len(seen) > 0
            assert (seen <= rows.loc[seen.index, "predict_at"]).all()
    assert (rows["known_at"] > rows["predict_at"]).all()


def test_the_model_stands_beside_the_market_price(made: Made) -> None:
    """Model and market price are scored on the same rows; a model far better than the price would have leaked."""
    table = made.world.platform.warehouse().frame("prediction_markets/comparison/all").set_index("forecaster")
    assert {"lightgbm", "baseline"} <= set(table.index)
    gain = table.loc["baseline", "brier"] - table.loc["lightgbm", "brier"]
    assert -0.015 < gain < made.world.system.declaration.gates.suspicious_gain


def test_the_model_is_calibrated_against_the_truth(made: Made) -> None:
    """The simulator knows the true probability: the model is nearer to it than chance, and right on average."""
    rows = made.world.platform.warehouse().frame("prediction_markets/models/lightgbm")
    truth = pd.read_parquet(made.world.data / NAME / "truth.parquet")
    truth["day"] = pd.to_datetime(truth["day"], utc=True)
    asked = rows.assign(day=rows["predict_at"].dt.floor("D"), mid=rows["market_id"])
    both = asked.merge(truth.astype({"mid": "int64"}), on=["mid", "day"])
    assert len(both) > 500
    error = ((both["probability"] - both["true_probability"]) ** 2).mean()
    climate = ((both["outcome"].mean() - both["true_probability"]) ** 2).mean()
    assert error < 0.25 * climate
    assert abs(both["probability"].mean() - both["true_probability"].mean()) < 0.05


def test_the_bento_holds_the_champion_and_no_orchestration(made: Made) -> None:
    """What is packed is the promoted bundle with the serving part of the library: no Dagster, no systems, no data."""
    said = metadata(made.result, "bento")
    champion = made.world.platform.registry().champion(NAME)
    assert champion is not None
    assert said["tag"] == f"forecastle:v{champion.model_version}-{champion.bundle[:12]}"
    files = {path.relative_to(said["path"]).as_posix() for path in files_below(said["path"])}
    assert {"src/bundle/manifest.json", "src/bundle/model.txt", "src/forecastle/serve/service.py"} <= files
    assert not [name for name in files if name.startswith(("src/assets", "src/resources", "src/systems"))]
    requirements = next(path for path in files_below(said["path"]) if path.name == "requirements.txt").read_text()
    assert "lightgbm==" in requirements
    assert "dagster" not in requirements


def test_every_open_market_has_a_batch_prediction_and_online_rows(made: Made) -> None:
    """Whoever can be asked about now has a probability, and their features lie where serving reads them."""
    rows = made.world.platform.warehouse().frame("prediction_markets/batch_predictions/all")
    assert rows["market_id"].is_unique
    assert rows["probability"].between(0, 1).all()
    assert {json.loads(decision)["action"] for decision in rows["decision"]} <= {"buy_yes", "buy_no", "pass"}
    assert not (rows["days_to_resolution"] < 0).any()  # past the cut-off there is no prediction
    with closing(sqlite3.connect(Home(made.world.home).online(NAME))) as connection:
        tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
    assert len(tables) >= len(made.world.system.declaration.feature_views)


def test_a_past_day_is_scored_as_it_was_then(copied: World) -> None:
    """A backfill of one day: features known at its end, a partition of its own; today's table stays as it is."""
    job, tags = of_day(copied.definitions.resolve_job_def(f"{NAME}_refresh"), "2026-05-20")
    before = copied.newest("batch_predictions/all").version
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = job.execute_in_process(instance=copied.instance, tags=tags, raise_on_error=False)
    assert failures(result) == {}
    assert assets_made(result) == {"batch_predictions", "live_performance", "live_calibration"}
    assert {event.partition for event in result.get_asset_materialization_events()} == {"2026-05-20"}
    rows = copied.platform.warehouse().frame(f"{NAME}/batch_predictions/day_2026_05_20")
    assert len(rows) > 0
    assert {f"{at:%Y-%m-%d}" for at in rows["predict_at"]} == {"2026-05-20"}
    known = [name for name in rows if name.endswith("__known_at")]
    assert all((rows[name].dropna() <= rows["predict_at"].max()).all() for name in known)
    assert "not what anybody was told" in metadata(result, "batch_predictions")["champion"]
    assert copied.newest("batch_predictions/all").version == before


@pytest.mark.parametrize("day", ["2024-12-31", "yesterday", "2999-01-01"])
def test_a_day_without_a_partition_is_refused(made: Made, day: str) -> None:
    """Before daily_since, no day at all, or not begun: the sentence names the days there are."""
    with pytest.raises(StoreError, match="write one from 2025-01-01"):
        of_day(made.world.definitions.resolve_job_def(f"{NAME}_refresh"), day)


def test_the_same_files_again_make_no_new_version(copied: World) -> None:
    """Same inputs, same bytes: no source, feature view or training set gets another version."""
    before = copied.files()
    declared = copied.system.declaration
    tables = [f"source/{name}" for name in declared.sources] + [f"features/{name}" for name in declared.feature_views]
    result = copied.run(*tables, "training_set")
    assert failures(result) == {}
    unchanged = {name: metadata(result, name)["unchanged"] for name in [*tables, "training_set"]}
    assert unchanged == dict.fromkeys(unchanged, True)
    assert copied.files() == before


def files_below(folder: str) -> list[Path]:
    """Every file of a folder."""
    return [path for path in Path(folder).rglob("*") if path.is_file()]
