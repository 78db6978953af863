"""Models of several frameworks trained whole: weights, early stopping, searches, walking forward."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Model, Split
from forecastle.learn import build
from forecastle.learn.bundle import load_bundle
from forecastle.learn.early_stopping import stopped
from forecastle.learn.fit import Rows, class_weights, fit, unweighted
from forecastle.learn.golden import golden_faults
from forecastle.learn.score import score_rows
from forecastle.learn.search import search_params
from forecastle.learn.split import Times
from forecastle.learn.train import TrainedModel, train_model
from forecastle.measure.calibrators import VennAbers
from tests.learn import ferries
from tests.learn.conftest import Doors
from tests.learn.ferries import FEATURES

TREES = {"n_estimators": 12, "num_leaves": 4, "min_child_samples": 10, "n_jobs": 1, "verbosity": -1}
DAY = timedelta(days=1)


def train(frame: pd.DataFrame, *, split: dict[str, Any] | None = None, **changes: Any) -> TrainedModel:
    declared = {"estimator": "lightgbm.LGBMClassifier", "params": TREES, "seed": 3, **changes}
    told = Split.model_validate({"test": 0.3, "folds": 3, "embargo": DAY, **(split or {})})
    return train_model(
        frame, name="x", model=Model.model_validate(declared), features=FEATURES, split=told, cluster="crossing_id",
    )  # fmt: skip


@pytest.mark.parametrize("weights", ["balanced", {"0": 1.0, "1": 12.0}])
@pytest.mark.parametrize("estimator", ["lightgbm.LGBMClassifier", "sklearn.linear_model.LogisticRegression"])
def test_weights_leave_probabilities_calibrated(estimator: str, weights: Any) -> None:
    """One outcome in eight: weighted scores are far above it, calibrated probabilities of the test rows are not."""
    frame = ferries.training_frame(2_400, seed=5)
    rare = (np.random.default_rng(1).random(len(frame)) < frame["guess"] ** 2).astype(np.int64)
    frame = frame.assign(outcome=np.where(np.random.default_rng(2).random(len(frame)) < 0.55, rare, 0))
    params = TREES if estimator.startswith("lightgbm") else {}
    found = train(frame, estimator=estimator, params=params, class_weight=weights, preprocess="standard")
    happened = frame["outcome"].iloc[found.split.test].mean()
    assert happened < 0.15
    assert found.test_raw.mean() > 2 * happened
    assert found.test_probability.mean() == pytest.approx(happened, abs=0.03)
    assert found.calibrator.name not in {"identity", "temperature"}


def test_weights_are_arithmetic() -> None:
    """Balanced, 2 of 8: 8 / (2 × 6) and 8 / (2 × 2); odds of 3 with weights 1 and 6 were odds of one half."""
    balanced = Model(estimator="a.B", class_weight="balanced")
    assert class_weights(balanced, np.array([1.0, 1, 0, 0, 0, 0, 0, 0])) == (8 / 12, 2.0)
    assert class_weights(Model(estimator="a.B"), np.array([1.0])) is None
    assert unweighted(np.array([3 / 4]), (1.0, 6.0)) == pytest.approx([1 / 3])
    assert unweighted(np.array([0.3]), None) == [0.3]


def made_rows(count: int = 400) -> Rows:
    """One useful feature, one of noise; asked every six hours, known a day later."""
    generator = np.random.default_rng(8)
    risk, noise = generator.random(count), generator.random(count)
    at = np.datetime64("2026-01-01", "us") + np.arange(count) * np.timedelta64(6, "h")
    outcomes = (generator.random(count) < 0.1 + 0.8 * risk).astype(float)
    times = Times(at, at + np.timedelta64(1, "D"))
    return Rows(("risk", "noise"), np.column_stack([risk, noise]), outcomes, np.arange(count), None, times)


@pytest.mark.parametrize("estimator", ["lightgbm.LGBMClassifier", "xgboost.XGBClassifier"])
@pytest.mark.parametrize("weights", [None, "balanced"])
def test_early_stopping_watches_the_newest_rows(estimator: str, weights: Any) -> None:
    """The rounds are those of lowest log loss on the newest fifth, by a model of what was known before it."""
    leaves = {"num_leaves": 8, "verbosity": -1} if estimator.startswith("lightgbm") else {"max_depth": 3}
    params = {"n_estimators": 80, "learning_rate": 0.3, "n_jobs": 1, **leaves}
    declared = {"estimator": estimator, "params": params, "early_stopping": {"rounds": 80}, "class_weight": weights}
    model, rows = Model.model_validate(declared), made_rows()
    stop = stopped(model, rows, embargo=DAY)
    assert stop is not None
    older = np.arange(400) <= 320 - 8  # 8 × 6 h: the label's own day and the embargo's
    made = fit(model, rows.take(older))
    watched = rows.take(np.arange(400) >= 320)
    by_outcome = np.array(class_weights(model, rows.outcomes[older]) or (1.0, 1.0))
    weight = by_outcome[watched.outcomes.astype(int)]
    losses = []
    for count in range(1, 81):
        p = made.scores(watched.matrix, rounds=count)
        loss = -np.where(watched.outcomes == 1, np.log(p), np.log1p(-p))
        losses.append(np.average(loss, weights=weight))
    assert losses[stop.rounds - 1] == pytest.approx(min(losses), abs=1e-6)
    assert stop.reason.startswith(f"{stop.rounds} rounds have the lowest log loss on the newest 80 training rows")
    assert stopped(model.model_copy(update={"early_stopping": None}), rows, embargo=DAY) is None


def test_early_stopping_says_what_it_lacks() -> None:
    """An embargo that leaves no older rows is a reason, not a traceback."""
    model = Model.model_validate(
        {"estimator": "lightgbm.LGBMClassifier", "params": TREES, "early_stopping": {"rounds": 3}}
    )
    with pytest.raises(LearnError, match="early stopping has 0 older rows"):
        stopped(model, made_rows(), embargo=timedelta(days=500))


SEARCH = {
    "trials": 7, "folds": 2,
    "space": {"learning_rate": {"low": 0.01, "high": 0.5, "log": True}, "num_leaves": {"low": 2, "high": 8, "step": 2},
              "boosting_type": ["gbdt", "nonsense"]},
}  # fmt: skip


def test_a_search_is_seeded_and_keeps_every_trial() -> None:
    """The same trials twice; the best has the lowest loss; a refused trial is kept with its reason."""
    params = {**TREES, "learning_rate": 0.1}
    declared = {"estimator": "lightgbm.LGBMClassifier", "params": params, "search": SEARCH, "seed": 2}
    model = Model.model_validate(declared)
    one, other = (search_params(model, made_rows(), embargo=DAY) for _ in range(2))
    assert one == other is not None
    assert len(one.trials) == 7
    assert one.trials[0].params["learning_rate"] == 0.1
    judged = [trial for trial in one.trials if trial.log_loss is not None]
    assert 0 < len(judged) < 7
    assert dict(one.params) == dict(min(judged, key=lambda trial: trial.log_loss).params)
    assert one.log_loss == min(trial.log_loss for trial in judged)
    assert all("cannot be fitted" in trial.fault for trial in one.trials if trial.log_loss is None)
    assert {trial.params["num_leaves"] for trial in one.trials} <= {2, 4, 6, 8}
    assert list(one.table()["trial"]) == list(range(7))
    assert f"of 7 trials on {2 * 400 // 3 + 1} rows of 2 walk-forward folds" in one.reasons[0]


def test_a_trial_is_judged_on_walk_forward_folds() -> None:
    """The log loss is that of fits on each fold's past, computed here once more."""
    space = {"trials": 1, "folds": 3, "space": {"num_leaves": [4, 6]}}
    model = Model.model_validate({"estimator": "lightgbm.LGBMClassifier", "params": TREES, "search": space})
    rows, losses = made_rows(), []
    found = search_params(model, rows, embargo=DAY)
    assert found is not None
    assert dict(found.params) == {"num_leaves": 4}
    for begin in (100, 200, 300):
        seen, asked = rows.take(np.arange(400) <= begin - 8), rows.take(np.arange(begin, begin + 100))
        p = fit(model.model_copy(update={"search": None}), seen).scores(asked.matrix)
        losses.append(-np.where(asked.outcomes == 1, np.log(p), np.log1p(-p)))
    assert found.log_loss == pytest.approx(np.concatenate(losses).mean())


