"""Raw events over HTTP: queued once each for the stream worker, refused where nobody would take them."""

from __future__ import annotations

import pytest

from forecastle.store.events import EventQueue
from forecastle.store.stream_inputs import PushInput


@pytest.fixture
def queue(settings):
    """The queue that a stream worker of the toy system has made for its source trades."""
    made = EventQueue(settings.home.pushed("toy"))
    PushInput(made, "trades")
    yield made
    made.close()


def events(*given: dict) -> dict:
    return {"source": "trades", "events": [{"event": event} for event in given]}


def test_pushed_events_are_what_the_worker_takes(client, queue):
    """Each event once and in order, as the worker will read it; repeats are counted."""
    told = client.post("/stream", events({"b": 1, "a": "é"}, {"a": 2}))
    assert (told.status, told.json) == (200, {"source": "trades", "stored": 2, "repeated": 0})
    assert client.post("/stream", events({"a": 2}, {"a": 3})).json == {"source": "trades", "stored": 1, "repeated": 1}
    taken = PushInput(queue, "trades").take({}, limit=10, timeout_seconds=0)
    assert [body.decode() for _, _, body in taken] == ['{"a":"é","b":1}', '{"a":2}', '{"a":3}']


def test_an_id_with_another_event_is_refused(client, queue):
    """Nothing of such a push is stored."""
    first = {"source": "trades", "events": [{"event_id": "t1", "event": {"a": 1}}]}
    assert client.post("/stream", first).json["stored"] == 1
    other = {"source": "trades", "events": [{"event": {"a": 9}}, {"event_id": "t1", "event": {"a": 2}}]}
    assert client.post("/stream", other).status == 409
    assert len(queue.since(0)) == 1


def test_without_a_worker_nothing_is_taken(client, settings):
    """Events that nobody would read are refused, and no file is made for them."""
    answer = client.post("/stream", events({"a": 1}))
    assert (answer.status, answer.rules) == (422, [("source", "unknown")])
    assert b"no stream worker" in answer.body
    assert not settings.home.pushed("toy").exists()


@pytest.mark.parametrize(
    ("body", "feature", "rule"),
    [
        ({"source": "trade", "events": [{"event": {}}]}, "source", "unknown"),
        ({"events": [{"event": {}}]}, "source", "missing"),
        ({"source": "trades", "events": []}, "events", "min"),
        ({"source": "trades"}, "events", "missing"),
        ({"source": "trades", "events": [7]}, "events", "dtype"),
        ({"source": "trades", "events": [{}]}, "event", "missing"),
        ({"source": "trades", "events": [{"event": [1]}]}, "event", "dtype"),
        ({"source": "trades", "events": [{"event": {}, "event_id": "a b"}]}, "event_id", "allowed"),
        ({"source": "trades", "events": [{"event": {}}], "more": 1}, "more", "unknown"),
    ],
)
def test_a_broken_body_is_told_and_nothing_is_stored(client, queue, body, feature, rule):
    """The first fault of the first bad event, with the rule it breaks."""
    answer = client.post("/stream", body)
    assert (answer.status, answer.rules) == (422, [(feature, rule)])
    assert queue.since(0) == []
