"""HTTP as a client meets it: statuses, the one error shape, the receipt, and what is never logged."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import json
import logging
import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.measure.calibrators import Platt
from forecastle.serve.operations import SMALL_BODY_BYTES
from forecastle.store.prediction_log import PredictionReader
from tests.serve import toy
from tests.serve.client import running
from tests.serve.toy import GIVEN, NOW_US, push

ASK = {"features": GIVEN}
TOKEN = "0123456789abcdef0123456789abcdef"


def text(**features: str) -> bytes:
    """A request whose feature values are written as JSON text, so that they may be wrong."""
    written = {name: json.dumps(value) for name, value in GIVEN.items()} | features
    inner = ", ".join(f'"{name}": {value}' for name, value in written.items())
    return f'{{"features": {{{inner}}}}}'.encode()


def test_a_receipt_says_everything(client):
    """Probability, model, features with status, what was degraded, times: every documented field."""
    answer = client.predict(ASK | {"request_id": "r-1"})
    receipt = answer.json
    assert answer.status == 200
    assert list(receipt) == [
        "prediction_id", "request_id", "system", "entity", "predicted_at", "probability", "interval", "model",
        "variant", "features", "degraded", "decision", "latency_ms",
    ]  # fmt: skip
    assert (receipt["request_id"], receipt["system"], receipt["entity"]) == ("r-1", "toy", None)
    assert receipt["predicted_at"] == "2026-06-01T12:00:00+00:00"
    assert receipt["features"]["market_price"] == {
        "value": 0.4, "status": "REQUEST", "age_seconds": None, "event_at": None, "known_at": None,
    }  # fmt: skip
    assert receipt["degraded"] == [{"feature": "rank", "reason": "missing: no row in polls; the default is used"}]
    assert set(receipt["model"]) == {"name", "version", "bundle", "feature_set"}


def test_the_probability_is_the_offline_one_bit_for_bit(client):
    """The served number equals the package's prediction of the same vector through the same calibrator."""
    receipt = client.predict(ASK).json
    vector = [[np.log1p(100.0), 0.4, 0.5 - 0.4, 10.0, 3.0]]
    raw = toy.booster(seed=1).predict(np.array(vector))
    assert receipt["probability"] == float(Platt(1.1, -0.05).apply(raw)[0])


def test_what_is_answered_is_logged_first(client, settings):
    """The log holds the receipt's prediction with the raw score and the model's input vector."""
    receipt = client.predict(ASK).json
    logged = PredictionReader(settings.home.prediction_log("toy")).get(receipt["prediction_id"])
    assert (logged.probability, logged.predicted_at_us) == (receipt["probability"], NOW_US)
    assert json.loads(logged.vector_json) == [float(np.log1p(100.0)), 0.4, 0.5 - 0.4, 10.0, 3.0]
    assert json.loads(logged.features_json) == receipt["features"]


REFUSED = [
    (text(market_price="NaN"), "market_price", "finite", "nan"),
    (text(market_price="Infinity"), "market_price", "finite", "inf"),
    (text(volume_24h="1e999"), "volume_24h", "finite", "inf"),
    (text(volume_24h="9" * 400), "volume_24h", "dtype", None),
    (text(market_price='"0.4"'), "market_price", "dtype", "0.4"),
    (text(market_price="true"), "market_price", "dtype", True),
    (text(market_price="null"), "market_price", "nullable", None),
    (text(market_price="[0.4]"), "market_price", "dtype", "list"),
    (text(market_price="1.01"), "market_price", "max", 1.01),
    (text(market_price="-0.01"), "market_price", "min", -0.01),
    (text(days_left="10.5"), "days_left", "dtype", 10.5),
    (text(poll_spread="0.1"), "poll_spread", "computed", 0.1),
    (text(rank="1"), "rank", "request", 1),
    (text(market_prise="0.4"), "market_prise", "unknown", 0.4),
]


