"""Scorers of every kind: what was trained is what is opened again, one row and many rows give the same bits."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import BundleError, LearnError
from forecastle.contract.system import Model
from forecastle.learn.explanation import one_at_a_time
from forecastle.learn.fit import Fitted, Rows, fit
from forecastle.learn.foreign_model import TRUSTED, SklearnModel
from forecastle.learn.linear_model import LinearModel
from forecastle.learn.pack import with_means
from forecastle.learn.scorer import Scorer, check_golden, scorer_of
from forecastle.learn.scoring import Scoring, scoring_from_json

FEATURES = ("risk", "wind", "boats", "league")
GENERATOR = np.random.default_rng(4)


def made_rows(rows: int = 260) -> Rows:
    """A risk, a wind with nulls, a count, and a league of 1 to 3; outcomes follow risk and league."""
    risk, wind = GENERATOR.random(rows), GENERATOR.exponential(5, rows)
    wind[GENERATOR.random(rows) < 0.2] = np.nan
    league = GENERATOR.integers(1, 4, rows).astype(float)
    outcomes = (GENERATOR.random(rows) < 0.2 + 0.5 * risk + 0.05 * league).astype(float)
    matrix = np.column_stack([risk, wind, GENERATOR.integers(0, 40, rows), league])
    return Rows(FEATURES, matrix, outcomes, np.arange(rows), None)


ROWS = made_rows()


def pipeline(degree: int = 2) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    polynomial = PolynomialFeatures(degree=degree)
    return make_pipeline(SimpleImputer(), polynomial, StandardScaler(), LogisticRegression(max_iter=500))


class Own:
    """A class that stands in no installed package."""

    classes_ = (0, 1)

    def get_params(self) -> dict[str, Any]:
        return {}

    def fit(self, matrix: np.ndarray, outcomes: np.ndarray) -> None:
        self.n_features_in_, self.rate_ = matrix.shape[1], float(outcomes.mean())

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        return np.tile([1 - self.rate_, self.rate_], (len(matrix), 1))


FUNCTIONS: dict[str, Callable[..., Any]] = {"folder:pipeline": pipeline, "folder:own": Own}

DECLARED: dict[str, dict[str, Any]] = {
    "lightgbm": {
        "estimator": "lightgbm.LGBMClassifier", "preprocess": "standard", "one_hot": ["league"],
        "params": {"n_estimators": 8, "num_leaves": 4, "n_jobs": 1, "verbosity": -1, "deterministic": True}},
    "linear": {
        "estimator": "sklearn.linear_model.LogisticRegression", "preprocess": "standard", "one_hot": ["league"]},
    "xgboost": {"estimator": "xgboost.XGBClassifier", "params": {"n_estimators": 8, "max_depth": 3, "n_jobs": 1}},
    "forest": {
        "estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 7, "n_jobs": 2}},
    "histogram": {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "params": {"max_iter": 8}},
    "gradient": {
        "estimator": "sklearn.ensemble.GradientBoostingClassifier", "params": {"n_estimators": 8},
        "preprocess": "impute"},
    "network": {
        "estimator": "sklearn.neural_network.MLPClassifier", "preprocess": "standard",
        "params": {"hidden_layer_sizes": [3], "max_iter": 500, "tol": 0.01, "n_iter_no_change": 3}},
    "discriminant": {
        "estimator": "sklearn.discriminant_analysis.LinearDiscriminantAnalysis", "preprocess": "impute"},
    "naive": {"estimator": "sklearn.naive_bayes.GaussianNB", "preprocess": "impute"},
    "pipeline": {"estimator": "folder:pipeline", "params": {"degree": 2}},
}  # fmt: skip
KINDS = {"lightgbm": "lightgbm", "linear": "linear", "xgboost": "xgboost"}


def fitted(name: str, **changes: Any) -> Fitted:
    return fit(Model.model_validate({"seed": 3, **DECLARED[name], **changes}), ROWS, code=FUNCTIONS.__getitem__)


def opened(made: Fitted) -> Scorer:
    """The packed model by the way of a bundle: bytes, and what `scoring.json` says."""
    packed = with_means(made.packed(), ROWS.matrix)
    told = scoring_from_json(packed.scoring.to_json())
    assert told == packed.scoring
    return scorer_of(packed.model_bytes, told, start=None, sha256=hashlib.sha256(packed.model_bytes).hexdigest())


@pytest.fixture(scope="module")
def scorers() -> dict[str, tuple[Fitted, Scorer]]:
    found = {name: fitted(name) for name in DECLARED}
    return {name: (made, opened(made)) for name, made in found.items()}


VALUES = st.one_of(st.just(float("nan")), st.floats(-1e4, 1e4, allow_nan=False), st.sampled_from([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("name", DECLARED)
@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.lists(VALUES, min_size=4, max_size=4), min_size=1, max_size=23))
def test_one_row_and_many_give_the_same_bits(scorers: dict[str, tuple[Fitted, Scorer]], name: str, rows: Any) -> None:
    """However many rows stand beside it, a row has one score; twice the same rows, twice the same scores."""
    scorer, matrix = scorers[name][1], np.array(rows)
    many = scorer.scores(matrix)
    one = [scorer.score_row(row) for row in rows]
    assert np.array_equal(many, one, equal_nan=True)
    assert np.array_equal(scorer.scores(np.vstack([matrix, matrix]))[len(rows) :], many, equal_nan=True)


@pytest.mark.parametrize("name", DECLARED)
def test_what_was_fitted_is_what_is_opened(scorers: dict[str, tuple[Fitted, Scorer]], name: str) -> None:
    """The bytes give the estimator's own probabilities; only the last bits of a matrix product differ."""
    made, scorer = scorers[name]
    kind = made.packed().scoring.kind
    assert kind == KINDS.get(name, "skops")
    assert scorer.width == len(FEATURES)
    seen = ROWS.matrix if made.preprocess is None else made.preprocess.apply(ROWS.matrix)
    is_trees = name == "lightgbm"
    own = made.estimator.booster_.predict(seen) if is_trees else made.estimator.predict_proba(seen)[:, 1]
    np.testing.assert_allclose(scorer.scores(ROWS.matrix), own, rtol=1e-7)
    scores = scorer.scores(ROWS.matrix[:9])
    check_golden(scorer, ROWS.matrix[:9].tolist(), scores.tolist())
    assert scorer.scores(np.empty((0, 4))).shape == (0,)


