"""One build whole, and builds that fail: champion, bundles and registered versions stay as they were."""

from __future__ import annotations

import json

import numpy as np
import pytest

from forecastle.contract.errors import LearnError
from forecastle.learn import build
from forecastle.learn.bundle import load_bundle
from forecastle.learn.golden import golden_faults
from forecastle.learn.score import score_rows
from forecastle.learn.tracking import Tracking
from tests.learn import ferries
from tests.learn.conftest import Doors


def rebuild(system, frame, doors: Doors, tracking: Tracking | None = None):
    return build.build_model(system, "trees", frame, ferries.recording(doors.folder, run_id="run-2", tracking=tracking))


def left(mlflow, doors: Doors) -> tuple[list[str], list[str]]:
    """Names of bundles, and registered versions."""
    client = mlflow.MlflowClient(doors.tracking.uri, doors.tracking.uri)
    versions = client.search_model_versions("name = 'ferries'")
    return sorted(p.name for p in doors.bundles.iterdir()), sorted(v.version for v in versions)


def test_the_bundle_says_where_it_comes_from(built) -> None:
    """Facts name model, feature set, training set, runs, version and windows."""
    facts = built.bundle.facts
    assert facts["model"] == "trees"
    assert facts["feature_set"] == built.bundle.feature_set.hash
    assert (facts["training_set_hash"], facts["training_set_version"]) == ("ab" * 32, 4)
    assert facts["trained_at"] == ferries.NOW.isoformat()
    assert facts["knowledge_until"] == ferries.NOW.isoformat()
    assert (facts["mlflow_run_id"], facts["dagster_run_id"]) == (built.model.mlflow_run_id, "run-1")
    assert facts["model_version"] == built.model.model_version
    assert facts["test_from"] == built.model.trained.split.test_from.isoformat()


def test_the_bundle_scores_the_test_rows_as_training_did(built) -> None:
    """Bundle, by name and with its own on-demand code, gives the probabilities that were evaluated, bit for bit."""
    rows = build.test_rows(built.frame, built.model)
    shuffled = rows[rows.columns[::-1]].drop(columns="strain")
    scores = score_rows(built.bundle, shuffled)
    assert np.array_equal(scores.raw, rows["raw_score"])
    assert np.array_equal(scores.probability, rows["probability"])
    assert set(rows["bundle"]) == {built.model.bundle}


def test_references_describe_the_training_rows_only(built) -> None:
    """Drift is measured against the rows the model learned from, not those it was tested on."""
    trained = built.model.trained
    assert set(built.bundle.reference) == set(ferries.FEATURES)
    record = built.bundle.reference["booked_ratio"]
    rows = built.frame["booked_ratio"].iloc[trained.split.train]
    assert record["rows"] == len(rows)
    assert record["nulls"] == int(rows.isna().sum())


def test_lineage_goes_through_sql_and_code(system) -> None:
    """A view's feature comes from its column, an on-demand one from the columns of its inputs."""
    lineage = build.feature_lineage(system)
    assert lineage["guess"] == (("reports", "guess"),)
    assert lineage["strain"] == (("bookings", "ratio"), ("reports", "wind"))


def test_the_cluster_is_the_entity_unless_declared(system) -> None:
    """Rows of one crossing settle together."""
    assert build.cluster_column(system) == "crossing_id"


def test_a_start_goes_the_whole_way(doors, mlflow, frame, tmp_path) -> None:
    """Bundle, batch scores, golden rows, card and MLflow agree that the trees start from the guess."""
    declaration = ferries.DECLARATION.replace(
        "    seed: 3", "    seed: 3\n    start_from: guess\n    rounds: cross_validated"
    )
    made = rebuild(ferries.write_system(tmp_path / "started", declaration=declaration), frame, doors)
    bundle = load_bundle(doors.bundles / made.bundle, expected_hash=made.bundle)
    rows = build.test_rows(frame, made)
    assert bundle.feature_set.model_features[bundle.start] == made.trained.start_from == "guess"
    assert golden_faults(bundle) == ()
    scores = score_rows(bundle, rows[rows.columns[::-1]].drop(columns="strain"))
    assert np.array_equal(scores.raw, rows["raw_score"])
    assert np.array_equal(scores.probability, rows["probability"])
    assert "Starts from: guess" in bundle.card
    run = mlflow.MlflowClient(doors.tracking.uri, doors.tracking.uri).get_run(made.mlflow_run_id)
    assert (run.data.tags["start_from"], run.data.params["start_from"]) == ("guess", "guess")
    told = run.data.tags["mlflow.note.content"]
    assert "its own predictions are wrong" in told
    assert told in bundle.card
    assert run.data.params["rounds"] == str(made.trained.rounds.rounds)
    assert run.data.metrics["held_out.log_loss"] == made.trained.rounds.log_loss