@pytest.mark.parametrize(("body", "feature", "rule", "value"), REFUSED)
def test_a_broken_contract_names_feature_value_and_rule(shared, body, feature, rule, value):
    """422 with exactly one detail; nothing is converted on the way."""
    answer = shared.predict(body)
    assert answer.status == 422
    (detail,) = answer.json["error"]["details"]
    assert (detail["feature"], detail["rule"]) == (feature, rule)
    assert value is None or detail["value"] == value
    assert feature in detail["message"]


def test_all_faults_come_at_once(shared):
    """Five different faults in one request are five details, with the request's id."""
    body = text(market_price="2", days_left='"x"', colour="1", rank="1")[:-1] + b', "request_id": "r", "extra": 1}'
    answer = shared.predict(body)
    assert sorted(answer.rules) == [
        ("colour", "unknown"), ("days_left", "dtype"), ("extra", "unknown"), ("market_price", "max"),
        ("rank", "request"),
    ]  # fmt: skip
    assert answer.json["error"]["request_id"] == "r"


def test_a_missing_feature_is_named(shared):
    """Explicit features must be complete: each one left out is `missing`."""
    answer = shared.predict({"features": {"market_price": 0.4}})
    assert answer.status == 422
    assert answer.rules == [(name, "missing") for name in ("volume_24h", "days_left", "poll_avg_7d")]


def test_refusals_are_never_logged(client, settings):
    """After every refusal of this file the log is empty."""
    for body, *_ in REFUSED:
        assert client.predict(body).status == 422
    for body in (b"", b"{", b"[]"):
        assert client.predict(body).status == 400
    assert PredictionReader(settings.home.prediction_log("toy")).count() == 0


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b"null", b'"x"', b"\xff", b"[" * 300_000, b'{"request_id":"\\ud800"}']
)
def test_what_is_not_json_is_400(shared, body):
    """Empty, cut, other kinds, bad UTF-8, deep nesting and half of a surrogate pair are `not_json`, never 500."""
    answer = shared.predict(body)
    assert (answer.status, answer.json["error"]["code"]) == (400, "not_json")


@pytest.mark.parametrize(
    "media_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml",
     "application/vnd.bentoml+pickle", "application/json; charset=utf-8", "application/jsonx"],
)  # fmt: skip
def test_only_application_json_is_read(shared, media_type):
    """Every other media type is 415 before the body is looked at."""
    answer = shared.predict(ASK, content_type=media_type)
    assert (answer.status, answer.json["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("path", ["/predict", "/predict_batch", "/explain", "/outcome", "/events", "/stream"])
@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "identity, gzip"])
def test_a_packed_body_is_refused_by_name(shared, path, coding):
    """A Content-Encoding is 415 with its name, not a complaint about bytes that are no JSON."""
    answer = shared.ask("POST", path, gzip.compress(json.dumps(ASK).encode()), content_encoding=coding)
    assert (answer.status, answer.json["error"]["code"]) == (415, "unsupported_media_type")
    assert repr(coding) in answer.json["error"]["message"]


@pytest.mark.parametrize("coding", ["", "identity"])
def test_a_body_that_says_it_is_not_packed_is_read(shared, coding):
    """`identity` is no encoding, and an empty header says nothing."""
    assert shared.predict(ASK, content_encoding=coding).status == 200


@pytest.mark.parametrize("headers", [{}, {"content-length": str(2 << 20)}])
def test_a_large_body_is_refused_before_parsing(shared, headers):
    """Over 1 MiB is 413, by the announced length or by counting what arrives."""
    body = b'{"features": {"x": "' + b"x" * (1 << 20) + b'"}}'
    answer = shared.ask("POST", "/predict", body, parts=7, **headers)
    assert (answer.status, answer.json["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [("/predict", {}, 413), ("/predict", {"content-length": str(2 << 20)}, 413), ("/nope", {}, 404),
     ("/model", {}, 405), ("/predict", {"content-type": "text/plain"}, 415),
     ("/predict", {"content-encoding": "gzip"}, 415)],
)  # fmt: skip
def test_an_early_refusal_leaves_before_the_rest_of_the_body_is_thrown_away(shared, path, headers, status):
    """A client that sends all before it reads gets its answer: a connection closed with unread bytes is reset."""
    told = []
    pieces = [{"type": "http.request", "body": b"x" * (1 << 19), "more_body": left > 0} for left in range(5, -1, -1)]

    async def receive():
        told.append(len(pieces))
        return pieces.pop(0)

    async def send(message):
        told.append((message.get("status"), message.get("more_body", False)))

    given = {"content-type": "application/json", **headers}
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"method": "POST", "path": path, "headers": pairs}
    shared.loop.run_until_complete(shared.application(scope, receive, send))
    answered = told.index((status, False))
    assert told[:answered] == ([6, 5, 4] if (path, headers) == ("/predict", {}) else [])
    assert (told[answered + 1], told[-1], pieces) == ((None, True), (None, False), [])


