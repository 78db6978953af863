"""Group rates, intersections and disparity: by hand, against pandas, and where nothing differs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import MeasureError
from forecastle.measure.fairness import (
    AUC_COLUMNS,
    DISPARITY_COLUMNS,
    RATE_COLUMNS,
    RATE_METRICS,
    disparity,
    group_auc,
    group_rates,
    intersections,
)
from forecastle.measure.scores import auc_interval
from tests.measure.minstd import fixture


def equal_groups(rng, groups, n, p):
    """Selection rates of `groups` groups of n rows that all have probability p."""
    chosen = (rng.random(groups * n) < p).astype(float)
    return group_rates(np.zeros(chosen.size), chosen, np.repeat(np.arange(groups), n))


def test_rates_by_hand():
    """Group a: outcomes 1 1 0 0, selected 1 0 1 0; every rate is 1/2. Group b: outcome 0, selected."""
    table = group_rates([1, 1, 0, 0, 0], [1, 0, 1, 0, 1], list("aaaab"), minimum_rows=2)
    assert tuple(table.columns) == RATE_COLUMNS
    a = table[table["group"] == "a"].set_index("metric")
    assert list(a.index) == list(RATE_METRICS)
    assert list(a["rate"]) == [0.5] * 5
    assert list(a["n"]) == [4, 4, 2, 2, 2]
    b = table[table["group"] == "b"].set_index("metric")
    assert b.loc["false_positive_rate", "rate"] == 1.0
    assert np.isnan(b.loc["true_positive_rate", "rate"])
    assert (b.loc["true_positive_rate", "low"], b.loc["true_positive_rate", "high"]) == (0.0, 1.0)
    assert b["is_small"].all()


def test_interval_is_wilson():
    """3 of 20 selected: Wilson (.05236875, .36041886)."""
    table = group_rates([0] * 20, [1] * 3 + [0] * 17, ["g"] * 20)
    row = table[table["metric"] == "selection_rate"].iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((0.05236875, 0.36041886), abs=1e-8)


def test_intersections_join_in_order():
    """Labels of several groupings in the order given."""
    joined = intersections({"gender": ["F", "M"], "age": [30, 40]})
    assert list(joined) == ["F × 30", "M × 40"]


def test_no_disparity_is_not_flagged():
    """16 groups of 200 at 0.2: gap .099, four-fifths flags 100 %, BH 4.8 %, omnibus 4.6 %."""
    rng = np.random.default_rng(20260601)
    audits = [disparity(equal_groups(rng, 16, 200, 0.2), metric="selection_rate", tolerance=0.0) for _ in range(300)]
    assert np.mean([a.gap for a in audits]) == pytest.approx(0.099, abs=0.004)
    assert np.mean([a.ratio < 0.8 for a in audits]) > 0.99
    assert np.mean([bool(a.reasons) for a in audits]) == pytest.approx(0.048, abs=0.035)
    assert np.mean([a.omnibus_p_value < 0.05 for a in audits]) == pytest.approx(0.046, abs=0.035)
    assert np.mean([a.naive_variance for a in audits]) == pytest.approx(7.9e-4, rel=0.05)
    assert np.mean([a.variance for a in audits]) == pytest.approx(0.0, abs=3e-5)


def test_real_disparity_is_flagged_with_its_reason():
    """One of four groups selected at 0.35 instead of 0.2 is flagged, and only that one."""
    rng = np.random.default_rng(1)
    group = np.repeat(list("abcd"), 500)
    chosen = (rng.random(2000) < np.where(group == "c", 0.35, 0.2)).astype(float)
    found = disparity(group_rates(chosen, chosen, group), metric="selection_rate", tolerance=0.08)
    assert [reason[0] for reason in found.reasons] == ["c"]
    assert "above all others" in found.reasons[0]
    assert found.omnibus_p_value < 1e-4
    assert found.variance == pytest.approx(np.var([0.2, 0.2, 0.35, 0.2], ddof=1), rel=0.6)
    assert tuple(found.groups.columns) == DISPARITY_COLUMNS


def test_small_groups_are_said_to_be_small():
    """Five rows are never judged alone; they count in the omnibus test and shrink to the overall rate."""
    group = ["big"] * 300 + ["other"] * 300 + ["tiny"] * 5
    chosen = [1] * 60 + [0] * 240 + [1] * 90 + [0] * 210 + [1] * 5
    found = disparity(group_rates(chosen, chosen, group), metric="selection_rate")
    tiny = found.groups.set_index("group").loc["tiny"]
    assert tiny["reason"] == "only 5 rows: too small to judge alone"
    assert not tiny["is_flagged"]
    assert np.isnan(tiny["q_value"])
    assert tiny["rate"] == 1.0
    assert 0.3 < tiny["shrunken_rate"] < 0.4
    assert found.small_groups == 1
    assert found.gap == pytest.approx(0.1)
    table = np.array([[60, 240], [90, 210], [5, 0]])
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    assert found.omnibus_p_value == pytest.approx(np.exp(-np.sum((table - expected) ** 2 / expected) / 2))


def test_shrunken_rates_are_nearer_the_truth():
    """40 groups of 50 with true rates spread by 0.05: shrinking halves the squared error of the raw rates."""
    rng = np.random.default_rng(2)
    truth = np.clip(rng.normal(0.2, 0.03, 40), 0.01, 0.99)
    chosen = (rng.random((40, 50)) < truth[:, None]).astype(float).ravel()
    table = group_rates(chosen, chosen, np.repeat(np.arange(40), 50), minimum_rows=10)
    found = disparity(table, metric="selection_rate").groups
    order = found["group"].astype(int).to_numpy()
    raw, shrunken = found["rate"] - truth[order], found["shrunken_rate"] - truth[order]
    assert (shrunken**2).mean() < 0.6 * (raw**2).mean()


def test_auc_by_group():
    """Each group's AUC is the AUC of its rows; a group of one class has none."""
    y, p = fixture()["y"], fixture()["A"]
    group = np.where(np.arange(2000) < 900, "early", "late").astype(object)
    group[y == 1] = np.where(np.arange(int(y.sum())) < 3, "winners", group[y == 1])
    table = group_auc(y, p, group).set_index("group")
    assert tuple(table.reset_index().columns) == AUC_COLUMNS
    part = group == "late"
    assert table.loc["late", "auc"] == auc_interval(y[part], p[part]).auc
    assert np.isnan(table.loc["winners", "auc"])
    assert bool(table.loc["winners", "is_small"])


