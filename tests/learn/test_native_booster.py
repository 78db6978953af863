"""The C path against the package's own predictor, bit for bit, and against damaged models."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from forecastle.contract.errors import BundleError
from forecastle.learn.native_booster import NativeBooster
from forecastle.learn.scorer import check_golden

WIDTH = 5


@pytest.fixture(scope="module")
def trained() -> tuple[lightgbm.Booster, bytes]:
    generator = np.random.default_rng(7)
    x = generator.normal(size=(800, WIDTH))
    x[generator.random(x.shape) < 0.1] = np.nan
    y = (np.nan_to_num(x[:, 0]) + generator.normal(size=800) > 0).astype(int)
    parameters = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 1}
    booster = lightgbm.train(parameters, lightgbm.Dataset(x, y), num_boost_round=40)
    return booster, booster.model_to_string().encode()


def native(model: bytes) -> NativeBooster:
    return NativeBooster(model, expected_sha256=hashlib.sha256(model).hexdigest())


value = st.one_of(st.floats(allow_nan=True, allow_infinity=True, width=64), st.just(float("nan")))


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.lists(value, min_size=WIDTH, max_size=WIDTH), min_size=1, max_size=8))
def test_one_row_and_many_rows_equal_the_package(trained, rows):
    """Single-row, matrix and `Booster.predict` give the same bits for any floats, missing ones included."""
    booster, model = trained
    ours = native(model)
    expected = booster.predict(np.array(rows)).tolist()
    assert [ours.score_row(row) for row in rows] == expected
    assert ours.scores(np.array(rows)).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.lists(value, min_size=WIDTH - 1, max_size=WIDTH - 1), min_size=1, max_size=8),
    starts=st.lists(st.floats(0, 1), min_size=8, max_size=8),
    column=st.integers(0, WIDTH - 1),
)
def test_a_start_is_added_with_the_same_bits_for_one_and_many(trained, rows, starts, column):
    """Any start from 0 to 1 in any column: trees and start add up, one row and many rows agree to the bit."""
    booster, model = trained
    ours = NativeBooster(model, expected_sha256=hashlib.sha256(model).hexdigest(), start=column)
    rows = [[*row[:column], start, *row[column:]] for row, start in zip(rows, starts, strict=False)]
    many = ours.scores(np.array(rows))
    assert [ours.score_row(row) for row in rows] == many.tolist()
    held = np.clip(np.array(rows)[:, column], 1e-12, 1 - 1e-12)
    trees = booster.predict(np.array(rows), raw_score=True)
    assert np.allclose(many, expit(trees + logit(held)), rtol=0, atol=1e-12)


def test_the_start_is_explained_as_its_features_part(trained):
    """The log-odds of the start count to its own feature; the parts still add up."""
    model = trained[1]
    row = [0.1, 0.2, 0.3, 0.4, 0.5]
    plain = native(model).explain_row(row)
    ours = NativeBooster(model, expected_sha256=hashlib.sha256(model).hexdigest(), start=1)
    found = ours.explain_row(row)
    assert found.contributions[1] == pytest.approx(plain.contributions[1] + np.log(0.2 / 0.8))
    assert found.log_odds == pytest.approx(plain.log_odds + np.log(0.2 / 0.8))
    assert sum(found.contributions) + found.expected == pytest.approx(found.log_odds)
    assert ours.score_row(row) == pytest.approx(expit(found.log_odds))


def test_threads_sharing_a_booster_get_their_own_answers(trained):
    """Four threads asking different rows at once each get the score of their own row."""
    booster, model = trained
    ours = native(model)
    rows = np.random.default_rng(3).normal(size=(4, WIDTH))
    expected = booster.predict(rows).tolist()
    wrong: list[float] = []

    def ask(index: int) -> None:
        row = rows[index].tolist()
        wrong.extend(score for _ in range(2_000) if (score := ours.score_row(row)) != expected[index])

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_changed_byte_never_reaches_the_parser(trained):
    """With the recorded digest every flipped byte and every truncation is refused by its digest."""
    model = trained[1]
    digest = hashlib.sha256(model).hexdigest()
    for damaged in (
        model[:-1],
        model[: len(model) // 2],
        model.replace(b"leaf_value", b"leaf_walue", 1),
        b"",
    ):
        with pytest.raises(BundleError, match="SHA-256"):
            NativeBooster(damaged, expected_sha256=digest)


def test_a_zero_byte_is_refused(trained):
    """C would read the text only up to a zero byte, so such a model is refused whole."""
    with pytest.raises(BundleError, match="zero byte"):
        native(trained[1] + b"\0tail")


def test_golden_rows_must_be_bit_equal(trained):
    """The next float above a recorded score already refuses the model."""
    booster, model = trained
    rows = [[0.1, 0.2, 0.3, 0.4, 0.5], [float("nan")] * WIDTH]
    scores = booster.predict(np.array(rows)).tolist()
    check_golden(native(model), rows, scores)
    with pytest.raises(BundleError, match="golden row 1"):
        check_golden(native(model), rows, [scores[0], float(np.nextafter(scores[1], 1))])
    with pytest.raises(BundleError, match="0 golden rows"):
        check_golden(native(model), [], [])


def test_a_row_of_another_width_is_refused(trained):
    """LightGBM would read past the row's end; we refuse before it does."""
    ours = native(trained[1])
    with pytest.raises(BundleError, match="4 values, the model takes 5"):
        ours.score_row([0.0] * 4)
    with pytest.raises(BundleError, match="shape"):
        ours.scores(np.zeros((2, 4)))
    assert ours.scores(np.zeros((0, WIDTH))).shape == (0,)


