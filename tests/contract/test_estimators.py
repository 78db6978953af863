"""The words of estimators against the package that is installed."""

from __future__ import annotations

import inspect
import json

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
