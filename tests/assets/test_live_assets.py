"""The backtest and the live assets, materialised by Dagster: a trained champion, real answers in a real log."""

from __future__ import annotations

import asyncio
import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from assets.backtest import build_backtest
from assets.comparison import build_comparison
from assets.evaluation import build_calibration, build_evaluation
from assets.live import (
    build_drift_of_predictions,
    build_live_calibration,
    build_live_performance,
    build_outcomes,
    drift_of_predictions,
    reference_probabilities,
)
from assets.models import build_model_asset
from assets.predictions import build_predictions
from assets.promotion import build_promotion
from forecastle.contract.errors import StoreError
from forecastle.contract.load import LoadedSystem
from forecastle.store.outcome_log import OutcomeLog, ToldOutcome
from forecastle.store.prediction import Prediction
from forecastle.store.prediction_log import PredictionLog
from resources.platform import Platform
from tests.learn import ferries

NOW = ferries.NOW

# One worker makes the harbour, once.
pytestmark = pytest.mark.xdist_group("live_assets")


@dataclass(frozen=True)
class Harbour:
    """The ferries with a trained champion and a home folder; what they were asked comes later."""

    system: LoadedSystem
    home: Path
    frame: pd.DataFrame

    @property
    def platform(self) -> Platform:
        return Platform(home=str(self.home), now=NOW.isoformat())

    def make(self, *assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
        """Materialise assets in this process."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's and Dagster's own
            with dg.DagsterInstance.ephemeral() as instance:
                return dg.materialize(list(assets), instance=instance, resources={"platform": self.platform})

    def table(self, name: str) -> pd.DataFrame:
        return self.platform.warehouse().frame(f"ferries/{name}")

    def arrive(self, rows: pd.DataFrame) -> None:
        """Publish the source that the label reads."""
        columns = {"predict_at": "asked_at", "outcome": "is_late"}
        named = rows.rename(columns=columns)[["crossing_id", "asked_at", "route", "is_late", "known_at"]]
        self.platform.warehouse().publish("ferries/source/arrivals", named)

    def answer(self, rows: pd.DataFrame) -> None:
        """Log one answer a row, given an hour after it stands in the label, with probability `guess`."""
        bundle = self.platform.registry().champion("ferries").bundle
        log = PredictionLog(self.platform.layout.prediction_log("ferries"))

        async def append() -> None:
            await asyncio.gather(*(log.append(prediction(row, bundle)) for row in rows.to_dict("records")))

        asyncio.run(append())
        log.close()

    def tell(self, rows: pd.DataFrame) -> None:
        """Tell the outcomes of answers by their ids, as callers of the service do."""
        with closing(OutcomeLog(self.platform.layout.outcome_log("ferries"))) as log:
            for row in rows.to_dict("records"):
                entity = json.dumps({"crossing_id": row["crossing_id"]})
                about, at_us = f"p{row['crossing_id']}", int(row["known_at"].timestamp() * 1_000_000)
                log.append(ToldOutcome(about, "", "ferries", about, entity, row["outcome"], at_us, at_us))


def prediction(row: dict[str, Any], bundle: str) -> Prediction:
    at = row["predict_at"] + timedelta(hours=1)
    return Prediction(
        prediction_id=f"p{row['crossing_id']}", request_id=f"r{row['crossing_id']}", request_sha256="",
        system="ferries", entity_json=json.dumps({"crossing_id": row["crossing_id"]}),
        predicted_at_us=int(at.timestamp() * 1_000_000),
        raw_score=row["guess"], probability=row["guess"], interval_low=None, interval_high=None, model="trees",
        model_version="1", bundle=bundle, feature_set="f", variant="champion",
        features_json=json.dumps({"guess": {"value": row["guess"], "status": "PRESENT"}}), degraded_json="[]",
        vector_json="[]", decision_json="null", latency_ms=1.0,
    )  # fmt: skip


def live(system: LoadedSystem) -> list[dg.AssetsDefinition]:
    builders = (
        build_predictions,
        build_outcomes,
        build_live_performance,
        build_live_calibration,
        build_drift_of_predictions,
    )
    return [build(system) for build in builders]


def metadata(result: dg.ExecuteInProcessResult, *name: str) -> dict[str, Any]:
    """What the materialisation of all days together says."""
    made = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(["ferries", *name])]
    (event,) = [e for e in made if e.partition is None]
    return {key: value.value for key, value in event.materialization.metadata.items()}


def check(result: dg.ExecuteInProcessResult, *name: str) -> dg.AssetCheckEvaluation:
    """The one check of an asset that is not of single days."""
    mine = [e for e in result.get_asset_check_evaluations() if e.asset_key == dg.AssetKey(["ferries", *name])]
    (found,) = [e for e in mine if e.check_name not in {"day_gap", "outcomes_came"}]
    return found


def without_checks_of_tables(system: LoadedSystem) -> LoadedSystem:
    """The training set comes from no feature view: there is nothing that parity or leakage could be checked on."""
    gates = system.declaration.gates.model_copy(update={"parity": False, "leakage": False})
    return replace(system, declaration=system.declaration.model_copy(update={"gates": gates}))


@pytest.fixture(scope="module")
def harbour(tmp_path_factory) -> Iterator[Harbour]:
    """A model trained on 600 crossings up to NOW, promoted by the gates, and a batch of its answers."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        folder = tmp_path_factory.mktemp("harbour")
        system = without_checks_of_tables(ferries.write_system(folder))
        frame = ferries.training_frame()
        shift = pd.Timestamp(NOW) - frame["predict_at"].max() - pd.Timedelta("6h")
        frame = frame.assign(predict_at=frame["predict_at"] + shift, known_at=frame["known_at"] + shift)
        made = Harbour(system, folder / "home", frame)
        warehouse = made.platform.warehouse()
        warehouse.publish("ferries/training_set/all", frame, facts={"knowledge_until": NOW.isoformat()})
        trained = [build(system, "trees") for build in (build_model_asset, build_evaluation, build_calibration)]
        result = made.make(*trained, build_comparison(system), build_promotion(system))
        assert result.success
        champion = made.platform.registry().champion("ferries")
        assert champion is not None
        tested = made.table("models/trees")[["probability"]].assign(bundle=champion.bundle)
        warehouse.publish("ferries/batch_predictions/all", tested)
        yield made


@pytest.fixture
def copied(harbour: Harbour, tmp_path: Path) -> Harbour:
    """The same state elsewhere, for tests that write; MLflow stays behind, its database names absolute paths."""
    shutil.copytree(harbour.home, tmp_path / "home", ignore=shutil.ignore_patterns("mlflow"))
    return replace(harbour, home=tmp_path / "home")


def test_before_anything_was_asked_all_of_them_materialise(copied: Harbour) -> None:
    """No log at all: tables without rows, sentences that say so, and drift read from the batch predictions."""
    copied.arrive(copied.frame)
    result = copied.make(*live(copied.system))
    assert result.success
    assert metadata(result, "outcomes")["maturity"] == "Nothing has been asked yet."
    assert check(result, "outcomes").passed
    assert metadata(result, "live_performance")["dagster/row_count"] == 0
    assert metadata(result, "live_calibration")["rows"].startswith("No report yet: 0 predictions have an outcome")
    assert check(result, "live_calibration").passed
    told = metadata(result, "drift", "predictions")
    assert told["compared"].endswith("batch predictions")
    assert check(result, "drift", "predictions").passed


def test_served_answers_are_scored_when_their_outcomes_come(copied: Harbour) -> None:
    """200 answers to crossings whose outcomes came: scores of the table are those of the answers, with a report."""
    asked = copied.frame.iloc[-200:]
    copied.arrive(copied.frame)
    copied.answer(asked)
    result = copied.make(*live(copied.system))
    assert result.success
    outcomes = copied.table("outcomes/all")
    assert outcomes["outcome"].notna().sum() == 200
    np.testing.assert_array_equal(outcomes["outcome"].to_numpy(), asked["outcome"].to_numpy())
    table = copied.table("live_performance/all").set_index(["cohort", "slice", "forecaster", "metric"])
    row = table.loc["so_far", "all", "model", "brier"]
    assert row["estimate"] == pytest.approx(((asked["guess"] - asked["outcome"]) ** 2).mean())
    assert row["low"] < row["estimate"] < row["high"]
    # What was answered is the baseline itself, so both have the same score.
    assert table.loc["so_far", "all", "baseline", "brier"]["estimate"] == row["estimate"]
    # Matured: asked a day or more before NOW; the last four crossings a day apart by six hours are younger.
    final = table.loc["final", "all", "model", "brier"]
    assert 190 <= final["rows"] < 200
    assert "predictions are final" in metadata(result, "live_performance")["maturity"]
    told = metadata(result, "live_calibration")
    assert Path(str(told["report"])).is_file()
    assert told["reliability"].startswith("![")
    assert metadata(result, "outcomes")["picture"].startswith("![")
    assert metadata(result, "drift", "predictions")["compared"].endswith("served predictions")


def test_told_outcomes_count_where_no_source_has_come_yet(copied: Harbour) -> None:
    """200 answers, labels of the first 100; callers tell the others and contradict one: scored, warned, counted."""
    asked = copied.frame.iloc[-200:]
    copied.arrive(copied.frame.iloc[:-100])
    copied.answer(asked)
    copied.tell(asked.iloc[-100:])
    contradicted = asked.iloc[[0]]
    copied.tell(contradicted.assign(outcome=1 - contradicted["outcome"]))
    result = copied.make(*live(copied.system))
    assert result.success
    outcomes = copied.table("outcomes/all")
    np.testing.assert_array_equal(outcomes["outcome"].to_numpy(), asked["outcome"].to_numpy())
    assert outcomes["told_by"].tolist() == ["source"] * 100 + ["caller"] * 100
    told = metadata(result, "outcomes")
    assert (told["told_by"], told["conflicts"]) == ({"source": 100, "caller": 100}, 1)
    found = check(result, "outcomes")
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert (found.description or "").startswith("1 of 1 outcomes that a source and a caller told differ")
    table = copied.table("live_performance/all").set_index(["cohort", "slice", "forecaster", "metric"])
    row = table.loc["so_far", "all", "model", "brier"]
    assert (row["rows"], row["clusters"]) == (200, 200)
    assert row["estimate"] == pytest.approx(((asked["guess"] - asked["outcome"]) ** 2).mean())
    assert metadata(result, "live_calibration")["rows"].endswith("predictions with final outcomes.")


def test_each_day_of_asking_is_a_partition_with_its_check(copied: Harbour) -> None:
    """200 answers over 50 days: a materialisation and a check for each day, final only once it is mature."""
    asked = copied.frame.iloc[-200:]
    copied.arrive(copied.frame)
    copied.answer(asked)
    result = copied.make(*live(copied.system))
    at = asked["predict_at"] + timedelta(hours=1)
    days = {f"{day:%Y-%m-%d}" for day in at} | {f"{NOW:%Y-%m-%d}"}
    for asset, name in (("live_performance", "outcomes_came"), ("live_calibration", "day_gap")):
        key = dg.AssetKey(["ferries", asset])
        made = [e for e in result.get_asset_materialization_events() if e.asset_key == key and e.partition]
        assert {event.partition for event in made} == days
        checks = {e.partition: e for e in result.get_asset_check_evaluations() if e.check_name == name and e.partition}
        assert set(checks) == days
        table = copied.table(f"{asset}/by_day")
        assert int(table["predictions"].sum()) == 200
        mature = {f"{day}" for day in table.loc[table["is_final"], "day"]}
        assert all(("; final." in checks[day].description) == (day in mature) for day in days)
        assert f"{NOW:%Y-%m-%d}" not in mature
    again = copied.make(*live(copied.system))
    renewed = {e.partition for e in again.get_asset_materialization_events() if e.partition}
    assert renewed == {f"{NOW:%Y-%m-%d}"}


def test_drift_of_predictions_is_noticed(copied: Harbour) -> None:
    """A batch that says 0.97 to everybody is not what the test rows looked like: the check warns with the reason."""
    bundle = copied.platform.registry().champion("ferries").bundle
    alike = pd.DataFrame({"probability": np.full(400, 0.97), "bundle": bundle})
    copied.platform.warehouse().publish("ferries/batch_predictions/all", alike)
    result = copied.make(build_predictions(copied.system), build_drift_of_predictions(copied.system))
    found = check(result, "drift", "predictions")
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert "probability: PSI" in (found.description or "")


def test_what_another_bundle_said_is_no_drift_of_a_new_champion(copied: Harbour) -> None:
    """Until it has answered or scored anybody, nothing is compared and the check passes, saying why."""
    other = pd.DataFrame({"probability": np.full(400, 0.97), "bundle": "0" * 64})
    copied.platform.warehouse().publish("ferries/batch_predictions/all", other)
    result = copied.make(build_predictions(copied.system), build_drift_of_predictions(copied.system))
    found = check(result, "drift", "predictions")
    assert result.success
    assert found.passed
    assert "has said nothing yet" in (found.description or "")


def test_drift_with_nobody_to_ask_names_the_stale_sources(copied: Harbour) -> None:
    """Nothing served and every entity older than its ttl: the failure says so, not that a distribution is empty."""
    nobody = pd.DataFrame({"probability": np.zeros(0), "bundle": pd.Series(dtype="str")})
    copied.platform.warehouse().publish("ferries/batch_predictions/all", nobody)
    copied.make(build_predictions(copied.system))
    with pytest.raises(StoreError, match="look at the freshness of the sources"):
        drift_of_predictions(copied.platform, copied.system)


def test_drift_reads_the_champion_and_not_the_newest_model(copied: Harbour) -> None:
    """A later model that was refused leaves the reference where it was; without the champion's rows it is told."""
    warehouse = copied.platform.warehouse()
    bundle = copied.platform.registry().champion("ferries").bundle
    mine = copied.table("models/trees")["probability"]
    other = copied.table("models/trees").assign(probability=0.5, bundle="other")
    warehouse.publish("ferries/models/trees", other, facts={"bundle": "other"})
    found = reference_probabilities(warehouse, copied.system, model="trees", bundle=bundle)
    pd.testing.assert_series_equal(found, mine)
    with pytest.raises(StoreError, match="no version of ferries/models/trees is of bundle nothing"):
        reference_probabilities(warehouse, copied.system, model="trees", bundle="nothing")


def test_the_backtest_is_made_once_and_then_kept(harbour: Harbour) -> None:
    """The first run computes every cut and leaves report, pictures and MLflow run; the second computes none."""
    first = harbour.make(build_backtest(harbour.system))
    told = metadata(first, "backtest")
    assert told["cuts_computed"] > 0
    assert told["cuts_kept"] == 0
    assert told["dagster/row_count"] == len(harbour.table("backtest/all"))
    assert Path(str(told["report"])).parent == harbour.platform.layout.reports / "ferries" / "backtest"
    assert told["history"].startswith("![")
    assert told["reliability"].startswith("![")
    assert check(first, "backtest").check_name == "miscalibration"
    run = harbour.platform.tracking().describe(told["mlflow_run_id"])
    assert (run["status"], run["tags"]["kind"]) == ("FINISHED", "backtest")
    again = metadata(harbour.make(build_backtest(harbour.system)), "backtest")
    assert (again["cuts_computed"], again["cuts_kept"]) == (0, told["cuts_computed"])
    assert again["content_hash"] == told["content_hash"]
    assert again["unchanged"]


def test_a_history_too_short_to_cut_is_told(tmp_path: Path) -> None:
    """Cuts a year apart find none in five months: the asset is made without rows, and its check says why."""
    declaration = ferries.DECLARATION.replace("gates:", "backtest: {every: 52w}\ngates:")
    system = ferries.write_system(tmp_path, declaration=declaration)
    short = Harbour(system, tmp_path / "home", ferries.training_frame(80))
    short.platform.warehouse().publish(
        "ferries/training_set/all", short.frame, facts={"knowledge_until": NOW.isoformat()}
    )
    result = short.make(build_backtest(system))
    assert metadata(result, "backtest")["dagster/row_count"] == 0
    found = check(result, "backtest")
    assert found.passed
    assert found.description == "No cut could answer yet: see what was skipped."
    assert len(short.table("backtest/all")) == 0
