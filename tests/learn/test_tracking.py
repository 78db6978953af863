"""MLflow on SQLite, for real: what one build leaves there, and that others can use it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastle.learn.feature_matrix import feature_matrix
from tests.learn.ferries import FEATURES, identity


@pytest.fixture(scope="module")
def run(built, mlflow):
    client = mlflow.MlflowClient(f"sqlite:///{built.mlflow / 'mlflow.db'}")
    return client.get_run(built.model.mlflow_run_id)


def test_the_run_is_finished_and_tagged(built, run) -> None:
    """Tags name feature set, training set, Dagster run, bundle and version."""
    tags = run.data.tags
    assert run.info.status == "FINISHED"
    assert tags["feature_set"] == built.system.feature_set("trees").hash
    assert tags["training_set"] == "ab" * 32
    assert tags["training_set_version"] == "4"
    assert tags["dagster_run_id"] == "run-1"
    assert tags["bundle"] == built.model.bundle
    assert tags["model_version"] == built.model.model_version


def test_parameters_and_metrics_are_those_of_the_model(built, run) -> None:
    """Parameters as the estimator had them, metrics as the evaluation gave them."""
    assert run.data.params["n_estimators"] == "15"
    assert run.data.params["calibrator"] == built.model.trained.calibrator.name
    assert run.data.metrics["model.brier"] == built.model.evaluation.value("model", "brier")
    assert run.data.metrics["brier_difference.baseline.mean"] == pytest.approx(
        built.model.evaluation.comparison("baseline").difference.estimate
    )


def test_the_training_set_is_an_input(run, tmp_path) -> None:
    """The data set's digest is the beginning of the training set's hash."""
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.name == "training_set"
    assert given.dataset.digest == identity(tmp_path).content_hash[:36]


def test_the_bundle_lies_with_the_run(built, mlflow) -> None:
    """Every file of the bundle is an artifact of its run."""
    client = mlflow.MlflowClient(f"sqlite:///{built.mlflow / 'mlflow.db'}")
    logged = {item.path for item in client.list_artifacts(built.model.mlflow_run_id, "bundle")}
    assert logged == {f"bundle/{file.name}" for file in (built.bundles / built.model.bundle).iterdir()}


def test_the_logged_model_loads_and_predicts_the_same(built, doors, mlflow) -> None:
    """The registered version loads through mlflow.lightgbm and says of every test row what the bundle's model said."""
    mlflow.set_tracking_uri(doors.tracking.uri)
    mlflow.set_registry_uri(doors.tracking.uri)
    booster = mlflow.lightgbm.load_model(f"models:/ferries/{built.model.model_version}")
    trained = built.model.trained
    rows = pd.DataFrame(feature_matrix(built.frame, FEATURES)[trained.split.test], columns=list(FEATURES))
    assert np.array_equal(booster.predict(rows), trained.test_raw)


def test_mlflow_users_get_calibrated_probabilities(built, doors, mlflow) -> None:
    """`mlflow.pyfunc` gives the bundle's own probabilities, whatever the order of columns; a missing one is refused."""
    mlflow.set_tracking_uri(doors.tracking.uri)
    mlflow.set_registry_uri(doors.tracking.uri)
    doors.tracking.alias("ferries", version=built.model.model_version)
    loaded = mlflow.pyfunc.load_model("models:/ferries@champion")
    rows = built.frame.iloc[built.model.trained.split.test][["booked_ratio", "guess", "wind_mps"]]
    found = loaded.predict(rows)
    assert np.array_equal(found["probability"], built.model.trained.test_probability)
    assert np.array_equal(found["raw_score"], built.model.trained.test_raw)
    with pytest.raises(mlflow.exceptions.MlflowException, match="guess"):
        loaded.predict(rows.drop(columns="guess"))


def test_the_alias_points_at_a_version(built, doors, mlflow) -> None:
    """`models:/ferries@champion` is the version that was promoted."""
    doors.tracking.alias("ferries", version=built.model.model_version)
    client = mlflow.MlflowClient(doors.tracking.uri, doors.tracking.uri)
    found = client.get_model_version_by_alias("ferries", "champion")
    assert str(found.version) == built.model.model_version
    assert found.run_id == built.model.mlflow_run_id
    assert found.tags["feature_set"] == built.system.feature_set("trees").hash


def test_a_failed_body_ends_the_run_as_failed(doors) -> None:
    """The run of a build that raised says FAILED, and the next one opens without a trace of it."""
    with pytest.raises(RuntimeError, match="boom"), doors.tracking.run("ferries", name="trees", tags={}) as run:
        raise RuntimeError("boom")
    assert doors.tracking.describe(run.run_id)["status"] == "FAILED"
    with doors.tracking.run("ferries", name="trees", tags={"a": "b"}) as following:
        assert following.run_id != run.run_id
    assert doors.tracking.describe(following.run_id)["status"] == "FINISHED"


def test_a_run_describes_itself(built, doors) -> None:
    """What `forecastle trace` prints of a run: name, status, own tags, metrics, data sets."""
    told = doors.tracking.describe(built.model.mlflow_run_id)
    assert (told["name"], told["status"]) == ("trees", "FINISHED")
    assert told["tags"]["bundle"] == built.model.bundle
    assert not [tag for tag in told["tags"] if tag.startswith("mlflow.")]
    assert told["datasets"][0]["name"] == "training_set"


def test_infinite_metrics_are_left_out(doors, tmp_path) -> None:
    """A baseline that was certain and wrong has an infinite log loss, which MLflow cannot keep."""
    frame = pd.DataFrame({"x": [1.0, 2.0], "outcome": [0, 1]})
    metrics = {"finite": 0.5, "infinite": float("inf"), "missing": float("nan"), "none": None}
    with doors.tracking.run("ferries", name="trees", tags={}) as run:
        doors.tracking.log_training(
            frame, name="rows", digest="cd" * 32, source=(tmp_path / "rows").as_uri(), params={"a": 1}, metrics=metrics
        )
    assert doors.tracking.describe(run.run_id)["metrics"] == {"finite": 0.5}


def test_a_version_is_archived_and_lives_again(built, doors, mlflow) -> None:
    """Tags say when it was replaced, and no longer do once it is live again; a version that was deleted is no fault."""
    version, at = built.model.model_version, "2026-06-02T00:00:00+00:00"
    client = mlflow.MlflowClient(doors.tracking.uri, doors.tracking.uri)

    def tags() -> tuple[str, str]:
        found = client.get_model_version("ferries", version).tags
        return found["state"], found["archived_at"]

    doors.tracking.archive("ferries", version=version, archived_at=at)
    assert tags() == ("archived", at)
    doors.tracking.archive("ferries", version=version, archived_at="")
    assert tags() == ("live", "")
    doors.tracking.withdraw("ferries", version=version)
    doors.tracking.archive("ferries", version=version, archived_at=at)
    assert client.search_model_versions("name = 'ferries'") == []


def test_what_the_gates_say_lies_with_the_run(built, doors, mlflow) -> None:
    """A decision is an artifact of the model's run and two tags to search by."""
    gates = [{"gate": "rows", "passed": False, "reason": "too few", "value": 3}]
    run_id = built.model.mlflow_run_id
    doors.tracking.log_decision(run_id, promote=False, evidence=gates, reason="too few")
    tags = doors.tracking.describe(run_id)["tags"]
    assert (tags["gates"], tags["gates.reason"]) == ("refused", "too few")
    client = mlflow.MlflowClient(doors.tracking.uri, doors.tracking.uri)
    assert "decision.json" in {item.path for item in client.list_artifacts(run_id)}
