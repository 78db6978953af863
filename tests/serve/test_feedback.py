"""Outcome feedback over HTTP: about a prediction or an entity, once per request id, corrections kept."""

from __future__ import annotations

import sqlite3
from datetime import timedelta

import pytest

from forecastle.store.outcome_log import OutcomeLog
from tests.serve.toy import GIVEN, NOW, push

EARLIER = (NOW - timedelta(hours=2)).isoformat()


def kept(settings) -> list[tuple]:
    log = OutcomeLog(settings.home.outcome_log("toy"))
    try:
        return [(o.prediction_id, o.entity_json, o.outcome) for o in log.since(0)]
    finally:
        log.close()


def test_an_outcome_of_a_prediction_is_kept_with_its_entity(client, settings):
    """The answer says what was kept; the entity is the prediction's; without known_at it is known now."""
    push(settings.home.online("toy"))
    prediction_id = client.predict({"entity": {"market_id": 7}}).json["prediction_id"]
    answer = client.post("/outcome", {"prediction_id": prediction_id, "outcome": 1, "request_id": "o-1"})
    assert (answer.status, answer.json) == (200, {
        "request_id": "o-1", "system": "toy", "prediction_id": prediction_id, "entity": {"market_id": 7},
        "outcome": 1, "known_at": NOW.isoformat(), "received_at": NOW.isoformat(), "corrects": None, "counts": True,
    })  # fmt: skip
    assert kept(settings) == [(prediction_id, '{"market_id":7}', 1)]


def test_a_correction_says_what_it_corrects(client, settings):
    """A later word counts, an earlier known one does not; all stay in the log."""
    entity = {"entity": {"market_id": 7}}
    assert client.post("/outcome", {**entity, "outcome": 1}).json["corrects"] is None
    corrected = client.post("/outcome", {**entity, "outcome": 0}).json
    assert (corrected["corrects"], corrected["counts"]) == (1, True)
    late = client.post("/outcome", {**entity, "outcome": 1, "known_at": EARLIER}).json
    assert (late["corrects"], late["counts"], late["known_at"]) == (0, False, EARLIER)
    assert [outcome for *_, outcome in kept(settings)] == [1, 0, 1]


def test_a_repeat_is_kept_once_and_a_reuse_is_409(client, settings):
    """The same request id gives the first answer again; with another outcome it is a conflict."""
    asked = {"entity": {"market_id": 7}, "outcome": 1, "request_id": "same"}
    assert client.post("/outcome", asked).body == client.post("/outcome", asked).body
    reused = client.post("/outcome", asked | {"outcome": 0})
    assert (reused.status, reused.json["error"]["code"]) == (409, "request_id_reused")
    assert reused.json["error"]["request_id"] == "same"
    assert len(kept(settings)) == 1


def test_a_prediction_that_we_never_gave_is_404(client, settings):
    """Nothing is kept for an id that is not in the prediction log."""
    answer = client.post("/outcome", {"prediction_id": "nobody", "outcome": 1, "request_id": "r"})
    assert (answer.status, answer.json["error"]["code"]) == (404, "unknown_prediction")
    assert answer.json["error"]["request_id"] == "r"
    assert kept(settings) == []


REFUSED = [
    ({"outcome": 1}, [("prediction_id", "missing")]),
    ({"prediction_id": "p", "entity": {"market_id": 7}, "outcome": 1}, [("prediction_id", "missing")]),
    ({"entity": {"market_id": 7}}, [("outcome", "missing")]),
    ({"entity": {"market_id": 7}, "outcome": 2}, [("outcome", "allowed")]),
    ({"entity": {"market_id": 7}, "outcome": True}, [("outcome", "dtype")]),
    ({"entity": {"market_id": 7}, "outcome": 1.0}, [("outcome", "dtype")]),
    ({"entity": {"market_id": 7}, "outcome": "1"}, [("outcome", "dtype")]),
    ({"entity": {"market_id": "x"}, "outcome": 1}, [("market_id", "dtype")]),
    ({"entity": {"market_id": 7}, "outcome": 1, "known_at": "2026-06-01"}, [("known_at", "dtype")]),
    ({"entity": {"market_id": 7}, "outcome": 1, "known_at": "2026-06-02T00:00:00Z"}, [("known_at", "max")]),
    ({"entity": {"market_id": 7}, "outcome": 1, "known_at": "0001-01-01T00:00:00+14:00"}, [("known_at", "min")]),
    ({"entity": {"market_id": 7}, "outcome": 3, "request_id": "a b", "more": 1},
     [("more", "unknown"), ("outcome", "allowed"), ("request_id", "allowed")]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "rules"), REFUSED)
def test_every_fault_is_told_at_once(shared, body, rules):
    """422 with each field and rule; booleans and texts are no outcomes, tomorrow is not known today."""
    answer = shared.post("/outcome", body)
    assert (answer.status, answer.rules) == (422, rules)


def test_an_unwritable_outcome_log_is_503(client, settings):
    """Nobody is told that an outcome was kept when it was not."""
    with sqlite3.connect(settings.home.outcome_log("toy")) as connection:
        connection.execute("DROP TABLE outcomes")
    answer = client.post("/outcome", {"entity": {"market_id": 7}, "outcome": 1})
    assert (answer.status, answer.json["error"]["code"]) == (503, "log_unavailable")


def test_a_prediction_without_an_entity_takes_an_outcome_too(client, settings):
    """Predictions from given features alone are told apart by their id."""
    prediction_id = client.predict({"features": GIVEN}).json["prediction_id"]
    assert client.post("/outcome", {"prediction_id": prediction_id, "outcome": 0}).json["entity"] is None
    assert kept(settings) == [(prediction_id, "null", 0)]
