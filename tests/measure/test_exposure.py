"""Exposure by group: the published example, equity with intervals, and the price of a minimum share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forecastle.contract.errors import MeasureError
from forecastle.measure.exposure import (
    EQUITY_COLUMNS,
    SHARE_COLUMNS,
    exposure_equity,
    position_weight,
    rerank,
)


def test_three_and_three_of_singh_and_joachims():
    """Six candidates, three men first: exposure .7103 against .3912, for utilities .81 against .78."""
    table = exposure_equity(
        [1, 2, 3, 4, 5, 6],
        list("mmmfff"),
        utility=[0.82, 0.81, 0.80, 0.79, 0.78, 0.77],
        seed=1,
        resamples=100,
    )
    assert tuple(table.columns) == EQUITY_COLUMNS
    found = table.set_index(["measure", "group"])["estimate"]
    assert found["exposure", "m"] == pytest.approx(0.7103, abs=5e-5)
    assert found["exposure", "f"] == pytest.approx(0.3912, abs=5e-5)
    assert found["exposure_per_utility", "m"] == pytest.approx(0.71031 / 0.81, abs=1e-4)


def test_weight_by_hand():
    """1 / log2(1 + j): 1, .6309, .5."""
    assert position_weight([1, 2, 3]) == pytest.approx([1.0, 0.63093, 0.5], abs=1e-5)
    with pytest.raises(MeasureError, match="the first position is 1"):
        position_weight([0])


def test_intervals_widen_with_clusters():
    """Rows of one user repeat each other: resampling users gives a wider interval than resampling rows."""
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(50), 20)
    position = np.repeat(rng.integers(1, 6, 50), 20)
    group = np.tile(["a", "b"], 500)
    by_row = exposure_equity(position, group, seed=1, resamples=300)
    by_user = exposure_equity(position, group, clusters=users, seed=1, resamples=300)
    assert by_user["estimate"].to_list() == pytest.approx(by_row["estimate"].to_list())
    assert ((by_user["high"] - by_user["low"]) > 2 * (by_row["high"] - by_row["low"])).all()


def test_group_without_utility_has_no_ratio():
    """Nothing can be said per unit of merit where there is none."""
    table = exposure_equity([1, 2, 1, 2], list("abab"), utility=[0, 1, 0, 1], seed=1, resamples=50)
    ratio = table[table["measure"] == "exposure_per_utility"].set_index("group")["estimate"]
    assert np.isnan(ratio["a"])
    assert ratio["b"] == pytest.approx(0.63093, abs=1e-5)


def test_rerank_by_hand():
    """Utilities .9 .8 .7 (a) and .6 .5 (b), half of the exposure for b: b opens the list and holds it."""
    found = rerank([[0.9, 0.8, 0.7, 0.6, 0.5]], list("aaabb"), minimum_share={"b": 0.5}, k=3)
    # b is due at position 1; a's then lead until b is behind again: 1/(1+.63+.5) = .469 < .5 at position 3.
    assert found.order.tolist() == [[3, 0, 4]]
    weights = np.array([1, 1 / np.log2(3), 0.5])
    assert found.utility_kept_ratio == pytest.approx((weights @ [0.6, 0.9, 0.5]) / (weights @ [0.9, 0.8, 0.7]))
    shares = found.shares.set_index("group")
    assert shares.loc["b", "share_before"] == 0.0
    assert shares.loc["b", "share_after"] == pytest.approx(1.5 / weights.sum())
    assert tuple(found.shares.columns) == SHARE_COLUMNS


def test_no_minimum_is_the_best_list():
    """A share of 0 changes nothing and costs nothing."""
    found = rerank([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]], list("aba"), minimum_share={"b": 0.0}, k=2)
    assert found.order.tolist() == [[1, 2], [0, 1]]
    assert found.utility_kept_ratio == 1.0


def test_lists_without_candidates_are_counted():
    """A group that runs out is passed over and said so."""
    found = rerank([[0.9, 0.8, 0.1], [0.9, 0.8, 0.1]], list("aab"), minimum_share={"b": 0.9}, k=3)
    shares = found.shares.set_index("group")
    assert shares.loc["b", "lists_short"] == 2
    assert found.order.tolist() == [[2, 0, 1]] * 2


@pytest.mark.parametrize(
    ("utilities", "groups", "share", "k", "says"),
    [
        ([0.1], ["a"], {"a": 0.1}, 1, "shape"),
        ([[-1.0]], ["a"], {"a": 0.1}, 1, "finite values >= 0"),
        ([[1.0]], ["a"], {"a": 0.1}, 2, "k must lie in"),
        ([[1.0]], ["a", "b"], {"a": 0.1}, 1, "label every candidate"),
        ([[1.0]], ["a"], {"b": 0.1}, 1, "minimum_share"),
        ([[1.0]], ["a"], {"a": 1.1}, 1, "sum to at most 1"),
    ],
)
def test_refusals(utilities, groups, share, k, says):
    """Impossible input is refused with what is allowed."""
    with pytest.raises(MeasureError, match=says):
        rerank(utilities, groups, minimum_share=share, k=k)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.just(8)), elements=st.floats(0, 1)),
    st.floats(0.0, 1.0),
    st.integers(1, 8),
)
def test_one_group_holds_its_share_at_every_position(utilities, share, k):
    """No candidate twice, the share holds in every prefix while candidates last, no gain in utility."""
    groups = np.array(list("abbabaab"))
    found = rerank(utilities, groups, minimum_share={"b": share}, k=k)
    assert all(len(set(row)) == k for row in found.order.tolist())
    assert found.utility_kept_ratio <= 1 + 1e-12
    weights = position_weight(np.arange(1, k + 1))
    given_to_b = np.cumsum(weights * (groups[found.order] == "b"), axis=1)
    exhausted = np.cumsum(groups[found.order] == "b", axis=1) == 4
    assert (exhausted | (given_to_b >= share * np.cumsum(weights) - 1e-9)).all()


def test_real_impressions(real_data):
    """Open Bandit: under the random policy all item groups get the same exposure, within their intervals."""
    shown = pd.read_parquet(real_data / "streamrec/obd_impressions.parquet")
    shown = shown[(shown["policy"] == "random") & (shown["campaign"] == "men")]
    table = exposure_equity(shown["position"], shown["item_id"] % 3, clicks=shown["click"], seed=1, resamples=300)
    exposure = table[table["measure"] == "exposure"]
    overall = position_weight(shown["position"]).mean()
    assert ((exposure["low"] - 0.005 <= overall) & (overall <= exposure["high"] + 0.005)).all()
    assert table.loc[table["measure"] == "click_rate", "n"].sum() == len(shown)