def test_a_search_that_only_fails_says_why() -> None:
    """The first fault is the reason; too short a history is another."""
    space = {"trials": 2, "space": {"boosting_type": ["nonsense"]}}
    model = Model.model_validate({"estimator": "lightgbm.LGBMClassifier", "params": TREES, "search": space})
    with pytest.raises(LearnError, match=r"all 2 trials of the search failed, the first with: .*cannot be fitted"):
        search_params(model, made_rows(), embargo=DAY)
    with pytest.raises(LearnError, match="none of 3 walk-forward folds of 400 training rows has 20 rows"):
        search_params(model, made_rows(), embargo=timedelta(days=400))


def test_a_search_sees_nothing_of_the_test_part(frame) -> None:
    """With outcomes of test rows turned round, the same parameters are found and the same trees are grown."""
    search = {"trials": 3, "space": {"num_leaves": {"low": 2, "high": 8}}}
    one = train(frame, search=search)
    turned = frame.copy()
    turned.loc[one.split.test, "outcome"] = 1 - turned.loc[one.split.test, "outcome"]
    other = train(turned, search=search)
    assert (one.search, one.model_bytes) == (other.search, other.model_bytes)
    assert one.params["num_leaves"] == one.search.params["num_leaves"]


def test_walking_forward_each_block_has_its_own_model(frame) -> None:
    """Each block is answered as by a model trained up to it alone; the last one's is kept."""
    walked = train(frame, split={"walk_forward": {"folds": 3}})
    assert len(walked.split.blocks) == 3
    for block in walked.split.blocks:
        alone = train_model(
            frame.iloc[np.union1d(block.train, block.test)].reset_index(drop=True),
            name="x", model=Model.model_validate({"estimator": "lightgbm.LGBMClassifier", "params": TREES, "seed": 3}),
            features=FEATURES, split=Split(embargo=DAY, folds=3), cluster="crossing_id", test_from=block.test_from,
        )  # fmt: skip
        where = np.isin(walked.split.test, block.test)
        assert np.array_equal(walked.test_raw[where], alone.test_raw)
        assert np.array_equal(walked.test_probability[where], alone.test_probability)
    assert walked.model_bytes == alone.model_bytes
    assert walked.golden == alone.golden