@pytest.mark.parametrize("name", DECLARED)
def test_the_same_seed_gives_the_same_scores(scorers: dict[str, tuple[Fitted, Scorer]], name: str) -> None:
    """What is random in an estimator has the model's seed."""
    assert np.array_equal(opened(fitted(name)).scores(ROWS.matrix), scorers[name][1].scores(ROWS.matrix))


@pytest.mark.parametrize("name", ["lightgbm", "linear"])
def test_an_explanation_is_of_features_not_of_columns(scorers: dict[str, tuple[Fitted, Scorer]], name: str) -> None:
    """Indicators and one-hot columns count towards the feature they are made of, and the parts add up."""
    scorer, row = scorers[name][1], ROWS.matrix[7].tolist()
    told = scorer.explain_row(row)
    assert told is not None
    assert len(told.contributions) == len(FEATURES)
    assert told.expected + sum(told.contributions) == pytest.approx(told.log_odds)
    assert 1 / (1 + np.exp(-told.log_odds)) == pytest.approx(scorer.score_row(row))


def test_one_feature_at_a_time_beside_its_median() -> None:
    """Log-odds a + 2 b at (3, 1): a median of 1 for a is worth 3 − 1 = 2; None where there is none, or no answer."""

    def score_row(row: Sequence[float]) -> float:
        return math.nan if row[2] == 0 else 1 / (1 + math.exp(-(row[0] + 2 * row[1])))

    told = one_at_a_time(score_row, [3.0, 1.0, 5.0], [1.0, None, 0.0])
    assert told.log_odds == pytest.approx(3 + 2 * 1)
    assert told.contributions == (pytest.approx(2.0), None, None)
    assert (told.method, told.expected, told.residual) == ("one_at_a_time", None, None)


def test_xgboosts_own_contributions_add_up() -> None:
    """Expected value and parts make the log-odds, up to the float32 that XGBoost has."""
    scorer = opened(fitted("xgboost"))
    told = scorer.explain_row(ROWS.matrix[7].tolist())
    assert told is not None
    assert told.expected + sum(told.contributions) == pytest.approx(told.log_odds, abs=1e-5)
    assert told.log_odds - (told.expected + sum(told.contributions)) == pytest.approx(told.residual, abs=1e-12)


def test_an_estimator_that_explains_nothing_says_so(scorers: dict[str, tuple[Fitted, Scorer]]) -> None:
    """No contributions are better than invented ones."""
    assert scorers["forest"][1].explain_row(ROWS.matrix[0].tolist()) is None


