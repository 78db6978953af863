"""The OpenAPI document is true: whatever is asked, the answer is one that the document describes, and never a 500."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.serve.refusal import STATUS_OF_CODE
from forecastle.serve.settings import Settings
from forecastle.store.events import EventQueue
from forecastle.store.home import Home
from forecastle.store.stream_inputs import PushInput
from tests.serve import toy
from tests.serve.client import running
from tests.serve.json_schema import faults
from tests.serve.toy import BET, GIVEN, NOW

POSTS = ("/predict", "/predict_batch", "/explain", "/outcome", "/events", "/stream")
ENTITY = {"market_id": 7}
ROW = {"entity": ENTITY, "event_at": NOW.isoformat(), "features": {"poll_avg_7d": None, "rank": 1}}
GOOD = {
    "/predict": [{"features": GIVEN}, {"entity": ENTITY}, {"entity": ENTITY, "features": GIVEN}],
    "/predict_batch": [{"requests": [{"features": GIVEN}, {"entity": ENTITY}, {"entity": {"market_id": 1}}]}],
    "/explain": [{"features": GIVEN}, {"entity": ENTITY}],
    "/outcome": [{"entity": ENTITY, "outcome": 1}, {"entity": ENTITY, "outcome": 0, "known_at": NOW.isoformat()}],
    "/events": [{"view": "polls", "rows": [ROW]}],
    "/stream": [{"source": "trades", "events": [{"event": {"trade_id": 1}}]}],
}


@pytest.fixture(scope="module")
def deciding(champion_home, tmp_path_factory):
    """A started service with a decision rule, one stored entity and its document."""
    home = Home(tmp_path_factory.mktemp("deciding") / "home")
    shutil.copytree(champion_home.root, home.root)
    toy.promote(home, toy.make_bundle(home, version="5", decision=BET), version="5")
    toy.push(home.online("toy"))
    queue = EventQueue(home.pushed("toy"))
    PushInput(queue, "trades")  # as the stream worker of a system with that stream
    with running(Settings("toy", home, None, lambda: NOW)) as client:
        yield client, client.ask("GET", "/openapi.json").json
    queue.close()


def described(answer, operation: dict, document: dict) -> list[str]:
    """Faults of an answer against the response that the document gives for its status."""
    response = operation["responses"].get(str(answer.status))
    if response is None:
        return [f"status {answer.status} is not described: {answer.body[:200]!r}"]
    return faults(answer.json, response["content"]["application/json"]["schema"], document)


@pytest.mark.parametrize(("path", "body"), [(path, body) for path, bodies in GOOD.items() for body in bodies])
def test_good_requests_and_their_answers_are_described(deciding, path, body):
    """A request that the document allows is answered 200, as the document says."""
    client, document = deciding
    operation = document["paths"][path]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert faults(body, schema, document) == []
    answer = client.post(path, body)
    assert answer.status == 200, answer.body
    assert described(answer, operation, document) == []


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from([NOW.isoformat(), "prices", "polls", 7, 0.5, 1, 0])
)  # fmt: skip
KEYS = st.sampled_from(
    ["entity", "features", "requests", "rows", "view", "request_id", "prediction_id", "outcome", "known_at", "event_at",
     "event_id", "source", "events", "event", "market_id", *toy.CONTRACTS, "other"]
)  # fmt: skip
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


def mutated(draw: st.DrawFn, value: object) -> object:
    """A good body with one or more places replaced, dropped or added."""
    if isinstance(value, dict):
        kept = {k: mutated(draw, v) for k, v in value.items() if draw(st.integers(0, 9)) > 0}
        return kept | (draw(st.dictionaries(KEYS, JSON, max_size=1)) if draw(st.integers(0, 4)) == 0 else {})
    if isinstance(value, list):
        return [mutated(draw, inner) for inner in value]
    return draw(JSON) if draw(st.integers(0, 6)) == 0 else value


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """A path and a body: near a good one, any JSON, or bytes that are none."""
    path = draw(st.sampled_from(POSTS))
    body = draw(st.integers(0, 9))
    if body == 0:
        return path, draw(st.binary(max_size=20))
    value = draw(JSON) if body < 3 else mutated(draw, draw(st.sampled_from(GOOD[path])))
    return path, json.dumps(value).encode()


@settings(max_examples=200, deadline=None)
@given(requests())
def test_whatever_is_asked_the_answer_is_described(deciding, request_):
    """Status and body are in the document, and nothing that is asked makes a 500."""
    client, document = deciding
    path, body = request_
    operation = document["paths"][path]["post"]
    answer = client.ask("POST", path, body)
    assert answer.status < 500, (body, answer.body)
    assert described(answer, operation, document) == []


@pytest.mark.parametrize("path", ["/model", "/healthz", "/livez", "/readyz", "/openapi.json"])
def test_every_page_is_described(deciding, path):
    """GET answers fit their schemas too."""
    client, document = deciding
    assert described(client.ask("GET", path), document["paths"][path]["get"], document) == []


def test_every_path_and_every_refusal_is_in_the_document(deciding):
    """Nothing answers that is not described; each code's status is documented with some operation."""
    client, document = deciding
    answering = {*client.application._running.operations.by_path, *client.application._routes}
    assert set(document["paths"]) == answering
    told = {
        code
        for operations in document["paths"].values()
        for operation in operations.values()
        for response in operation["responses"].values()
        for code in response["description"].removeprefix("Refused: ").split(", ")
    }
    assert set(STATUS_OF_CODE) - told == {"not_found", "method_not_allowed"}


