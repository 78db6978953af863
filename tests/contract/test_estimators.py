"""The words of estimators against the package that is installed."""

from __future__ import annotations

import inspect
import json
from typing import Any

import lightgbm
import numpy as np
import pytest
from lightgbm.basic import _ConfigAliases
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from forecastle.contract.estimators import ESTIMATOR_PARAMS, SYNONYMS, instance_refuses_nulls
from forecastle.contract.lightgbm_words import WORDS as VALUES
from forecastle.contract.lightgbm_words import Values, fault_of

NAME = "lightgbm.LGBMClassifier"
WORDS = ESTIMATOR_PARAMS[NAME]

# What a declaration says elsewhere, or what would make the model something other than a binary classifier.
ELSEWHERE = {"random_state", "objective"}


@pytest.fixture(scope="module")
def aliases() -> dict[str, set[str]]:
    """LightGBM's own table: every parameter with all of its names."""
    _ConfigAliases.get("num_leaves")
    return {main: {main, *names} for main, names in json.loads(json.dumps(_ConfigAliases.aliases)).items()}


def main_name(word: str, aliases: dict[str, set[str]]) -> str | None:
    return next((main for main, names in aliases.items() if word in names), None)


def test_every_argument_of_the_estimator_can_be_declared():
    """LGBMClassifier's own parameters are the words, but for the seed and the objective."""
    assert set(lightgbm.LGBMClassifier().get_params()) - ELSEWHERE <= WORDS


def test_every_word_is_known_to_lightgbm(aliases: dict[str, set[str]]):
    """No word is a misspelling: it is an argument of the estimator or a documented parameter."""
    arguments = set(inspect.signature(lightgbm.LGBMClassifier).parameters)
    assert [word for word in WORDS if word not in arguments and main_name(word, aliases) is None] == []


def inside(values: Values) -> list[Any]:
    """The values of a parameter that lie on its bounds, and every word or flag."""
    if values.words or values.kind is bool:
        return list(values.words) or [True, False]
    step = 1 if values.kind is int else 0.001
    bounds = (values.at_least, values.at_most, None if values.above is None else values.above + step)
    return [values.kind(bound) for bound in bounds if bound is not None]


def outside(values: Values) -> list[Any]:
    """A text, and the numbers just beyond the bounds."""
    step = 1 if values.kind is int else 0.001
    low = [] if values.at_least is None else [values.at_least - step]
    high = [] if values.at_most is None else [values.at_most + step]
    return ["eighty", *low, *high, *([] if values.above is None else [values.above])]


def is_taken(word: str, value: Any) -> bool:
    """Does LightGBM itself train with that value?"""
    params = {"n_estimators": 2, "verbosity": -1, "n_jobs": 1, "min_child_samples": 5, word: value}
    # A random forest needs rows to leave out.
    forest = {"subsample": 0.5, "subsample_freq": 1} if value == "rf" else {}
    rows = np.random.default_rng(0).normal(size=(60, 2))
    try:
        lightgbm.LGBMClassifier(**params, **forest).fit(rows, np.arange(60) % 2)
    except (lightgbm.basic.LightGBMError, TypeError, ValueError):
        return False
    return True


@pytest.mark.parametrize("word", sorted(set(WORDS)))
def test_the_values_of_a_word_are_those_that_lightgbm_takes(word: str):
    """On each bound both say yes, just beyond it both say no; a wrong importance_type shows only after training."""
    for value in inside(VALUES[word]):
        assert fault_of(word, value) is None
        assert is_taken(word, value)
    for value in outside(VALUES[word]):
        assert fault_of(word, value) is not None
        assert word == "importance_type" or not is_taken(word, value)


def test_the_defaults_of_lightgbm_can_be_declared():
    """A default that somebody writes down is no fault; null is how Python says "left out"."""
    defaults = lightgbm.LGBMClassifier().get_params()
    assert [w for w in WORDS & set(defaults) if defaults[w] is not None and fault_of(w, defaults[w])] == []


def test_no_two_words_are_one_parameter(aliases: dict[str, set[str]]):
    """A declaration cannot say one thing twice under two names."""
    mains = [main_name(word, aliases) or word for word in sorted(WORDS)]
    assert len(mains) == len(set(mains))


def test_each_synonym_is_the_same_parameter_by_lightgbm_s_own_table(aliases: dict[str, set[str]]):
    """The hint never sends anybody to another parameter."""
    for synonym, word in SYNONYMS[NAME].items():
        assert word in WORDS
        assert synonym not in WORDS
        assert main_name(synonym, aliases) == main_name(word, aliases) is not None


def test_synonyms_and_estimators_go_together():
    """Each estimator has both lists."""
    assert set(ESTIMATOR_PARAMS) == set(SYNONYMS)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        GaussianNB(),
        KNeighborsClassifier(),
        GradientBoostingClassifier(n_estimators=2),
        RandomForestClassifier(n_estimators=2, random_state=0),
        HistGradientBoostingClassifier(max_iter=2),
        DummyClassifier(),
        make_pipeline(LogisticRegression()),
        make_pipeline(SimpleImputer(), LogisticRegression()),
        CalibratedClassifierCV(HistGradientBoostingClassifier(max_iter=2)),
    ],
    ids=repr,
)
def test_an_estimator_that_refuses_nulls_fails_on_one(estimator):
    """What is told without a row is what `fit` does with a row that has a null."""
    matrix, outcome = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    matrix[3, 0] = np.nan
    if instance_refuses_nulls(estimator):
        with pytest.raises(ValueError, match="NaN"):
            estimator.fit(matrix, outcome)
    else:
        assert estimator.fit(matrix, outcome).predict_proba(matrix).shape == (20, 2)
