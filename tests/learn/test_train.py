"""Training: the same bytes every time, features by name, reasons instead of useless models."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from itertools import combinations

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Model, Split
from forecastle.learn.feature_matrix import feature_matrix
from forecastle.learn.native_booster import NativeBooster
from forecastle.learn.scorer import check_golden
from forecastle.learn.train import TrainedModel, train_model
from tests.learn.ferries import FEATURES, training_frame

PARAMS = {
    "n_estimators": 12,
    "num_leaves": 4,
    "min_child_samples": 10,
    "n_jobs": 1,
    "deterministic": True,
    "verbosity": -1,
}
SPLIT = Split(test=0.3, folds=4, embargo=timedelta(days=1))


def train(frame: pd.DataFrame, *, features: tuple[str, ...] = FEATURES, **changes: object) -> TrainedModel:
    declared = {"estimator": "lightgbm.LGBMClassifier", "params": PARAMS, "seed": 3, **changes}
    return train_model(
        frame, name="trees", model=Model.model_validate(declared), features=features, split=SPLIT, cluster="crossing_id"
    )


@pytest.fixture(scope="module")
def trained(frame: pd.DataFrame) -> TrainedModel:
    return train(frame)


def test_the_same_rows_give_the_same_bytes(frame, trained) -> None:
    """Two trainings on one training set give one model text, one calibrator, one set of golden rows."""
    again = train(frame.copy())
    assert again.model_bytes == trained.model_bytes
    assert again.calibrator == trained.calibrator
    assert again.golden == trained.golden
    assert np.array_equal(again.test_probability, trained.test_probability)


def test_columns_are_found_by_name(frame, trained) -> None:
    """A training set with its columns in reverse order, and strangers among them, gives the same model and scores."""
    shuffled = frame[frame.columns[::-1]].assign(stranger=1.0)
    again = train(shuffled)
    assert again.model_bytes == trained.model_bytes
    assert np.array_equal(again.test_raw, trained.test_raw)


def test_the_estimator_sees_the_declared_order(trained) -> None:
    """The model's own feature names are the declared ones, in the declared order."""
    assert tuple(lightgbm.Booster(model_str=trained.model_bytes.decode()).feature_name()) == FEATURES


def test_scores_of_test_rows_are_those_of_the_saved_text(frame, trained) -> None:
    """The text that goes into the bundle says of every test row what the fitted estimator said, by the C path too."""
    native = NativeBooster(trained.model_bytes, expected_sha256=hashlib.sha256(trained.model_bytes).hexdigest())
    matrix = feature_matrix(frame, FEATURES)[trained.split.test]
    saved = lightgbm.Booster(model_str=trained.model_bytes.decode()).predict(matrix)
    assert np.array_equal(saved, trained.test_raw)
    assert np.array_equal(native.scores(matrix), trained.test_raw)
    assert np.array_equal(trained.calibrator.apply(trained.test_raw), trained.test_probability)


def test_golden_rows_are_bit_equal_one_by_one(trained) -> None:
    """Each golden row gives its raw score through the single-row path and its probability through the calibrator."""
    native = NativeBooster(trained.model_bytes, expected_sha256=hashlib.sha256(trained.model_bytes).hexdigest())
    golden = trained.golden
    assert len(golden.rows) == len(golden.raw) == len(golden.probability) == 32
    for row, raw, probability in zip(golden.rows, golden.raw, golden.probability, strict=True):
        assert native.score_row([np.nan if value is None else value for value in row]) == raw
        assert trained.calibrator.apply_scalar(raw) == probability
    assert min(golden.raw) == trained.test_raw.min()
    assert max(golden.raw) == trained.test_raw.max()


def test_importances_are_shares_of_gain(trained) -> None:
    """The shares of all features add up to one, the greatest first."""
    shares = trained.importances["importance"]
    assert set(trained.importances["feature"]) == set(FEATURES)
    assert shares.sum() == pytest.approx(1)
    assert shares.is_monotonic_decreasing


def test_nothing_after_the_boundary_changes_the_model(frame, trained) -> None:
    """With outcomes of test rows turned round, rounds, trees and calibrator are the same."""
    turned = frame.copy()
    turned.loc[trained.split.test, "outcome"] = 1 - turned.loc[trained.split.test, "outcome"]
    again = train(turned)
    assert (again.model_bytes, again.rounds, again.calibrator) == (
        trained.model_bytes, trained.rounds, trained.calibrator,
    )  # fmt: skip


