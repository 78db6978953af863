"""Faults of one declared model: wrong paths, parameters, search spaces, each with its line and a hint."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from forecastle.contract.errors import ContractError
from forecastle.contract.load import load_system

Edit = Callable[[str, str, str], int]

TREES = "lightgbm.LGBMClassifier\n    params: {n_estimators: 10}"
LINEAR = "sklearn.linear_model.LogisticRegression\n    preprocess: impute"
PARAMS = "params: {n_estimators: 10}"

MODELS: dict[str, tuple[str, str, str]] = {
    "no such package": ("sklaern.linear_model.LogisticRegression", "package sklaern is not installed", "'sklearn'?"),
    "catboost": ("catboost.CatBoostClassifier", "package catboost is not installed", "install it"),
    "no such class": (
        "sklearn.linear_model.LogisticRegresion", "has no class 'LogisticRegresion'",
        "did you mean 'sklearn.linear_model.LogisticRegression'?"),
    "no probabilities": (
        "sklearn.linear_model.LinearRegression", "has no fit and predict_proba",
        "a classifier that gives probabilities"),
    "no probabilities with these": (
        "sklearn.linear_model.SGDClassifier", "gives a SGDClassifier without predict_proba",
        "some have it only with certain parameters"),
    "parameter": (f"{LINEAR}\n    params: {{c: 1.0}}", "has no parameter 'c'", "allowed: C, class_weight"),
    "value": (f"{LINEAR}\n    params: {{C: -1.0}}", "refuses its parameters: The 'C' parameter", ""),
    "seed elsewhere": (f"{LINEAR}\n    params: {{random_state: 1}}", "has no parameter 'random_state'",
        "own seed says it"),
    "value of lightgbm": (
        "lightgbm.LGBMClassifier\n    params: {n_estimators: eighty}",
        "params.n_estimators is 'eighty'; a whole number of at least 1 is required", ""),
    "bound of lightgbm": (
        "lightgbm.LGBMClassifier\n    params: {subsample: 1.5}",
        "params.subsample is 1.5; a number above 0 and of at most 1 is required", ""),
    "search beyond lightgbm's bounds": (
        f"{TREES}\n    search: {{trials: 3, space: {{num_leaves: {{low: 1, high: 30}}}}}}",
        "params.num_leaves is 1; a whole number of at least 2 and of at most 131072 is required", ""),
    "value of xgboost": (
        "xgboost.XGBClassifier\n    params: {max_depth: -1}", "value -1 for Parameter max_depth should be greater", ""),
    "rounds of xgboost": (
        "xgboost.XGBClassifier\n    params: {n_estimators: eighty}", "n_estimators is 'eighty'; a whole number", ""),
    "word of xgboost": (
        "xgboost.XGBClassifier\n    params: {booster: gbtreee}", "its parameters: Unknown gbm type gbtreee", ""),
    "xgboost": ("xgboost.XGBClassifier\n    params: {n_estimator: 5}", "no parameter 'n_estimator'", "'n_estimators'?"),
    "rounds": (f"{LINEAR}\n    rounds: cross_validated", "does not add rounds one by one", "leave it out"),
    "early stopping": (f"{LINEAR}\n    early_stopping: {{rounds: 5}}", "does not add rounds one by one",
        "leave it out"),
    "start": (f"{LINEAR}\n    start_from: chance", "has no start", "lightgbm.LGBMClassifier has one"),
    "two ways to rounds": (
        f"{TREES}\n    rounds: cross_validated\n    early_stopping: {{rounds: 5}}",
        "early_stopping stands beside rounds: cross_validated", "keep one"),
    "early stopping without a most": (
        "lightgbm.LGBMClassifier\n    early_stopping: {rounds: 5}",
        "early_stopping is declared and n_estimators is None",
        "declare params.n_estimators"),
    "search of nothing": (
        f"{TREES}\n    search: {{trials: 3, space: {{lerning_rate: {{low: 0.1, high: 0.2}}}}}}",
        "has no parameter 'lerning_rate'", "did you mean 'learning_rate'?"),
    "search upside down": (
        f"{TREES}\n    search: {{trials: 3, space: {{num_leaves: {{low: 9, high: 3}}}}}}",
        "low 9 is not below high 3", ""),
    "search of logarithms": (
        f"{TREES}\n    search: {{trials: 3, space: {{reg_lambda: {{low: 0, high: 3.0, log: true}}}}}}",
        "log is true and low is 0", "begins above 0"),
    "search outside": (
        f"{LINEAR}\n    search: {{trials: 3, space: {{C: {{low: -1.0, high: 3.0}}}}}}", "The 'C' parameter", ""),
    "search of a wrong choice": (
        f"{LINEAR}\n    search: {{trials: 3, space: {{solver: [lbfgs, lbfsg]}}}}", "The 'solver' parameter", ""),
    "weights of one": (f"{TREES}\n    class_weight: {{0: 1}}", "class_weight names one outcome", "write {0: …, 1: …}"),
    "weights that stay": (
        f"{TREES}\n    class_weight: balanced\n    calibrate: identity", "beside calibrate: identity",
        "calibrate be auto"),
    "weights twice": (
        "lightgbm.LGBMClassifier\n    params: {is_unbalance: true}\n    class_weight: balanced",
        "class_weight stands beside params.is_unbalance", "say it once"),
    "weights of neighbours": (
        "sklearn.neighbors.KNeighborsClassifier\n    preprocess: impute\n    class_weight: balanced",
        "takes no weights", "leave class_weight out"),
    "one-hot of a number": (f"{TREES}\n    one_hot: [pressure_mean]", "'pressure_mean' has no allowed values",
        "allowed:"),
    "one-hot of nothing": (f"{TREES}\n    one_hot: [presure]", "'presure' is none of the model's features", ""),
    "null": (
        "sklearn.linear_model.LogisticRegression",
        "sklearn.linear_model.LogisticRegression takes no null, and pressure_mean, tension may be null",
        "write preprocess: impute"),
    "null with parameters": (
        "sklearn.ensemble.GradientBoostingClassifier\n    features: [chance, tension]\n    params: {max_depth: 2}",
        "takes no null, and tension may be null", "leave such features out"),
    "no such function": ("features:linear", "features.py has no function 'linear'", "allowed: signals"),
}  # fmt: skip


def problems(folder: Path) -> list[tuple[int, str, str]]:
    with pytest.raises(ContractError) as caught:
        load_system(folder)
    return [(p.line, p.text, p.hint) for p in caught.value.problems]


@pytest.mark.parametrize(("new", "text", "hint"), MODELS.values(), ids=MODELS.keys())
def test_a_fault_of_a_model_is_told_with_its_line(rain: Path, edit: Edit, new: str, text: str, hint: str) -> None:
    """What was got, what is allowed, and where it stands; one problem for one fault."""
    line = edit("system.yaml", TREES, new)
    found = problems(rain)
    assert len(found) == 1
    assert text in found[0][1]
    assert hint in found[0][2]
    assert line <= found[0][0] <= line + new.count("\n")


@pytest.mark.parametrize(
    "new",
    [
        f"{LINEAR}\n    class_weight: {{0: 1, 1: 2.5}}\n    params: {{C: 0.5, n_jobs: null}}",
        "sklearn.neural_network.MLPClassifier\n    preprocess: impute\n    params: {hidden_layer_sizes: [4, 2]}",
        "sklearn.linear_model.LogisticRegression\n    features: [chance]",
        "sklearn.ensemble.HistGradientBoostingClassifier\n    params: {max_iter: 5}",
        "sklearn.dummy.DummyClassifier",
        "xgboost.XGBClassifier\n    params: {n_estimators: 50, max_depth: 3}\n    early_stopping: {rounds: 5}",
        f"{TREES}\n    search: {{trials: 3, timeout: 1m, space: {{num_leaves: {{low: 3, high: 9, step: 2}}}}}}",
    ],
)
def test_what_can_be_trained_can_be_declared(rain: Path, edit: Edit, new: str) -> None:
    """Other estimators, lists and null as parameters, weights of each outcome, spaces."""
    edit("system.yaml", TREES, new)
    assert load_system(rain).declaration.models["trees"].estimator == new.partition("\n")[0]


def test_each_estimator_of_a_matrix_must_take_the_nulls_it_meets(rain: Path, edit: Edit) -> None:
    """The one that takes none is told at its own line; its neighbours may."""
    bayes = "{estimator: sklearn.naive_bayes.GaussianNB}"
    boosted = "{estimator: lightgbm.LGBMClassifier}"
    new = f"matrix:\n      estimators:\n        boosted: {boosted}\n        bayes: {bayes}"
    line = edit("system.yaml", f"estimator: {TREES}", new)
    told = "sklearn.naive_bayes.GaussianNB takes no null, and pressure_mean, tension may be null"
    assert [(at - line, text) for at, text, _ in problems(rain)] == [(3, told)]


FUNCTION = """

