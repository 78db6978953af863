"""Features by name: where each value comes from, how old it may be, and what happens when it is not there."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.column import Feature
from forecastle.contract.errors import BundleError
from forecastle.serve.resolve import Degraded, Resolver
from tests.serve import toy
from tests.serve.toy import DAY_US, GIVEN, NOW_US, ROW, StoredRow

RESOLVER = Resolver(toy.feature_set())


def rows(*, prices_age_us: int = 0, polls_age_us: int = 0, **values: tuple[object, ...]) -> dict[str, StoredRow]:
    found = ROW | values
    return {
        "prices": StoredRow(found["prices"], NOW_US - prices_age_us, NOW_US - prices_age_us + 5),
        "polls": StoredRow(found["polls"], NOW_US - polls_age_us, NOW_US - polls_age_us + 5),
    }


def resolve(given_features=None, stored=None):
    return RESOLVER.resolve(given_features or {}, rows() if stored is None else stored, now_us=NOW_US)


def test_stored_values_come_with_status_and_times():
    """A fresh row gives PRESENT values that carry its event and knowledge time."""
    price = resolve(stored=rows(prices_age_us=60_000_000)).features["market_price"]
    assert (price.value, price.status) == (0.4, "PRESENT")
    assert (price.event_at_us, price.known_at_us) == (NOW_US - 60_000_000, NOW_US - 60_000_000 + 5)


def test_computed_features_follow_their_inputs():
    """poll_spread = 0.5 − 0.4 and log_volume = ln(1 + 100), from the code that the feature set carries."""
    features = resolve().features
    assert features["poll_spread"].value == 0.5 - 0.4
    assert features["log_volume"].value == float(np.log1p(100.0))
    assert {features[name].status for name in ("poll_spread", "log_volume")} == {"COMPUTED"}


def test_the_vector_is_in_the_models_order():
    """Values stand where the model's feature order says, whatever the order of views."""
    expected = [math.log1p(100.0), 0.4, 0.5 - 0.4, 10.0, 2.0]
    assert RESOLVER.vector(resolve().features) == pytest.approx(expected, abs=1e-15)


def test_a_request_overrides_the_store():
    """A given value wins over a stored one, keeps no stored time, and computed features see it."""
    features = resolve({"market_price": 0.1}).features
    assert (features["market_price"].value, features["market_price"].status) == (0.1, "REQUEST")
    assert features["market_price"].event_at_us is None
    assert features["poll_spread"].value == 0.4


@pytest.mark.parametrize(("age_us", "status"), [(DAY_US - 1, "PRESENT"), (DAY_US, "STALE"), (DAY_US + 1, "STALE")])
def test_a_row_is_stale_from_the_moment_of_its_ttl(age_us, status):
    """event_at > now − ttl, exactly as in the join: a row aged its whole ttl is stale already."""
    resolution = resolve(stored=rows(prices_age_us=age_us))
    assert resolution.features["days_left"].status == status
    assert [fault.rule for fault in resolution.refused] == ([] if status == "PRESENT" else ["stale"])


def test_each_rule_for_a_stale_view():
    """Rule refuse names the feature, default takes the default, last serves the old value; both say so."""
    resolution = resolve(stored=rows(prices_age_us=2 * DAY_US))
    assert [(fault.feature, fault.value, fault.rule) for fault in resolution.refused] == [
        ("market_price", 0.4, "stale")
    ]
    assert (resolution.features["volume_24h"].value, resolution.features["volume_24h"].status) == (
        0.0,
        "DEFAULTED",
    )
    assert (resolution.features["days_left"].value, resolution.features["days_left"].status) == (10, "STALE")
    old = "stale: 172800 s old, at most 86400 s allowed; the"
    assert resolution.degraded == (
        Degraded("volume_24h", f"{old} default is used"),
        Degraded("days_left", f"{old} last value is used"),
    )


def test_each_rule_for_an_unknown_entity():
    """Without a row, refuse and last refuse with `missing`, default serves."""
    resolution = resolve(stored={"prices": None, "polls": None})
    assert [(fault.feature, fault.rule) for fault in resolution.refused] == [
        ("market_price", "missing"), ("days_left", "missing"),
    ]  # fmt: skip
    assert [item.feature for item in resolution.degraded] == ["volume_24h", "poll_avg_7d", "rank"]


def test_an_unavailable_store_is_told_apart():
    """With no store at all every fallback gives that reason."""
    resolution = RESOLVER.resolve(GIVEN, None, now_us=NOW_US)
    assert resolution.degraded == (Degraded("rank", "missing: online store unavailable; the default is used"),)
    assert resolution.refused == ()