def test_a_body_in_pieces_is_one_body(shared):
    """A request that arrives in nine parts is answered like one that arrives whole."""
    whole = shared.predict(ASK).json
    pieces = shared.ask("POST", "/predict", json.dumps(ASK).encode(), parts=9).json
    assert pieces["probability"] == whole["probability"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict", 405), ("PUT", "/predict", 405), ("POST", "/model", 405), ("GET", "/", 404),
     ("GET", "/docs.json", 404), ("POST", "/predict/", 404), ("GET", "/../etc/passwd", 404),
     ("GET", "/schema.json", 404)],
)  # fmt: skip
def test_other_paths_and_methods_have_the_same_shape(shared, method, path, status):
    """404 and 405 are JSON of the one error shape."""
    answer = shared.ask(method, path)
    assert answer.status == status
    assert list(answer.json["error"]) == ["code", "message", "details", "request_id"]


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(list(GIVEN)), top=st.permutations(["features", "request_id"]))
def test_shuffling_a_request_changes_nothing(shared, order, top):
    """Any order of features and keys gives the same probability and the same features."""
    parts = {"features": {name: GIVEN[name] for name in order}, "request_id": None}
    answer = shared.predict({name: parts[name] for name in top}).json
    first = shared.predict(ASK).json
    assert (answer["probability"], answer["features"]) == (first["probability"], first["features"])


def test_a_repeated_request_gets_the_logged_answer(client, settings):
    """The same id and body, keys in another order, returns the first receipt's bytes and logs nothing new."""
    first = client.predict({"features": GIVEN, "request_id": "once"})
    again = client.predict({"request_id": "once", "features": dict(reversed(GIVEN.items()))})
    assert again.body == first.body
    assert PredictionReader(settings.home.prediction_log("toy")).count() == 1


def test_a_reused_request_id_is_409(client):
    """The same id with other features is a conflict, not an answer."""
    client.predict({"features": GIVEN, "request_id": "once"})
    answer = client.predict({"features": GIVEN | {"market_price": 0.41}, "request_id": "once"})
    assert (answer.status, answer.json["error"]["code"]) == (409, "request_id_reused")
    assert answer.json["error"]["request_id"] == "once"


def test_without_an_online_store_an_entity_is_503(client):
    """Features that must come from a store that is not there: 503, naming each, and health says so."""
    answer = client.predict({"entity": {"market_id": 1}})
    assert (answer.status, answer.json["error"]["code"]) == (503, "online_store_unavailable")
    assert answer.rules == [("market_price", "missing"), ("days_left", "missing")]
    assert answer.headers["retry-after"] == "1"
    health = client.ask("GET", "/healthz").json
    assert (health["status"], health["online_store"]) == ("degraded", "unavailable")
    assert client.predict({"entity": {"market_id": 1}, "features": GIVEN}).status == 200


def test_an_unwritable_log_gives_no_answer(client, settings):
    """When the prediction cannot be logged, the caller gets 503 and no probability."""
    with sqlite3.connect(settings.home.prediction_log("toy")) as connection:
        connection.execute("DROP TABLE predictions")
    answer = client.predict(ASK)
    assert (answer.status, answer.json["error"]["code"]) == (503, "log_unavailable")
    assert b"probability" not in answer.body