def test_venn_abers_gives_an_interval(frame) -> None:
    """The calibrator that a declaration names reaches the bundle's interval: low ≤ probability ≤ high."""
    found = train(frame, calibrate="venn_abers")
    assert isinstance(found.calibrator, VennAbers)
    low, high = found.calibrator.interval_scalar(float(found.test_raw[0]))
    assert low <= found.test_probability[0] <= high


FOREST = ferries.DECLARATION.replace(
    "    estimator: lightgbm.LGBMClassifier\n", "    estimator: sklearn.ensemble.RandomForestClassifier\n"
).replace(
    "{n_estimators: 15, num_leaves: 4, min_child_samples: 10, n_jobs: 1, deterministic: true, verbosity: -1}",
    "{n_estimators: 9, max_depth: 4}\n    search: {trials: 2, space: {max_depth: [3, 4]}}",
)


def test_a_forest_goes_the_whole_way(doors: Doors, mlflow, frame, tmp_path: Path) -> None:
    """Training, bundle, batch scores, golden rows, card and MLflow agree on a scikit-learn model."""
    system = ferries.write_system(tmp_path, declaration=FOREST)
    made = build.build_model(system, "trees", frame, ferries.recording(doors.folder, run_id="run-3"))
    bundle = load_bundle(doors.bundles / made.bundle, expected_hash=made.bundle)
    assert bundle.scoring.kind == "skops"
    assert bundle.scoring.types == ("sklearn.tree._tree.Tree",)
    assert set(bundle.scoring.requires) == {"scikit-learn", "skops"}
    assert golden_faults(bundle) == ()
    rows = build.test_rows(frame, made)
    scores = score_rows(bundle, rows[rows.columns[::-1]].drop(columns="strain"))
    assert np.array_equal(scores.raw, rows["raw_score"])
    assert np.array_equal(scores.probability, rows["probability"])
    assert "## Search" in bundle.card
    client = mlflow.MlflowClient(doors.tracking.uri, doors.tracking.uri)
    run = client.get_run(made.mlflow_run_id)
    assert run.data.params["max_depth"] == str(made.trained.search.params["max_depth"])
    assert run.data.metrics["search.log_loss"] == made.trained.search.log_loss
    assert {file.path for file in client.list_artifacts(made.mlflow_run_id, "search")} == {
        "search/trials.csv", "search/trials.svg",
    }  # fmt: skip
    assert dataclasses.replace(bundle, model_sha256="") != bundle