def test_a_linear_model_is_its_sum() -> None:
    """0.5 + 2 × 3 − 1 × 4 = 2.5, and σ(2.5) = 1 / (1 + e^−2.5)."""
    model = LinearModel.from_bytes(LinearModel(0.5, (2.0, -1.0), (1.0, 1.0)).to_bytes())
    assert model.score_row([3.0, 4.0]) == pytest.approx(1 / (1 + np.exp(-2.5)))
    told = model.explain_row([3.0, 4.0])
    assert (told.log_odds, told.expected, told.contributions) == (2.5, 1.5, (4.0, -3.0))
    for wrong in (b"[]", b"{}", b'{"intercept":1,"coefficients":[1],"means":[]}'):
        with pytest.raises(BundleError, match=r"model\.json"):
            LinearModel.from_bytes(wrong)


def test_a_type_that_nobody_trusts_is_not_opened() -> None:
    """Neither one that the bundle does not list, nor one that the bundle lists and this library does not."""
    packed = fitted("forest").packed()
    tree = "sklearn.tree._tree.Tree"
    assert packed.scoring.types == (tree,)
    assert tree in TRUSTED
    unlisted = dataclasses.replace(packed.scoring, types=())
    with pytest.raises(BundleError, match=rf"holds {tree}, which the bundle's scoring\.json does not list as trusted"):
        scorer_of(packed.model_bytes, unlisted, start=None, sha256="")
    from skops.io import dumps

    stranger = dumps(subprocess.Popen)
    told = Scoring("skops", types=("subprocess.Popen",))
    with pytest.raises(BundleError, match=r"holds subprocess\.Popen, which this library does not list as trusted"):
        scorer_of(stranger, told, start=None, sha256="")
    with pytest.raises(BundleError, match=r"model\.skops cannot be read"):
        scorer_of(b"PK no archive", told, start=None, sha256="")


def test_what_skops_cannot_hold_needs_explicit_trust() -> None:
    """A class of no package is refused, with the word to declare; pickled, it answers as it was fitted."""
    declared = {"estimator": "folder:own"}
    plain = fit(Model.model_validate(declared), ROWS, code=FUNCTIONS.__getitem__)
    with pytest.raises(LearnError, match=r"Own, which no reader trusts; .* trust: pickle and set FORECASTLE_TRUST"):
        plain.packed()
    trusting = fit(Model.model_validate({**declared, "trust": "pickle"}), ROWS, code=FUNCTIONS.__getitem__)
    packed = trusting.packed()
    assert packed.scoring.kind == "pickle"
    assert trusting.scorer().score_row([0.0] * 4) == ROWS.outcomes.mean()
    with pytest.raises(BundleError, match=r"model\.pickle cannot be read"):
        scorer_of(b"nothing", packed.scoring, start=None, sha256="")


def test_damaged_or_missing_is_a_bundle_error() -> None:
    """XGBoost's own refusal, a package that is not there, outcomes that are not 0 and 1."""
    with pytest.raises(BundleError, match="XGBoost refused the model"):
        scorer_of(b"{nothing", Scoring("xgboost"), start=None, sha256="")
    with pytest.raises(BundleError, match="needs catboost, which is not installed here"):
        scorer_of(b"", Scoring("pickle", requires={"catboost": "1"}), start=None, sha256="")
    with pytest.raises(BundleError, match=r"knows the outcomes \[\]; 0 and 1 are needed"):
        SklearnModel(object())
    with pytest.raises(BundleError, match=r"names kind 'onnx'; this library opens lightgbm, linear"):
        scoring_from_json({"kind": "onnx"})


def test_lightgbm_and_linear_bundles_import_nothing_heavy(tmp_path: Path) -> None:
    """Opening either needs neither scikit-learn nor skops, XGBoost or pandas."""
    for name in ("lightgbm", "linear"):
        packed = fitted(name).packed()
        (tmp_path / name).write_bytes(packed.model_bytes)
        program = (
            "import hashlib, sys; from pathlib import Path; from forecastle.learn.scorer import scorer_of;"
            "from forecastle.learn.scoring import scoring_from_json;"
            f"content = Path({str(tmp_path / name)!r}).read_bytes();"
            "digest = hashlib.sha256(content).hexdigest();"
            f"told = scoring_from_json({packed.scoring.to_json()!r});"
            "scorer_of(content, told, start=None, sha256=digest);"
            "print(sorted({'sklearn', 'skops', 'xgboost', 'pandas', 'lightgbm', 'scipy.stats'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