def test_a_log_at_its_limit_says_disk_and_heals(settings):
    """A log of 14 pages takes some answers, then 503 with the word disk, no probability and word of it in
    health; with room it goes on.
    """
    with running(dataclasses.replace(settings, log_limit_bytes=14 * 4_096)) as client:
        before = client.ask("GET", "/healthz").json
        answers = [client.predict(ASK) for _ in range(50)]
        health = client.ask("GET", "/healthz").json
    assert (before["status"], before["log"]) == ("ok", "available")
    assert (health["status"], health["log"]) == ("degraded", "unavailable")
    taken = [answer.status for answer in answers].index(503)
    assert taken > 0
    full = answers[taken]
    assert full.json["error"]["code"] == "log_unavailable"
    assert "the prediction log is full: it may take" in full.json["error"]["message"]
    assert b"probability" not in full.body
    with running(settings) as client:
        assert client.predict(ASK).status == 200
    logged = sum(answer.status == 200 for answer in answers) + 1
    assert PredictionReader(settings.home.prediction_log("toy")).count() == logged


def test_too_many_waiting_predictions_are_refused(client, monkeypatch):
    """At the limit of what may wait in memory the next answer is 503 and says how many wait."""
    monkeypatch.setattr(client.application._running.log._group, "_pending_limit", 0)
    answer = client.predict(ASK)
    assert (answer.status, answer.json["error"]["code"]) == (503, "log_unavailable")
    assert "wait for the disk" in answer.json["error"]["message"]


def test_a_fault_of_ours_shows_no_trace(client, caplog):
    """An exception inside is 500 with a fixed text; the trace goes to the log only."""

    async def broken(body: bytes) -> bytes:
        raise AttributeError(f"NoneType: {len(body)}")

    client.application._running.operations.by_path["/predict"].answer = broken
    with caplog.at_level(logging.ERROR, "forecastle.serve"):
        answer = client.predict(ASK)
    assert (answer.status, answer.json["error"]["code"]) == (500, "internal")
    assert b"Traceback" not in answer.body
    assert b"NoneType" not in answer.body
    assert "AttributeError" in caplog.text


def test_too_many_at_once_are_429(settings):
    """Beyond the limit of requests in flight a caller is told to come back."""
    with running(dataclasses.replace(settings, in_flight_limit=0)) as client:
        answer = client.predict(ASK)
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")


def test_many_small_batches_are_answered_at_once_and_few_large_ones(settings):
    """Of 12 each beside each other every one of 8 KiB at most is answered, and 8 that are larger or say no size."""
    row = {"features": GIVEN}
    small, large = (json.dumps({"requests": [row] * count}).encode() for count in (3, 100))
    assert len(small) <= SMALL_BODY_BYTES < len(large)
    limits = dataclasses.replace(settings, in_flight_limit=16, rows_in_flight_limit=8)

    def statuses(client, body: bytes, **headers: str) -> list[int]:
        async def at_once():
            return await asyncio.gather(*[client.asked("POST", "/predict_batch", body, **headers) for _ in range(12)])

        return sorted(answer.status for answer in client.loop.run_until_complete(at_once()))

    with running(limits) as client:
        hold(client.application._running.operations.by_path["/predict_batch"])
        assert statuses(client, small, content_length=str(len(small))) == [200] * 12
        for announced in (str(len(large)), ""):
            assert statuses(client, large, content_length=announced) == [200] * 8 + [429] * 4
        assert client.application._running.operations.by_path["/predict_batch"].in_flight == 0


def hold(operation) -> None:
    """Let every request that may be in flight be there before the first one is answered."""
    answer = operation.answer

    async def held(body: bytes) -> bytes:
        for _ in range(50):
            await asyncio.sleep(0)
        return await answer(body)

    operation.answer = held


def test_a_body_that_never_ends_meets_the_deadline(settings):
    """A client that stops sending gets 504 within the deadline and holds nothing afterwards."""
    with running(dataclasses.replace(settings, deadline_seconds=0.01, linger_seconds=0.01)) as client:
        sent = []

        async def receive():
            await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        scope = {"method": "POST", "path": "/predict", "headers": [(b"content-type", b"application/json")]}
        client.loop.run_until_complete(client.application(scope, receive, send))
        assert (sent[0]["status"], client.application._running.operations.by_path["/predict"].in_flight) == (504, 0)