def test_null_in_a_nullable_feature_is_a_value():
    """A stored null poll is PRESENT, computation sees NaN, and the model's vector has NaN."""
    resolution = resolve(stored=rows(polls=(None, 1)))
    assert (resolution.features["poll_avg_7d"].value, resolution.features["poll_avg_7d"].status) == (
        None,
        "PRESENT",
    )
    assert resolution.features["poll_spread"].value is None
    assert math.isnan(RESOLVER.vector(resolution.features)[2])
    assert resolution.degraded == ()


def test_a_stored_value_that_breaks_its_contract_is_not_used():
    """A price of 40 (cents for dollars) in the store falls under the contract's rule, named with `max`."""
    resolution = resolve(stored=rows(prices=(40.0, 100.0, 10)))
    assert [(fault.feature, fault.value, fault.rule) for fault in resolution.refused] == [("market_price", 40.0, "max")]


def test_a_computed_value_that_breaks_its_contract_is_refused():
    """log1p of a volume below −1 is NaN; log_volume is not nullable, so it is refused by name."""
    code = toy.SIGNALS.replace("np.log1p(volume_24h)", "np.log1p(volume_24h - 200.0)")
    resolution = Resolver(toy.feature_set(features=code)).resolve(GIVEN, {}, now_us=NOW_US)
    assert [(fault.feature, fault.rule) for fault in resolution.refused] == [("log_volume", "nullable")]


def test_given_features_are_checked_by_name():
    """Unknown, computed, store-only and out-of-range features are all named; a hint helps with a typo."""
    bad = {"market_prise": 0.4, "log_volume": 1.0, "rank": 1, "days_left": 1.5, "volume_24h": -1.0}
    violations = RESOLVER.check_given(bad, complete=False)
    assert [(fault.feature, fault.rule) for fault in violations] == [
        ("market_prise", "unknown"), ("log_volume", "computed"), ("rank", "request"), ("days_left", "dtype"),
        ("volume_24h", "min"),
    ]  # fmt: skip
    assert "did you mean 'market_price'?" in violations[0].text


def test_without_an_entity_every_givable_feature_must_be_given():
    """Leaving days_left out is `missing`; the store-only rank falls under its own rule."""
    given_features = {name: value for name, value in GIVEN.items() if name != "days_left"}
    violations = RESOLVER.check_given(given_features, complete=True)
    assert [(fault.feature, fault.rule) for fault in violations] == [("days_left", "missing")]
    assert RESOLVER.check_given(GIVEN, complete=True) == []


def test_a_model_on_text_is_refused_at_load():
    """A string among the model's features is a BundleError, not a failing request."""
    features = toy.feature_set()
    text = [
        replace(s, contract=Feature(dtype="string", unit="text")) if s.name == "rank" else s for s in features.features
    ]
    with pytest.raises(BundleError, match="rank is string"):
        Resolver(replace(features, features=tuple(text)))


@settings(max_examples=50)
@given(order=st.permutations(list(GIVEN)), volume=st.floats(0, 1e9), price=st.floats(0, 1))
def test_the_order_of_given_features_changes_nothing(order, volume, price):
    """Any order of the same named values gives the same vector, bit for bit."""
    named = GIVEN | {"volume_24h": volume, "market_price": price}
    first = RESOLVER.vector(resolve(named).features)
    turned = RESOLVER.vector(resolve({name: named[name] for name in order}).features)
    assert np.array(first).tobytes() == np.array(turned).tobytes()


@settings(max_examples=50)
@given(volume=st.lists(st.floats(0, 1e12), min_size=1, max_size=20), poll=st.none() | st.floats(0, 1))
def test_one_at_a_time_equals_all_at_once(volume, poll):
    """On-demand code gives the same bits for scalars at request time and for arrays offline."""
    function = toy.feature_set().functions()["signals"]
    missing = math.nan if poll is None else poll
    arrays = function(
        market_price=np.full(len(volume), 0.4),
        poll_avg_7d=np.full(len(volume), missing),
        volume_24h=np.array(volume),
    )
    for index, one in enumerate(volume):
        features = resolve({"market_price": 0.4, "poll_avg_7d": poll, "volume_24h": one}).features
        assert features["log_volume"].value == arrays["log_volume"][index]
        spread = features["poll_spread"].value
        assert (spread is None and poll is None) or spread == arrays["poll_spread"][index]
