"""Pushed rows: checked whole, queued first, online where none newer stands, healed after a fault."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from forecastle.store.events import Event, EventQueue
from forecastle.store.online_sqlite import SQLiteOnlineStore
from tests.serve import toy
from tests.serve.client import running
from tests.serve.toy import NOW, push

FEATURES = {"market_price": 0.25, "volume_24h": 7, "days_left": 12}


def row(*, hours_ago: float = 1, market_id: int = 7, **changes: object) -> dict:
    at = (NOW - timedelta(hours=hours_ago)).isoformat()
    return {"entity": {"market_id": market_id}, "event_at": at, "known_at": at, "features": FEATURES} | changes


def rows(*given: dict) -> dict:
    return {"view": "prices", "rows": list(given)}


def queued(settings) -> list:
    queue = EventQueue(settings.home.events("toy"))
    try:
        return queue.since(0)
    finally:
        queue.close()


def test_a_pushed_row_is_used_by_the_next_request(client, settings):
    """The pushed values with their times are in the receipt, and the row is in the queue."""
    answer = client.post("/events", rows(row()))
    assert (answer.status, answer.json) == (
        200, {"view": "prices", "stored": 1, "repeated": 0, "online": "written"},
    )  # fmt: skip
    price = client.predict({"entity": {"market_id": 7}}).json["features"]["market_price"]
    assert (price["value"], price["status"], price["age_seconds"]) == (0.25, "PRESENT", 3600.0)
    (event,) = queued(settings)
    assert (event.view, event.entity_json) == ("prices", '{"market_id":7}')
    assert json.loads(event.features_json) == {"market_price": 0.25, "volume_24h": 7.0, "days_left": 12}
    assert '"volume_24h":7.0' in event.features_json  # as declared: a float


def test_an_older_row_is_queued_and_changes_nothing_online(client, settings):
    """Late data is kept for the warehouse; serving keeps the newest event, and of one event the latest known."""
    client.post("/events", rows(row(hours_ago=1)))
    client.post("/events", rows(row(hours_ago=2, features=FEATURES | {"market_price": 0.9})))
    value = client.predict({"entity": {"market_id": 7}}).json["features"]["market_price"]["value"]
    assert (value, len(queued(settings))) == (0.25, 2)


def test_a_repeat_is_counted_and_changes_nothing(client, settings):
    """By the row's own digest, or by an id of the sender's; an id with another row is 409 and stores nothing."""
    assert client.post("/events", rows(row(), row())).json["repeated"] == 1
    named = row(hours_ago=3, event_id="tick-1")
    assert [client.post("/events", rows(named)).json["stored"] for _ in range(2)] == [1, 0]
    conflict = client.post("/events", rows(row(hours_ago=9), named | {"features": FEATURES | {"days_left": 1}}))
    assert (conflict.status, conflict.json["error"]["code"]) == (409, "request_id_reused")
    assert len(queued(settings)) == 2


def test_without_known_at_a_row_is_known_now(client, settings):
    """And the same row without it, sent again, is a repeat."""
    plain = row()
    del plain["known_at"]
    assert client.post("/events", rows(plain)).json["stored"] == 1
    assert client.post("/events", rows(plain)).json["repeated"] == 1
    assert queued(settings)[0].known_at_us == toy.NOW_US


BROKEN = [
    (row(features=FEATURES | {"market_price": 2}), "market_price", "max"),
    (row(features=FEATURES | {"market_price": None}), "market_price", "nullable"),
    (row(features=FEATURES | {"market_price": "0.1"}), "market_price", "dtype"),
    (row(features=FEATURES | {"colour": 1}), "colour", "unknown"),
    (row(features={"market_price": 0.5, "days_left": 1}), "volume_24h", "missing"),
    (row(entity={}), "market_id", "missing"),
    (row(entity={"market_id": 1.5}), "market_id", "dtype"),
    (row(entity=[]), "entity", "dtype"),
    (row(event_at="2026-06-01T11:00:00"), "event_at", "dtype"),
    (row(event_at="2026-06-01T12:00:01+00:00"), "event_at", "max"),
    (row(known_at="2027-01-01T00:00:00+00:00"), "known_at", "max"),
    (row(event_id="two words"), "event_id", "allowed"),
    (row(more=1), "more", "unknown"),
    ({"entity": {"market_id": 7}, "features": FEATURES}, "event_at", "missing"),
    (None, "rows", "dtype"),
]


@pytest.mark.parametrize(("broken", "feature", "rule"), BROKEN)
def test_a_broken_row_names_row_feature_and_rule(shared, broken, feature, rule):
    """422 with the row's number; the good row beside it is not stored either."""
    answer = shared.post("/events", rows(row(market_id=99), broken))
    assert answer.status == 422
    assert [(d["row"], d["feature"], d["rule"]) for d in answer.json["error"]["details"]] == [(1, feature, rule)]
    assert shared.post("/events", rows(row(market_id=98))).json["repeated"] in (0, 1)
    assert shared.predict({"entity": {"market_id": 99}}).status == 422