def test_a_second_build_is_a_second_version(built, doors, mlflow) -> None:
    """The same rows again: same trees, another run, so another version and another bundle."""
    again = rebuild(built.system, built.frame, doors)
    assert again.trained.model_bytes == built.model.trained.model_bytes
    assert int(again.model_version) == int(built.model.model_version) + 1
    assert again.bundle != built.model.bundle
    assert left(mlflow, doors)[0] == sorted([built.model.bundle, again.bundle])
    assert load_bundle(doors.bundles / again.bundle, expected_hash=again.bundle).facts["dagster_run_id"] == "run-2"


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.iloc[:0],
        lambda f: f.assign(outcome=1),
        lambda f: f.assign(**dict.fromkeys(ferries.FEATURES, 2.0)),
        lambda f: f.assign(guess=f["guess"] * 100),
        lambda f: f.assign(outcome=np.nan),
    ],
    ids=["no rows", "one class", "constant", "baseline is no probability", "no outcomes"],
)
def test_bad_rows_register_nothing(built, doors, mlflow, change) -> None:
    """Rows that cannot give a model are refused with a reason before anything is registered or written."""
    before = left(mlflow, doors)
    pointer = json.dumps({"bundle": built.model.bundle})
    doors.pointer.parent.mkdir()
    doors.pointer.write_text(pointer)
    with pytest.raises(LearnError):
        rebuild(built.system, change(built.frame), doors)
    assert left(mlflow, doors) == before
    assert doors.registry.history("ferries") == []
    assert doors.pointer.read_text() == pointer


class FailsAt(Tracking):
    """MLflow that stops working at one call."""

    def __init__(self, doors: Doors, call: str) -> None:
        super().__init__(doors.folder / "mlflow")
        self._call = call

    def _stop(self, call: str) -> None:
        if call == self._call:
            raise OSError(f"MLflow stopped at {call}")

    def register(self, *args, **kwargs):
        self._stop("register")
        return super().register(*args, **kwargs)

    def log_files(self, *args, **kwargs):
        self._stop("log_files")
        super().log_files(*args, **kwargs)

    def tag(self, *args, **kwargs):
        self._stop("tag")
        super().tag(*args, **kwargs)


class TakenNumbers(Tracking):
    """MLflow in which another process has registered between the look and the act, once."""

    looked = 0

    def next_version(self, system: str) -> str:
        self.looked += 1
        return str(int(super().next_version(system)) - 1)


def test_a_number_that_was_taken_is_not_the_bundles(built, doors, mlflow) -> None:
    """The bundle names the version that MLflow gave, and nothing of the first attempt is left."""
    versions, bundles = left(mlflow, doors)[:2]
    tracking = TakenNumbers(doors.folder / "mlflow")
    made = rebuild(built.system, built.frame, doors, tracking)
    assert tracking.looked == 1
    after = left(mlflow, doors)
    assert (len(after[0]), len(after[1])) == (len(versions) + 1, len(bundles) + 1)
    assert load_bundle(doors.bundles / made.bundle).facts["model_version"] == made.model_version


def test_a_version_is_registered_only_when_its_bundle_is_whole(built, doors) -> None:
    """Whoever is killed at registration leaves a whole bundle, never a version without one."""

    class Looks(Tracking):
        def register(self, *args, **kwargs):
            newest = max(doors.bundles.iterdir(), key=lambda folder: folder.stat().st_ctime_ns)
            assert load_bundle(newest).facts["mlflow_run_id"] == kwargs["run_id"]
            return super().register(*args, **kwargs)

    made = rebuild(built.system, built.frame, doors, Looks(doors.folder / "mlflow"))
    assert (doors.bundles / made.bundle).is_dir()


@pytest.mark.parametrize("call", ["register", "log_files", "tag"])
def test_a_build_that_fails_late_takes_back_what_it_registered(built, doors, mlflow, call) -> None:
    """When MLflow stops half way, the version and the bundle of this build are gone again."""
    before = left(mlflow, doors)
    with pytest.raises(OSError, match=f"stopped at {call}"):
        rebuild(built.system, built.frame, doors, FailsAt(doors, call))
    assert left(mlflow, doors) == before


def test_a_disk_that_is_full_takes_the_version_back(built, doors, mlflow, monkeypatch) -> None:
    """When the bundle cannot be written, no registered version without a bundle stays."""
    before = left(mlflow, doors)

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "write_bundle", full)
    with pytest.raises(OSError, match="No space"):
        rebuild(built.system, built.frame, doors)
    assert left(mlflow, doors) == before