def test_a_declared_calibrator_is_taken(frame) -> None:
    """What the declaration names is fitted, and the reason says that it was declared."""
    found = train(frame, calibrate="temperature")
    assert found.calibrator.name == "temperature"
    assert found.calibrator_reasons == ("calibrator temperature is declared",)


def test_auto_says_why(trained) -> None:
    """The chosen calibrator comes with its candidates and reasons."""
    assert trained.calibrator.name in {row.name for row in trained.calibrator_table}
    assert trained.calibrator_reasons


def constant(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**dict.fromkeys(FEATURES, 1.0))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            constant,
            "nothing to learn in 416 training rows .constant or null there: wind_mps, guess, booked_ratio, strain",
        ),
        (lambda f: f.assign(**dict.fromkeys(FEATURES, np.nan)), "constant or null there: wind_mps"),
        (lambda f: f.assign(outcome=1), "only outcome 1"),
        (lambda f: f.assign(outcome=0), "only outcome 0"),
        (lambda f: f.iloc[:0], "no rows"),
        (lambda f: f.iloc[:50], "at least 20 are required"),
        (lambda f: f.assign(guess=np.inf), "guess has infinite values"),
        (lambda f: f.drop(columns="guess"), "no column guess"),
    ],
)
def test_rows_that_teach_nothing_are_refused(frame, change, told) -> None:
    """Constant or null features, one class, no rows, infinite values: an error with the reason, no model."""
    with pytest.raises(LearnError, match=told):
        train(change(frame).reset_index(drop=True))


def test_leaves_too_large_for_the_rows_are_named(frame) -> None:
    """Where no feature is constant, the reason points to the leaves."""
    with pytest.raises(LearnError, match=r"no feature is constant.*smaller leaves"):
        train(frame, params={**PARAMS, "min_child_samples": 10_000})


def test_one_null_feature_is_no_reason_to_refuse(frame) -> None:
    """A feature that nobody can give yet is null throughout; the others still make a model."""
    found = train(frame.assign(booked_ratio=np.nan))
    assert found.importances.set_index("feature").loc["booked_ratio", "importance"] == 0


column = st.sampled_from(["as is", "null", "constant", "few values", "mostly null"])


@settings(max_examples=30, deadline=None)
@given(
    kinds=st.tuples(column, column, column, column),
    rate=st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]),
    rows=st.sampled_from([0, 1, 60, 130, 400]),
    seed=st.integers(0, 50),
)
def test_any_rows_give_a_model_or_a_reason(kinds: tuple[str, ...], rate: float, rows: int, seed: int) -> None:
    """Whatever the rows are like, training ends in probabilities for every test row or in an error that says why."""
    generator = np.random.default_rng(seed)
    frame = training_frame(max(rows, 1), seed=seed).iloc[:rows]
    frame["outcome"] = (generator.random(rows) < rate).astype(np.int64)
    for name, kind in zip(FEATURES, kinds, strict=True):
        replaced = {
            "as is": frame[name],
            "null": np.nan,
            "constant": 1.0,
            "few values": generator.integers(0, 2, rows).astype(float),
            "mostly null": frame[name].where(generator.random(rows) < 0.05),
        }
        frame[name] = replaced[kind]
    try:
        found = train(frame)
    except LearnError:
        return
    assert len(found.test_probability) == len(found.split.test) >= 20
    assert ((found.test_probability >= 0) & (found.test_probability <= 1)).all()
    assert found.importances["importance"].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"params": {**PARAMS, "learning_rate": -1.0}}, "cannot be fitted"),
        ({"estimator": "lightgbm.NoSuchClassifier"}, "NoSuchClassifier cannot be fitted: AttributeError"),
        ({"estimator": "no_such_package.Model"}, "cannot be fitted: ModuleNotFoundError"),
    ],
)
def test_an_estimator_that_refuses_is_named(frame, changes, told) -> None:
    """A bad parameter or path becomes an error that names the estimator."""
    with pytest.raises(LearnError, match=told):
        train(frame, **changes)


