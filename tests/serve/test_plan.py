"""The short way of a usual request: the same features as the long way, byte for byte, or none at all."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forecastle.serve.plan import Plan, served_of
from forecastle.serve.resolve import Resolver
from tests.serve import toy
from tests.serve.toy import CONTRACTS, DAY_US, GIVEN, NOW_US, ROW, StoredRow

RESOLVER = Resolver(toy.feature_set())
PLAN = Plan(RESOLVER)
AGES_US = st.sampled_from([-1, 0, 1, 999_999, DAY_US - 1, DAY_US, 7 * DAY_US])
NUMBERS = st.one_of(
    st.floats(allow_nan=False), st.integers(-3, 2**64), st.booleans(), st.none(), st.floats(0, 1), st.integers(0, 5)
)


def stored(prices=ROW["prices"], polls=ROW["polls"], *, ages_us=(0, 0)):
    rows = zip(("prices", "polls"), (prices, polls), ages_us, strict=True)
    return {view: StoredRow(values, NOW_US - age, NOW_US - age + 1) for view, values, age in rows}


def long_way(given_features, rows):
    """What `resolve.py` gives, or None where it degrades or refuses anything."""
    if RESOLVER.check_given(given_features, complete=False):
        return None
    resolution = RESOLVER.resolve(given_features, rows, now_us=NOW_US)
    if resolution.refused or resolution.degraded:
        return None
    return served_of(resolution, RESOLVER, now_us=NOW_US)


def told(served):
    """Everything in it, with NaN as text and without the places that count nothing."""
    vector = [str(value) for value in served.vector]
    counts = {status: count for status, count in served.counts.items() if count}
    return (dict(served.values), vector, served.features_json, served.degraded, counts, served.oldest_us)


@given(
    st.dictionaries(st.sampled_from([*CONTRACTS, "other"]), NUMBERS, max_size=4),
    st.tuples(st.one_of(st.just(0.4), NUMBERS), st.one_of(st.just(9.0), NUMBERS), st.one_of(st.just(10), NUMBERS)),
    st.tuples(st.one_of(st.just(0.5), NUMBERS), st.sampled_from([1, 2, 3, 4, None, 2.0])),
    st.tuples(AGES_US, AGES_US),
)
@example({}, ROW["prices"], ROW["polls"], (0, 0))
@example({"market_price": 1}, ROW["prices"], ROW["polls"], (0, 1))
@example({"market_price": 0.5, "volume_24h": 1.0, "days_left": 3}, ROW["prices"], (None, 2), (5, 1))
def test_both_ways_agree(given_features, prices, polls, ages_us):
    """Where the short way answers, the long way answers the same, bytes included."""
    rows = stored(prices, polls, ages_us=ages_us)
    usual = PLAN.usual(given_features, rows, now_us=NOW_US)
    if usual is not None:
        expected = long_way(given_features, rows)
        assert expected is not None
        assert told(usual) == told(expected)


@pytest.mark.parametrize(
    ("given_features", "rows"),
    [({}, stored()), ({}, stored(polls=(None, 2))), ({"market_price": 0.3}, stored()), ({"market_price": 1}, stored()),
     ({"market_price": 0.3}, stored(ages_us=(1_500_000, 0)))],
)  # fmt: skip
def test_usual_requests_take_the_short_way(given_features, rows):
    """Whole rows, nulls that the contract allows, overrides and whole numbers are usual."""
    assert PLAN.usual(given_features, rows, now_us=NOW_US) is not None


@pytest.mark.parametrize(
    ("given_features", "rows"),
    [({}, None), ({}, {}), ({}, {"prices": stored()["prices"], "polls": None}), ({}, stored(ages_us=(DAY_US, 0))),
     ({}, stored(prices=(1.5, 1.0, 1))), ({}, stored(polls=(0.5, 4))), ({"rank": 1}, stored()),
     ({"market_price": True}, stored()), ({"market_price": math.inf}, stored()), ({"nobody": 1.0}, stored()),
     ({"market_price": 2**53 + 1}, stored()), (GIVEN, {})],
)  # fmt: skip
def test_what_is_unusual_is_left_to_the_long_way(given_features, rows):
    """Absent, old, broken, unknown and not givable values get no answer here."""
    assert PLAN.usual(given_features, rows, now_us=NOW_US) is None


def without_rank():
    """The toy's features but one, so that a request may give them all."""
    whole = toy.feature_set()
    views = tuple(replace(view, features=tuple(n for n in view.features if n != "rank")) for view in whole.views)
    features = tuple(spec for spec in whole.features if spec.name != "rank")
    return replace(whole, views=views, features=features, model_features=toy.MODEL_FEATURES[:-1])


GIVABLE = Plan(Resolver(without_rank()))


def test_a_whole_request_is_usual():
    """All features given, floats only or a whole number among them, need no stored row."""
    for more in ({}, {"volume_24h": 7}, {"market_price": 1.0}):
        served = GIVABLE.usual(GIVEN | more, {}, now_us=NOW_US)
        assert served.features_json.count('"REQUEST"') == len(GIVEN)