def test_a_request_that_the_server_cancels_ends_without_an_answer(shared):
    """A worker that has to end cancels what it answers: that is no deadline, and nothing is held afterwards."""
    sent = []

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    async def cancelled():
        scope = {"method": "POST", "path": "/predict", "headers": [(b"content-type", b"application/json")]}
        asked = asyncio.ensure_future(shared.application(scope, receive, send))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait([asked])
        return asked.cancelled()

    assert shared.loop.run_until_complete(cancelled())
    assert (sent, shared.application._running.operations.by_path["/predict"].in_flight) == ([], 0)


def test_a_client_that_leaves_gets_no_answer(shared):
    """A connection closed in the middle of the body ends quietly."""
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"method": "POST", "path": "/predict", "headers": [(b"content-type", b"application/json")]}
    shared.loop.run_until_complete(shared.application(scope, receive, send))
    assert sent == []


def test_the_token_opens_everything_but_probes(settings):
    """With a token set, all but /livez and /readyz are 401 without it, and answer with it."""
    with running(dataclasses.replace(settings, token=TOKEN)) as client:
        closed = ["/model", "/healthz", "/metrics", "/openapi.json", "/docs"]
        assert [client.ask("GET", path).status for path in closed] == [401] * 5
        assert client.predict(ASK).headers["www-authenticate"] == "Bearer"
        assert [client.ask("GET", path).status for path in ("/livez", "/readyz")] == [200, 200]
        wrong = ("Bearer " + TOKEN[:-1], TOKEN, "bearer " + TOKEN, f"Bearer {TOKEN}x")
        assert [client.predict(ASK, authorization=value).status for value in wrong] == [401] * 4
        assert client.predict(ASK, authorization=f"Bearer {TOKEN}").status == 200


def test_pages_of_other_origins_and_foreign_hosts_are_refused(settings):
    """A browser's Origin must be ours, and on loopback only loopback names are answered."""
    with running(dataclasses.replace(settings, hosts=frozenset({"localhost", "127.0.0.1", "::1"}))) as client:
        assert client.predict(ASK, host="evil.example").status == 421
        assert client.predict(ASK, host="localhost:3000", origin="http://evil.example").status == 403
        good = ("localhost:3000", "127.0.0.1", "[::1]:3000")
        assert [client.predict(ASK, host=host, origin=f"http://{host}").status for host in good] == [200] * 3


def test_a_browser_gets_the_card_as_a_page(shared):
    """`/card`, and `/model` where HTML is asked for first; whoever takes anything gets the JSON."""
    page = shared.ask("GET", "/card")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"# toy" in page.body
    assert shared.ask("GET", "/model", accept="text/html,*/*;q=0.8").body == page.body
    assert shared.ask("GET", "/model", accept="*/*").headers["content-type"] == "application/json"


def test_the_model_page_is_the_bundle(shared):
    """Card, hashes and every feature's contract of the bundle in use."""
    page = shared.ask("GET", "/model").json
    receipt = shared.predict(ASK).json
    assert page["model"]["bundle"] == receipt["model"]["bundle"]
    assert page["features"]["market_price"]["max"] == 1
    assert page["features"]["market_price"]["ttl_seconds"] == toy.DAY_SECONDS
    assert (page["card"], page["promotion"]["promotion_id"]) == ("# toy\n", "1")


def test_the_openapi_document_is_true(shared):
    """Ranges and units are the contract's, what cannot be given is not offered, statuses are listed."""
    document = shared.ask("GET", "/openapi.json").json
    operation = document["paths"]["/predict"]["post"]
    features = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]["features"]
    assert set(features["properties"]) == set(GIVEN)
    assert features["properties"]["market_price"] == {
        "type": "number", "minimum": 0, "maximum": 1, "x-unit": "probability",
    }  # fmt: skip
    assert features["properties"]["poll_avg_7d"]["type"] == ["number", "null"]
    assert {"200", "400", "401", "409", "413", "415", "422", "429", "500", "503", "504"} <= set(operation["responses"])
    receipt = shared.predict(ASK).json
    described = document["components"]["schemas"]["Receipt"]
    assert list(described["properties"]) == list(receipt)
    assert set(document["paths"]) == {*shared.application._running.operations.by_path, *shared.application._routes}


