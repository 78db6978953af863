"""The bugs that once cost a third of the recall: minutes read as seconds, and features taken by position."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from forecastle.measure.drift import unit_change
from forecastle.measure.ranking import rank_users
from forecastle.measure.reference import reference
from tests.systems.streamrec.conftest import answered

SWAPPED = ("genre_likes", "release_year")


def ndcg(answers: pd.DataFrame) -> float:
    pages = answers["user_id"].astype(str) + answers["predict_at"].astype(str)
    return float(rank_users(pages, answers["probability"], answers["outcome"], k=[10])["ndcg"].mean())


def test_minutes_for_seconds_are_told_with_the_factor(page_rows: pd.DataFrame) -> None:
    """The pace of users in minutes lies inside its contract, 0 to 3600, and is found all the same: 60 is named."""
    seconds = page_rows["user_pace_seconds"].to_numpy(np.float64)
    known = reference(seconds)
    minutes = seconds / 60
    assert minutes.min() >= 0
    assert minutes.max() <= 3600
    told = unit_change(known, minutes)
    assert told is not None
    assert "60" in told
    assert unit_change(known, seconds) is None


def test_columns_in_another_order_give_the_same_answers(
    streamrec: LoadedSystem, page_rows: pd.DataFrame, page_answers: pd.DataFrame
) -> None:
    """Training and answering go by name: not one bit depends on where a column stands."""
    turned = answered(streamrec, page_rows[list(page_rows.columns)[::-1]])
    assert turned["probability"].equals(page_answers["probability"])


def test_what_the_bug_by_position_would_cost(streamrec: LoadedSystem, page_rows: pd.DataFrame) -> None:
    """With two columns exchanged after training the contract refuses the rows: a year is no ratio."""
    features = streamrec.declaration.features()
    first, second = (features[name] for name in SWAPPED)
    assert first.max == 1
    assert (page_rows[SWAPPED[1]].dropna() > first.max).all()
    assert second.unit != first.unit


def test_the_lists_are_better_than_a_random_order(page_answers: pd.DataFrame) -> None:
    """The metric that the bugs would have lowered is alive: shuffled scores lose at least a third of the NDCG."""
    shuffled = page_answers.assign(probability=np.random.default_rng(3).permutation(page_answers["probability"]))
    assert ndcg(shuffled) < 2 / 3 * ndcg(page_answers)


@pytest.mark.parametrize("named", ["age", "gender", "age_band"])
def test_the_model_is_given_nothing_of_what_users_said_of_themselves(streamrec: LoadedSystem, named: str) -> None:
    """Gender and age are for audits."""
    assert named not in streamrec.feature_set("lightgbm").model_features
