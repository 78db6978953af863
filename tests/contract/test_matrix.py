"""One declared model becomes many: names, what each is, and every way in which a matrix can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecastle.contract.errors import ContractError
from forecastle.contract.load import load_system

PLAIN = """\
  trees:
    estimator: lightgbm.LGBMClassifier
    params: {n_estimators: 10}
"""

MATRIX = """\
  trees:
    calibrate: platt
    matrix:
      segments: {wet: [0, 1]}
      estimators:
        small: {estimator: lightgbm.LGBMClassifier, params: {n_estimators: 10}}
        large: {estimator: lightgbm.LGBMClassifier, params: {n_estimators: 90}, calibrate: beta}
      feature_sets: {all: [chance, pressure_mean, tension], some: [chance]}
"""

WET = "      pressure_mean: {"


@pytest.fixture
def rain_with_flag(rain: Path, edit) -> Path:
    """The small system with two features that divide its rows in two, a flag and a word."""
    flag = "wet: {dtype: int64, unit: flag, allowed: [0, 1]}\n"
    words = "kind: {dtype: string, unit: category, allowed: [drizzle, storm]}\n"
    edit("system.yaml", WET, f"      {flag}      {words}{WET}")
    mean = "  shaped.mean AS pressure_mean"
    edit("weather.sql", mean, f"  1 AS wet,\n  'drizzle' AS kind,\n{mean}")
    return rain


def told(folder: Path) -> list[str]:
    """Every fault, without the file."""
    with pytest.raises(ContractError) as caught:
        load_system(folder)
    return [f"{problem.line}: {problem.text}" for problem in caught.value.problems]


def test_a_matrix_becomes_all_of_its_models(rain_with_flag: Path, edit) -> None:
    """2 segments × 2 estimators × 2 feature sets, named by their parts in the order of the declaration."""
    edit("system.yaml", PLAIN, MATRIX)
    models = load_system(rain_with_flag).declaration.models
    assert list(models) == [
        f"trees__{segment}__{estimator}__{features}"
        for segment in (0, 1)
        for estimator in ("small", "large")
        for features in ("all", "some")
    ]
    model = models["trees__1__large__some"]
    assert (model.group, model.segment, model.features) == ("trees", {"wet": 1}, ["chance"])
    assert (model.params, model.calibrate) == ({"n_estimators": 90}, "beta")
    assert models["trees__0__small__all"].calibrate == "platt"
    assert all(model.matrix is None for model in models.values())


def test_a_word_divides_rows_too(rain_with_flag: Path, edit) -> None:
    """The word is part of the model's name and the segment's value."""
    edit("system.yaml", PLAIN, MATRIX)
    edit("system.yaml", "{wet: [0, 1]}", "{kind: [drizzle, storm]}")
    models = load_system(rain_with_flag).declaration.models
    assert models["trees__storm__large__some"].segment == {"kind": "storm"}


def test_a_plain_model_stays_what_it_was(rain: Path) -> None:
    """No group, no segment, its own name."""
    system = load_system(rain)
    assert list(system.declaration.models) == ["trees"]
    assert (system.declaration.models["trees"].group, system.declaration.model_groups()) == (None, {})


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("{wet: [0, 1]}", "{wett: [0, 1]}", "segment 'wett' is no feature"),
        ("{wet: [0, 1]}", "{wet: [0, 7]}", "has the value 7, which the feature does not allow"),
        ("{wet: [0, 1]}", "{wet: []}", "has no values"),
        ("{wet: [0, 1]}", "{wet: [1, 1]}", "names 1 2 times"),
        ("{wet: [0, 1]}", "{kind: [drizzle, hail]}", "has the value 'hail', which the feature does not allow"),
        ("{wet: [0, 1]}", "{kind: [drizzle, 1]}", "has the value 1, which the feature does not allow"),
        ("{wet: [0, 1]}", "{wet: [dry]}", "has the value 'dry', and the feature is a number"),
        ("some: [chance]", "some: [chanse]", "some names unknown feature 'chanse'"),
        ("some: [chance]", "some: []", "has no features"),
        ("calibrate: beta", "calibrat: beta", "unknown key 'calibrat' of an estimator"),
        ("{n_estimators: 90}", "{n_estimator: 90}", "lightgbm.LGBMClassifier has no parameter 'n_estimator'"),
        ("lightgbm.LGBMClassifier, params: {n_estimators: 10}", "lightgbm.LGBMClasifier", "lightgbm.LGBMClasifier"),
    ],
)  # fmt: skip
def test_a_bad_matrix_is_refused_at_load(rain_with_flag: Path, edit, old: str, new: str, text: str) -> None:
    """Each fault is said on its own line, before anything is trained."""
    edit("system.yaml", PLAIN, MATRIX)
    line = edit("system.yaml", old, new)
    found = told(rain_with_flag)
    assert any(text in fault and fault.startswith(f"{line}: ") for fault in found), found


def test_an_empty_matrix_and_a_model_without_an_estimator_are_refused(rain: Path, edit) -> None:
    """Neither can become a model."""
    edit("system.yaml", PLAIN, "  trees: {estimator: lightgbm.LGBMClassifier, matrix: {}}\n  other: {}\n")
    faults = " ".join(told(rain))
    assert "matrix is empty" in faults
    assert "estimator is missing" in faults


def test_two_models_of_one_name_are_refused(rain: Path, edit) -> None:
    """A plain model may have the name that a matrix gives."""
    edit("system.yaml", PLAIN, f"{PLAIN}  a__b: {{estimator: lightgbm.LGBMClassifier}}\n  a:\n"
         "    estimator: lightgbm.LGBMClassifier\n    matrix: {feature_sets: {b: [chance]}}\n")  # fmt: skip
    assert any("gives 'a__b' to two models" in fault for fault in told(rain))
