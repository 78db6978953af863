"""Ranking metrics by hand, against scikit-learn and by simulation of ties."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from forecastle.contract.errors import MeasureError
from forecastle.measure.ranking import RANKING_COLUMNS, USER_COLUMNS, rank_users, ranking_table


def test_by_hand():
    """Gains in ranked order 0 1 0 1: at 2 one of two is found, second; the best order has both first."""
    table = rank_users(["u"] * 4, [4, 3, 2, 1], [0, 1, 0, 1], k=[1, 2, 4]).set_index("k")
    assert list(table["hit"]) == [0.0, 1.0, 1.0]
    assert list(table["recall"]) == [0.0, 0.5, 1.0]
    second, fourth = 1 / np.log2(3), 1 / np.log2(5)
    assert table.loc[2, "ndcg"] == pytest.approx(second / (1 + second))
    assert table.loc[4, "ndcg"] == pytest.approx((second + fourth) / (1 + second))


def test_columns_and_users_without_relevance():
    """A user with nothing to find has NaN and does not enter the means."""
    per_user = rank_users(["a", "a", "b"], [2, 1, 5], [1, 0, 0], k=[1])
    assert tuple(per_user.columns) == USER_COLUMNS
    assert np.isnan(per_user.set_index("user").loc["b", ["hit", "recall", "ndcg"]].astype(float)).all()
    table = ranking_table(per_user)
    assert tuple(table.columns) == RANKING_COLUMNS
    assert list(table["users"]) == [1, 1, 1]
    assert list(table["estimate"]) == [1.0, 1.0, 1.0]


def test_ties_are_every_order_equally_likely():
    """Three tied candidates, one relevant, k = 1: hit, recall and NDCG are all 1/3."""
    row = rank_users([1] * 3, [0, 0, 0], [1, 0, 0], k=[1]).iloc[0]
    assert (row["hit"], row["recall"], row["ndcg"]) == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_intervals_are_normal_over_users():
    """Hits 1 and 0 of two users: mean 1/2 ± 1.96 x sqrt(1/2) / sqrt(2)."""
    table = ranking_table(rank_users([1, 1, 2, 2], [2, 1, 2, 1], [1, 0, 0, 1], k=[1]))
    row = table[table["metric"] == "hit"].iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((0.5 - 1.959964 * 0.5, 0.5 + 1.959964 * 0.5), abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (([], [], []), {"k": [1]}, "at least one row"),
        ((["u"], [1.0], [-1.0]), {"k": [1]}, "gains are >= 0"),
        ((["u"], [1.0], [1.0]), {"k": [0]}, "every k >= 1"),
        ((["u"], [1.0], [1.0]), {"k": []}, "every k >= 1"),
        ((["u"], [1.0, 2.0], [1.0]), {"k": [1]}, "different lengths"),
    ],
)
def test_refusals(arguments, options, says):
    """Impossible input is refused."""
    with pytest.raises(MeasureError, match=says):
        rank_users(*arguments, **options)


def test_no_relevance_anywhere_is_refused():
    """A mean over no users is not 0."""
    with pytest.raises(MeasureError, match="no user has a relevant candidate"):
        ranking_table(rank_users(["u"], [1.0], [0.0], k=[1]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=12), st.integers(1, 12))
def test_ndcg_equals_scikit_learn_with_ties(rows, k):
    """Graded gains and tied scores: the same number as scikit-learn's tie-averaged NDCG."""
    scores, gains = np.array(rows, dtype=float).T
    gains[0] = 1.0
    found = rank_users(np.zeros(len(rows)), scores, gains, k=[k])["ndcg"].iloc[0]
    assert found == pytest.approx(ndcg_score([gains], [scores], k=k))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=2, max_size=8), st.integers(1, 4))
def test_expected_hit_and_recall_equal_all_orders(rows, k):
    """Shuffling the ties 4,000 times gives the expected hit and recall."""
    scores, gains = np.array(rows, dtype=float).T
    gains[0] = 1.0
    rng = np.random.default_rng(1)
    order = np.argsort(-scores + rng.random((4000, scores.size)) * 0.5, axis=1)[:, :k]
    first = gains[order]
    row = rank_users(np.zeros(len(rows)), scores, gains, k=[k]).iloc[0]
    assert row["hit"] == pytest.approx(first.max(axis=1).mean(), abs=0.04)
    assert row["recall"] == pytest.approx(first.sum(axis=1).mean() / gains.sum(), abs=0.04)


def test_popularity_on_real_ratings(real_data):
    """MovieLens 100k by popularity: NDCG of 40 users equals scikit-learn's, and beats a random order."""
    ratings = pd.read_parquet(real_data / "streamrec/ml100k_interactions.parquet")
    ratings = ratings.sort_values("ts", kind="stable")
    past, later = ratings.iloc[:80_000], ratings.iloc[80_000:]
    popular = past["item_id"].value_counts()
    users = later["user_id"].unique()[:40]
    grid = pd.MultiIndex.from_product([users, popular.index], names=["user_id", "item_id"]).to_frame(index=False)
    grid["score"] = grid["item_id"].map(popular)
    seen = set(zip(later["user_id"], later["item_id"], strict=True))
    grid["gain"] = [float(pair in seen) for pair in zip(grid["user_id"], grid["item_id"], strict=True)]
    found = rank_users(grid["user_id"], grid["score"], grid["gain"], k=[10]).set_index("user")
    for user, part in grid.groupby("user_id"):
        assert found.loc[user, "ndcg"] == pytest.approx(
            ndcg_score([part["gain"]], [part["score"]], k=10) if part["gain"].any() else np.nan, nan_ok=True
        )
    rng = np.random.default_rng(0)
    shuffled = rank_users(grid["user_id"], rng.random(len(grid)), grid["gain"], k=[10])
    assert found["ndcg"].mean() > 1.5 * shuffled["ndcg"].mean()