def test_limits_and_refusals():
    """Nobody selected: no disparity. One group, an unknown metric, no grouping: refused."""
    quiet = disparity(group_rates([0] * 4, [0] * 4, list("aabb")), metric="selection_rate")
    assert (quiet.gap, quiet.ratio, quiet.omnibus_p_value, quiet.variance) == (0.0, 1.0, 1.0, 0.0)
    with pytest.raises(MeasureError, match="two are needed"):
        disparity(group_rates([0, 1], [0, 1], ["a", "a"]), metric="selection_rate")
    with pytest.raises(MeasureError, match="did you mean 'precision'"):
        disparity(group_rates([0, 1], [0, 1], ["a", "b"]), metric="precison")
    with pytest.raises(MeasureError, match="no groupings"):
        intersections({})
    with pytest.raises(MeasureError, match="different lengths"):
        group_rates([0, 1], [0], ["a", "b"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from("abc")), min_size=1, max_size=60))
def test_equal_to_pandas(rows):
    """Rates equal an independent group-by, for every metric."""
    frame = pd.DataFrame(rows, columns=["y", "d", "g"])
    table = group_rates(frame["y"], frame["d"], frame["g"]).set_index(["metric", "group"])["rate"]
    for name, part in frame.groupby("g"):
        positive, negative = part.loc[part["y"] == 1, "d"], part.loc[part["y"] == 0, "d"]
        assert table["selection_rate", name] == pytest.approx(part["d"].mean())
        assert table["true_positive_rate", name] == pytest.approx(positive.mean(), nan_ok=True)
        assert table["false_positive_rate", name] == pytest.approx(negative.mean(), nan_ok=True)
        assert table["precision", name] == pytest.approx(part.loc[part["d"] == 1, "y"].mean(), nan_ok=True)


def test_real_ratings_by_gender_and_age(real_data):
    """MovieLens 100k: share of ratings of four or five by gender x age equals a group-by."""
    users = pd.read_parquet(real_data / "streamrec/ml100k_users.parquet")
    ratings = pd.read_parquet(real_data / "streamrec/ml100k_interactions.parquet")
    ratings = ratings.merge(users, on="user_id")
    liked = (ratings["rating"] >= 4).astype(int)
    band = pd.cut(ratings["age"], [0, 24, 34, 44, 120]).astype(str)
    group = intersections({"gender": ratings["gender"], "age": band})
    table = group_rates(liked, liked, group)
    rates = table[table["metric"] == "base_rate"].set_index("group")
    assert int(rates["n"].sum()) == 100_000
    assert len(rates) == 8
    by_hand = liked.groupby(group).mean()
    assert rates["rate"].to_dict() == pytest.approx(by_hand.to_dict())