def test_scores_that_are_no_probabilities_fit_no_calibrator() -> None:
    """Only two of eight clusters come true: where both are in one fold of the calibrator's choice, it is refused."""
    frame = training_frame(160)
    frame["crossing_id"] = np.arange(160) % 8
    told = set()
    for pair in combinations(range(8), 2):
        try:
            train(frame.assign(outcome=frame["crossing_id"].isin(pair).astype(np.int64)))
        except LearnError as refusal:
            told.add(str(refusal).split(":")[0])
    assert "no calibrator can be fitted on 108 held-out scores" in told


def test_clusters_that_cannot_fill_the_folds_are_counted(frame) -> None:
    """Rows of one cluster have nothing that a model did not see."""
    with pytest.raises(LearnError, match=r"of 1 clusters, which cannot fill 4 folds: .* evaluate\.split\.folds"):
        train(frame.assign(crossing_id=7))


@pytest.fixture(scope="module")
def started(frame: pd.DataFrame) -> TrainedModel:
    return train(frame, start_from="guess", rounds="cross_validated")


def test_a_start_is_scored_in_every_path(frame, started) -> None:
    """Test scores are the sigmoid of the text's own sum plus the log-odds of the guess, in batch and row by row."""
    matrix = feature_matrix(frame, FEATURES)[started.split.test]
    trees = lightgbm.Booster(model_str=started.model_bytes.decode()).predict(matrix, raw_score=True)
    guess = matrix[:, FEATURES.index("guess")]
    assert started.start == FEATURES.index("guess")
    assert np.allclose(started.test_raw, expit(trees + logit(guess)), rtol=0, atol=1e-12)
    digest = hashlib.sha256(started.model_bytes).hexdigest()
    native = NativeBooster(started.model_bytes, expected_sha256=digest, start=started.start)
    assert [native.score_row(row) for row in matrix.tolist()] == started.test_raw.tolist()
    rows = [[np.nan if value is None else value for value in row] for row in started.golden.rows]
    check_golden(native, rows, started.golden.raw)


def test_a_start_is_found_by_name(frame, started) -> None:
    """With features declared in another order the start is another column and says the same."""
    other = train(frame, features=FEATURES[::-1], start_from="guess", rounds="cross_validated")
    assert (other.start, other.start_from) == (2, "guess")
    assert np.allclose(other.test_raw, started.test_raw, rtol=0, atol=1e-12)
    assert np.array_equal(
        train(frame[frame.columns[::-1]], start_from="guess", rounds="cross_validated").test_raw, started.test_raw
    )


def test_without_anything_to_learn_the_start_remains(frame) -> None:
    """Leaves too large for any split: log-odds are those of the guess within 1e-9, and that is a model."""
    found = train(frame, params={**PARAMS, "min_child_samples": 10_000}, start_from="guess", calibrate="identity")
    guess = frame["guess"].to_numpy()[found.split.test]
    assert np.abs(logit(found.test_raw) - logit(guess)).max() < 1e-9
    assert found.importances["importance"].sum() == 0


def test_a_start_that_is_no_probability_is_named(frame) -> None:
    """Log-odds would hold 1.5 inside and hide it."""
    with pytest.raises(LearnError, match=r"start_from 'guess' is 1\.5 in 1 rows"):
        train(frame.assign(guess=frame["guess"].where(frame.index != 3, 1.5)), start_from="guess")
    with pytest.raises(LearnError, match="start_from 'booked_ratio' is nan"):
        train(frame, start_from="booked_ratio")


def test_chosen_rounds_are_those_of_the_final_model(frame, started) -> None:
    """Every count up to twelve is scored, the lowest loss is taken, and the final trees are so many."""
    losses = {row.rounds: row.log_loss for row in started.rounds.table}
    assert list(losses) == list(range(1, 13))
    assert losses[started.rounds.rounds] == min(losses.values()) == started.rounds.log_loss
    assert lightgbm.Booster(model_str=started.model_bytes.decode()).num_trees() == started.rounds.rounds
    assert started.params["n_estimators"] == started.rounds.rounds
    lowest = f"{started.rounds.rounds} rounds have the lowest log loss, {started.rounds.log_loss:.6f}, on 4 held-out"
    assert started.rounds.reasons[0].startswith(lowest)
    assert started.rounds.reasons[1].startswith("trees start from guess, whose own log loss is ")
