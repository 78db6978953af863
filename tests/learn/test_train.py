"""Training: the same bytes every time, features by name, reasons instead of useless models."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Model, Split
from forecastle.learn.native_booster import NativeBooster
from forecastle.learn.train import TrainedModel, feature_matrix, train_model
from tests.learn.ferries import FEATURES, training_frame

PARAMS = {
    "n_estimators": 12,
    "num_leaves": 4,
    "min_child_samples": 10,
    "n_jobs": 1,
    "deterministic": True,
    "verbosity": -1,
}
SPLIT = Split(test=0.3, calibrate=0.3, embargo=timedelta(days=1))


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
    assert np.array_equal(native.predict(matrix), trained.test_raw)
    assert np.array_equal(trained.calibrator.apply(trained.test_raw), trained.test_probability)


def test_golden_rows_are_bit_equal_one_by_one(trained) -> None:
    """Each golden row gives its raw score through the single-row path and its probability through the calibrator."""
    native = NativeBooster(trained.model_bytes, expected_sha256=hashlib.sha256(trained.model_bytes).hexdigest())
    golden = trained.golden
    assert len(golden.rows) == len(golden.raw) == len(golden.probability) == 32
    for row, raw, probability in zip(golden.rows, golden.raw, golden.probability, strict=True):
        assert native.predict_one([np.nan if value is None else value for value in row]) == raw
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
    """With outcomes of calibration and test rows turned round, the trees are the same to the byte."""
    later = np.concatenate([trained.split.calibrate, trained.split.test])
    turned = frame.copy()
    turned.loc[later, "outcome"] = 1 - turned.loc[later, "outcome"]
    assert train(turned, calibrate="identity").model_bytes == trained.model_bytes


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
            "nothing to learn in 287 training rows .constant or null there: wind_mps, guess, booked_ratio, strain",
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
    """A training set too small for the calibrator's folds is told as such."""
    frame = training_frame(110)
    frame["crossing_id"] = 7
    with pytest.raises(LearnError, match="no calibrator can be fitted on"):
        train(frame)