def test_faults_of_many_rows_come_at_once(shared):
    """Two rows, three faults, three details."""
    details = shared.post("/events", rows(row(entity={}, more=1), row(event_id=3))).json["error"]["details"]
    assert [(d["row"], d["feature"]) for d in details] == [(0, "more"), (0, "market_id"), (1, "event_id")]


@pytest.mark.parametrize(
    ("body", "feature", "rule"),
    [({"rows": [row()]}, "view", "missing"), ({"view": "price", "rows": [row()]}, "view", "unknown"),
     ({"view": "prices"}, "rows", "missing"), ({"view": "prices", "rows": []}, "rows", "min")],
)  # fmt: skip
def test_a_push_names_its_view_and_has_rows(shared, body, feature, rule):
    """Otherwise 422 before any row is looked at."""
    answer = shared.post("/events", body)
    assert (answer.status, answer.rules) == (422, [(feature, rule)])


def test_what_could_not_go_online_is_told_and_healed(client, settings):
    """While the online store cannot be written the rows wait in the queue; afterwards they are written."""
    online = settings.home.online("toy")
    online.parent.mkdir(parents=True, exist_ok=True)
    online.write_text("no database at all " * 100)
    assert client.post("/events", rows(row())).json["online"] == "pending"
    assert client.ask("GET", "/healthz").json["events_pending"] == 1
    online.unlink()
    assert client.post("/events", rows(row(market_id=8))).json["online"] == "written"
    assert client.ask("GET", "/healthz").json["events_pending"] == 0
    assert client.application._running.operations.push.behind is False
    store = SQLiteOnlineStore(online, read_only=True)
    assert store.count("prices") == 2
    store.close()


def test_a_store_that_is_away_is_waited_for_where_feature_views_make_it(client, settings):
    """No new file takes its place, so what was in it is there again when it is back, and the pushed row with it."""
    online, away = settings.home.online("toy"), settings.home.online("toy").with_suffix(".away")
    assert client.post("/events", rows(row(hours_ago=2, market_id=8))).json["online"] == "written"
    (settings.home.warehouse / "toy").mkdir(parents=True)
    online.rename(away)
    assert client.post("/events", rows(row())).json["online"] == "pending"
    assert (client.ask("GET", "/healthz").json["events_pending"], online.exists()) == (1, False)
    away.rename(online)
    pushes = client.application._running.operations.push
    assert client.loop.run_until_complete(asyncio.to_thread(pushes.catch_up))
    store = SQLiteOnlineStore(online, read_only=True)
    assert (store.count("prices"), client.ask("GET", "/healthz").json["events_pending"]) == (2, 0)
    store.close()


def test_a_process_that_starts_writes_what_another_left_behind(settings):
    """Rows that were queued by a process that died before they went online are online after the next start."""
    at = toy.NOW_US - 1
    values = '{"market_price":0.25,"volume_24h":7.0,"days_left":12}'
    queue = EventQueue(settings.home.events("toy"))
    queue.append([Event("prices", "left", "x", '{"market_id":7}', at, at, values, at)])
    queue.close()
    with running(settings) as client:
        pushes = client.application._running.operations.push
        assert client.loop.run_until_complete(asyncio.to_thread(pushes.catch_up))
        assert client.predict({"entity": {"market_id": 7}}).json["features"]["market_price"]["value"] == 0.25


def test_pushes_and_the_warehouse_meet_in_one_store(client, settings):
    """A newer row from the warehouse's push stays over an older pushed event, and a newer event replaces it."""
    push(settings.home.online("toy"), prices=(0.6, 1.0, 3), age_us=1_800 * 1_000_000)
    client.post("/events", rows(row(hours_ago=1)))
    assert client.predict({"entity": {"market_id": 7}}).json["features"]["market_price"]["value"] == 0.6
    client.post("/events", rows(row(hours_ago=0.25)))
    assert client.predict({"entity": {"market_id": 7}}).json["features"]["market_price"]["value"] == 0.25