def test_the_docs_page_needs_nothing_from_elsewhere(shared):
    """Plain HTML with the features' ranges: no script, no address of another host."""
    page = shared.ask("GET", "/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert b"market_price" in page.body
    assert b"<script" not in page.body
    assert b"href='/model'" in page.body
    assert b"href='/predict'" not in page.body, "a link is followed by GET, which /predict refuses"
    assert b"http" not in page.body.replace(b"Prometheus", b"")


def test_metrics_count_what_happened(client):
    """Requests by route and status, features by status, degraded ones by name, bundle and swaps."""
    client.predict(ASK)
    client.predict(b"")
    page = client.ask("GET", "/metrics").body.decode()
    assert 'forecastle_requests_total{route="/predict",status="200"} 1.0' in page
    assert 'forecastle_requests_total{route="/predict",status="400"} 1.0' in page
    assert 'forecastle_features_total{status="DEFAULTED"} 1.0' in page
    assert 'forecastle_degraded_total{feature="rank"} 1.0' in page
    assert 'forecastle_swaps_total{outcome="swapped"} 1.0' in page
    assert "forecastle_champion_info{bundle=" in page


def test_without_a_champion_nothing_is_predicted(settings):
    """No pointer and no packed bundle: alive, not ready, 503 with the reason."""
    settings.home.champion("toy").unlink()
    with running(settings) as client:
        statuses = [
            client.ask("GET", path).status for path in ("/livez", "/readyz", "/healthz", "/model", "/openapi.json")
        ]
        answer = client.predict(ASK)
    assert statuses == [200, 503, 200, 503, 200]
    assert (answer.status, answer.json["error"]["code"]) == (503, "no_champion")
    assert "promote a bundle" in answer.json["error"]["message"]


def test_an_entity_is_answered_from_the_online_store(client, settings):
    """Stored values with their ages, computed ones from them; a given value overrides the stored one."""
    push(settings.home.online("toy"), age_us=60_000_000)
    answer = client.predict({"entity": {"market_id": 7}})
    assert answer.status == 200
    assert answer.json["entity"] == {"market_id": 7}
    assert answer.json["degraded"] == []
    assert answer.json["features"]["market_price"] == {
        "value": 0.4, "status": "PRESENT", "age_seconds": 60.0,
        "event_at": "2026-06-01T11:59:00+00:00", "known_at": "2026-06-01T11:59:00+00:00",
    }  # fmt: skip
    override = client.predict({"entity": {"market_id": 7}, "features": {"market_price": 0.1}}).json
    assert override["features"]["market_price"]["status"] == "REQUEST"
    assert override["features"]["poll_spread"]["value"] == 0.4


def test_a_stale_store_is_told(client, settings):
    """Prices two days old with a TTL of one: the price is refused by name and rule."""
    push(settings.home.online("toy"), age_us=2 * toy.DAY_US)
    answer = client.predict({"entity": {"market_id": 7}})
    assert (answer.status, answer.rules) == (422, [("market_price", "stale")])
    served = client.predict({"entity": {"market_id": 7}, "features": {"market_price": 0.4}}).json
    assert [item["feature"] for item in served["degraded"]] == ["volume_24h", "days_left"]
    assert served["features"]["days_left"]["status"] == "STALE"


def test_an_unknown_entity_is_named(client, settings):
    """An entity that was never pushed is 422 with rule `missing` for each feature that must not be."""
    push(settings.home.online("toy"))
    answer = client.predict({"entity": {"market_id": 8}})
    assert (answer.status, answer.rules) == (422, [("market_price", "missing"), ("days_left", "missing")])