def test_refusals_before_parsing_are_described(deciding):
    """Media type, size, token, host, origin, method and unknown paths have the one error shape."""
    client, document = deciding
    operation = document["paths"]["/predict"]["post"]
    odd = [
        client.predict({"features": GIVEN}, content_type="text/plain"),
        client.ask("POST", "/predict", b"x" * ((1 << 20) + 1)),
        client.predict({"features": GIVEN}, origin="http://evil.example"),
    ]
    assert [answer.status for answer in odd] == [415, 413, 403]
    assert [described(answer, operation, document) for answer in odd] == [[], [], []]
    error = document["components"]["schemas"]["Error"]
    assert faults(client.ask("GET", "/nowhere").json, error, document) == []


@pytest.mark.parametrize(
    "path", ["/card", "/docs", "/healthz", "/livez", "/metrics", "/model", "/openapi.json", "/readyz"]
)
def test_refusals_of_pages_are_described(deciding, settings, path):
    """A foreign host, a foreign page and a missing token are refusals of GET operations too, where they are checked."""
    client, document = deciding
    operation = document["paths"][path]["get"]
    odd = [client.ask("GET", path, origin="http://evil.example")]
    closed = dataclasses.replace(settings, token="t" * 32, hosts=frozenset({"localhost"}))
    with running(closed) as other:
        odd += [other.ask("GET", path, host="evil.example"), other.ask("GET", path, host="localhost")]
    is_open = path in {"/livez", "/readyz"}
    assert [answer.status for answer in odd] == [403, 421, 200 if is_open else 401]
    assert [described(answer, operation, document) for answer in odd] == [[], [], []]
    assert ("401" in operation["responses"]) is not is_open


def test_without_a_champion_only_pages_are_offered(home):
    """Before the first promotion the document is there, without operations, and predict is 503 as an Error."""
    empty = dataclasses.replace(Settings("toy", home, None, lambda: NOW), system="other")
    with running(empty) as client:
        document = client.ask("GET", "/openapi.json").json
        assert not set(POSTS) & set(document["paths"])
        for path in POSTS:
            answer = client.post(path, {"view": "x", "entity": {}, "outcome": 1})
            assert (answer.status, answer.json["error"]["code"]) in {(503, "no_champion"), (422, "contract")}


def test_the_validator_itself_finds_faults():
    """A negative control: wrong types, missing and undescribed keys, ranges and unions are found."""
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0}}, "required": ["a"],
              "additionalProperties": False}  # fmt: skip
    assert faults({"a": 1}, schema, {}) == []
    broken = [{"a": True}, {"a": -1}, {"a": 1.5}, {}, {"a": 1, "b": 2}, []]
    assert all(faults(value, schema, {}) for value in broken)
    assert faults(1, {"oneOf": [{"type": "integer"}, {"type": "number"}]}, {})
    assert faults("2026-01-01T00:00:00", {"format": "date-time"}, {})