def test_many_classes_are_refused():
    """A multiclass model has no single score, so it is refused at load."""
    generator = np.random.default_rng(0)
    data = lightgbm.Dataset(generator.normal(size=(200, 2)), generator.integers(0, 3, 200))
    booster = lightgbm.train({"objective": "multiclass", "num_class": 3, "verbose": -1}, data, num_boost_round=2)
    with pytest.raises(BundleError, match="3 classes"):
        native(booster.model_to_string().encode())


def test_the_lightgbm_package_is_not_imported():
    """Loading the module and its library leaves lightgbm, pandas, scikit-learn and SciPy out."""
    code = (
        "import sys; from forecastle.learn import native_booster as n; n._library();"
        "print(sorted({'lightgbm','pandas','sklearn','scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment())
    assert done.stdout.strip() == "[]"


def _environment() -> dict[str, str]:
    import os
    from pathlib import Path

    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "platform")}


@settings(max_examples=30, deadline=None)
@given(row=st.lists(value, min_size=WIDTH, max_size=WIDTH))
def test_an_explanation_is_the_packages_own_and_adds_up(trained, row):
    """Contributions, expected value and log-odds bit for bit as the package gives them; their sum is checked."""
    booster, model = trained
    explained = native(model).explain_row(row)
    *parts, expected = booster.predict(np.array([row]), pred_contrib=True)[0].tolist()
    assert (list(explained.contributions), explained.expected) == (parts, expected)
    assert explained.log_odds == booster.predict(np.array([row]), raw_score=True)[0]
    assert abs(explained.residual) < 1e-12


def test_an_explanation_that_does_not_add_up_is_an_error(trained, monkeypatch):
    """A tolerance below rounding makes the check fail: it looks at the numbers that leave."""
    monkeypatch.setattr("forecastle.learn.native_booster.SUM_TOLERANCE", -1.0)
    with pytest.raises(ArithmeticError, match="miss the log-odds"):
        native(trained[1]).explain_row([0.0] * WIDTH)


def test_an_explanation_needs_a_row_of_the_models_width(trained):
    """Too few values are named, not read past."""
    with pytest.raises(BundleError, match="row has 2 values"):
        native(trained[1]).explain_row([0.0, 1.0])
