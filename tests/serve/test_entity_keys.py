"""Entities with several keys: each view is read by its own keys, whatever their order."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from forecastle.contract.push_view import PushView
from forecastle.learn.bundle import BundleParts, load_bundle, write_bundle
from forecastle.store.online import OnlineView
from forecastle.store.online_sqlite import SQLiteOnlineStore
from tests.serve import toy
from tests.serve.client import running
from tests.serve.toy import CONTRACTS, NOW, NOW_US, VIEWS

KEYS = {"venue": "string", "market_id": "int64"}
VIEW_KEYS = {"prices": ("venue", "market_id"), "polls": ("market_id",)}


@pytest.fixture
def client(home, settings):
    """The toy system with two keys (not in alphabetical order) for prices and one for polls."""
    plain = toy.make_bundle(home)
    bundle = load_bundle(home.bundles("toy") / plain, expected_hash=plain)
    views = tuple(replace(view, keys=VIEW_KEYS[view.name]) for view in bundle.feature_set.views)
    pushed = tuple(
        PushView(name, {key: KEYS[key] for key in VIEW_KEYS[name]}, {f: CONTRACTS[f] for f in names})
        for name, names in VIEWS.items()
    )
    parts = BundleParts(
        feature_set=replace(bundle.feature_set, keys=KEYS, views=views), model_bytes=bundle.model_bytes,
        calibrator=bundle.calibrator, reference={}, golden=bundle.golden, card="", facts=bundle.facts, views=pushed,
    )  # fmt: skip
    toy.promote(home, write_bundle(home.bundles("toy"), parts), version="7")
    with running(settings) as started:
        yield started


def store(home, view: str, key: tuple, values: tuple) -> None:
    dtypes = {name: CONTRACTS[name].dtype for name in VIEWS[view]}
    with closing(SQLiteOnlineStore(home.online("toy"))) as online:
        online.write(
            OnlineView(view, {name: KEYS[name] for name in VIEW_KEYS[view]}, dtypes), [(*key, NOW_US, NOW_US, *values)]
        )


def test_each_view_is_read_by_its_own_keys(client, home):
    """A view of one key and a view of two, for a prediction about two keys in any order."""
    store(home, "prices", ("north", 7), (0.4, 100.0, 10))
    store(home, "prices", ("south", 7), (0.6, 100.0, 10))
    store(home, "polls", (7,), (0.5, 2))
    for venue, price in (("north", 0.4), ("south", 0.6)):
        for entity in ({"venue": venue, "market_id": 7}, {"market_id": 7, "venue": venue}):
            features = client.predict({"entity": entity}).json["features"]
            assert (features["market_price"]["value"], features["rank"]["value"]) == (price, 2)


def test_pushed_rows_go_to_the_table_that_the_warehouse_made(client, home):
    """Key order is the declared one on both ways into the store, so neither refuses the other's table."""
    store(home, "prices", ("north", 8), (0.4, 100.0, 10))
    features = {"market_price": 0.7, "volume_24h": 1.0, "days_left": 3}
    row = {"entity": {"market_id": 7, "venue": "south"}, "event_at": NOW.isoformat(), "features": features}
    assert client.post("/events", {"view": "prices", "rows": [row]}).json["online"] == "written"
    store(home, "polls", (7,), (0.5, 2))
    answer = client.predict({"entity": {"venue": "south", "market_id": 7}}).json
    assert answer["features"]["market_price"]["value"] == 0.7