def linear(C=1.0, *, fit_intercept=True):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(), LogisticRegression(C=C, fit_intercept=fit_intercept))


def unfilled():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(LogisticRegression())


def regression():
    from sklearn.linear_model import LinearRegression

    return LinearRegression()


def broken():
    raise ValueError("no idea")
"""


@pytest.mark.parametrize(
    ("new", "text"),
    [
        ("features:linear\n    params: {D: 1.0}", "linear takes no argument D"),
        ("features:linear\n    search: {trials: 2, space: {D: [1.0]}}", "linear takes no argument D"),
        ("features:regression", "gives a LinearRegression without predict_proba"),
        ("features:unfilled", "features:unfilled takes no null, and pressure_mean, tension may be null"),
        ("features:broken", "'features:broken' fails: ValueError: no idea"),
        ("models:linear", "needs models.py, which is not in the folder"),
    ],
)
def test_a_function_of_the_folder_is_tried(rain: Path, edit: Edit, new: str, text: str) -> None:
    """Its arguments are read from its text, and one call shows what it gives."""
    code = rain / "features.py"
    code.write_text(code.read_text() + FUNCTION)
    edit("system.yaml", TREES, new)
    found = problems(rain)
    assert len(found) == 1
    assert text in found[0][1]


def test_a_function_of_the_folder_may_be_the_estimator(rain: Path, edit: Edit) -> None:
    """Parameters and space are its arguments."""
    code = rain / "features.py"
    code.write_text(code.read_text() + FUNCTION)
    search = "search: {trials: 2, space: {C: {low: 0.1, high: 1.0}}}"
    edit("system.yaml", TREES, f"features:linear\n    params: {{fit_intercept: false}}\n    {search}")
    assert load_system(rain).declaration.models["trees"].params == {"fit_intercept": False}


def test_the_group_of_a_split_is_a_column(rain: Path, edit: Edit) -> None:
    """entity, a key or a label column; anything else is told."""
    edit("system.yaml", "split: {embargo: 1d}", "split: {embargo: 1d, group: entity, walk_forward: {folds: 3}}")
    assert load_system(rain).declaration.evaluate.split.group == "entity"
    edit("system.yaml", "group: entity", "group: regio")
    assert problems(rain)[0][1:] == ("group names unknown label column 'regio'", "did you mean 'region'?")


def test_a_lightgbm_system_loads_without_heavy_packages(rain: Path) -> None:
    """Checking what LightGBM may be told imports neither it nor scikit-learn, skops, Optuna or XGBoost."""
    heavy = {"lightgbm", "sklearn", "skops", "optuna", "xgboost", "pandas"}
    program = (
        "import sys; from pathlib import Path; from forecastle.contract.load import load_system;"
        f"load_system(Path({str(rain)!r})); print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
