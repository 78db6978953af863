"""Batches: row by row what one request would be told, one transaction for all, and the loop stays free."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.serve.application import Front
from forecastle.store.prediction_log import PredictionReader
from tests.serve import toy
from tests.serve.client import Client, running
from tests.serve.toy import GIVEN

OWN = ("prediction_id", "request_id", "latency_ms")


def same(receipt: dict) -> dict:
    """A receipt without what every answer has for itself."""
    return {name: value for name, value in receipt.items() if name not in OWN}


def requests(count: int) -> list[dict]:
    return [{"features": GIVEN | {"market_price": n / count, "days_left": n % 300}} for n in range(count)]


@pytest.mark.parametrize("count", [1, 64, 65, 300])
def test_a_batch_says_what_single_requests_say(client, count):
    """The same receipts bit for bit, inline and in the thread, in the order asked."""
    asked = requests(count)
    batch = client.post("/predict_batch", {"requests": asked}).json
    assert (batch["answered"], batch["refused"]) == (count, 0)
    assert [answer["row"] for answer in batch["answers"]] == list(range(count))
    for answer, request in list(zip(batch["answers"], asked, strict=True))[:: max(1, count // 40)]:
        assert same(answer["receipt"]) == same(client.predict(request).json)


def test_every_receipt_of_a_batch_is_logged_as_answered(client, settings):
    """The log holds the batch in its order, with the numbers that left."""
    batch = client.post("/predict_batch", {"requests": requests(200)}).json
    logged = PredictionReader(settings.home.prediction_log("toy")).since(0)
    assert [p.prediction_id for p in logged] == [a["receipt"]["prediction_id"] for a in batch["answers"]]
    assert [p.probability for p in logged] == [a["receipt"]["probability"] for a in batch["answers"]]


def test_broken_rows_are_told_all_at_once_with_their_numbers(client, settings):
    """Each broken row has its own error with feature, value, rule and row; the others are answered and logged."""
    asked = requests(5)
    asked[1] = {"features": GIVEN | {"market_price": 2, "rank": 1}, "request_id": "second"}
    asked[3] = {"entity": {"market_id": "x"}}
    asked[4] = 17
    batch = client.post("/predict_batch", {"requests": asked})
    assert (batch.status, batch.json["answered"], batch.json["refused"]) == (200, 2, 3)
    errors = {answer["row"]: answer["error"] for answer in batch.json["answers"] if "error" in answer}
    assert [(d["feature"], d["rule"], d["row"]) for d in errors[1]["details"]] == [
        ("market_price", "max", 1), ("rank", "request", 1),
    ]  # fmt: skip
    assert errors[1]["request_id"] == "second"
    assert [(d["feature"], d["rule"], d["row"]) for d in errors[3]["details"]] == [("market_id", "dtype", 3)]
    assert errors[4]["code"] == "not_json"
    assert PredictionReader(settings.home.prediction_log("toy")).count() == 2


def test_rows_from_the_store_and_unknown_entities(client, settings):
    """A stored entity is answered, one that was never pushed is refused by name; both paths agree."""
    toy.push(settings.home.online("toy"))
    for count in (2, 80):
        asked = [{"entity": {"market_id": 7}}, {"entity": {"market_id": 8}}] * (count // 2)
        answers = client.post("/predict_batch", {"requests": asked}).json["answers"]
        assert {a["receipt"]["features"]["market_price"]["status"] for a in answers[::2]} == {"PRESENT"}
        assert {a["error"]["code"] for a in answers[1::2]} == {"contract"}
    assert same(answers[0]["receipt"]) == same(client.predict({"entity": {"market_id": 7}}).json)


@pytest.mark.parametrize("copies", [1, 30])
def test_entities_of_every_age_are_told_what_single_requests_are_told(client, settings, copies):
    """Young and stale rows, nulls, overrides, an unknown entity and requests without one, inline and in the thread."""
    for market_id, polls, days in ((1, (0.5, 2), 0), (2, (None, 1), 0), (3, (0.5, 2), 2), (4, (0.5, 9), 0)):
        toy.push(settings.home.online("toy"), market_id=market_id, polls=polls, age_us=days * toy.DAY_US + 5)
    entities = [{"entity": {"market_id": market_id}} for market_id in (1, 2, 3, 4, 5)]
    changed = [one | {"features": {"market_price": price}} for one in entities for price in (0.25, 1, 2)]
    asked = [*entities, *changed, {"features": GIVEN}] * copies
    answers = client.post("/predict_batch", {"requests": asked}).json["answers"]
    for answer, request in list(zip(answers, asked, strict=True))[:21]:
        single = client.predict(request).json
        if "receipt" in answer:
            assert same(answer["receipt"]) == same(single)
        else:
            details = [detail | {"row": answer["row"]} for detail in single["error"]["details"]]
            assert answer["error"] == single["error"] | {"details": details}
    assert {"receipt" in answer for answer in answers} == {True, False}


def test_request_ids_are_idempotent_within_and_across_batches(client, settings):
    """A repeat, in the same batch or later, gets the first receipt; a reuse is a conflict of that row only."""
    one, other = {"features": GIVEN, "request_id": "a"}, {"features": GIVEN | {"days_left": 9}, "request_id": "a"}
    first = client.post("/predict_batch", {"requests": [one, one, other]}).json["answers"]
    assert first[0]["receipt"] == first[1]["receipt"]
    assert first[2]["error"]["code"] == "request_id_reused"
    again = client.post("/predict_batch", {"requests": [one]}).json["answers"]
    assert again[0]["receipt"] == first[0]["receipt"] == client.predict(one).json
    assert PredictionReader(settings.home.prediction_log("toy")).count() == 1


def test_a_small_batch_asks_the_log_beside_the_event_loop(client):
    """Request ids of rows that are answered on the event loop are looked up by the call that keeps nobody waiting."""
    known = client.predict({"features": GIVEN, "request_id": "a"}).json
    batch = client.application._running.operations.by_path["/predict_batch"].answer.__self__
    log = _Remote(batch.predictor.log)
    beside = dataclasses.replace(batch, predictor=dataclasses.replace(batch.predictor, log=log))
    asked = [{"features": GIVEN, "request_id": one} for one in ("a", "b", 7)]
    body = client.loop.run_until_complete(beside.predict(json.dumps({"requests": asked}).encode()))
    first, second, third = json.loads(body)["answers"]
    assert (first["receipt"], second["receipt"]["request_id"]) == (known, "b")
    assert third["error"]["details"][0]["feature"] == "request_id"
    assert log.asked == ["a", "b"]


class _Remote:
    """A log somewhere else: nobody on the event loop may wait for it."""

    def __init__(self, log) -> None:
        self._log, self.asked = log, []
        self.append_many = log.append_many

    async def answered(self, request_id):
        self.asked.append(request_id)
        return await self._log.answered(request_id)

    def by_request(self, request_id):
        raise AssertionError(f"the event loop waits for {request_id}")


BODIES = [
    ({}, "missing"), ({"requests": []}, "min"), ({"requests": {}}, "dtype"), ({"requests": [{}] * 11}, "max"),
    ({"requests": [{}], "extra": 1}, "unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "rule"), BODIES)
def test_what_is_no_batch_is_refused_whole(settings, body, rule):
    """Absent, empty, another kind, too long, or with keys of its own: 422 and nothing is looked at."""
    with running(dataclasses.replace(settings, rows_limit=10)) as client:
        answer = client.post("/predict_batch", body)
        assert (answer.status, [found for _, found in answer.rules]) == (422, [rule])
        assert client.ask("POST", "/predict_batch", b"[").json["error"]["code"] == "not_json"


def test_an_unwritable_log_answers_no_row(client, settings):
    """When the transaction fails nobody is told a number."""
    with sqlite3.connect(settings.home.prediction_log("toy")) as connection:
        connection.execute("DROP TABLE predictions")
    for more in ({}, {"request_id": "known-before"}):
        answer = client.post("/predict_batch", {"requests": [request | more for request in requests(3)]})
        assert (answer.status, answer.json["error"]["code"]) == (503, "log_unavailable")
        assert b"probability" not in answer.body


def test_a_deadline_before_the_end_logs_nothing(settings):
    """A batch that is given up while it is worked on leaves no prediction behind."""
    with running(dataclasses.replace(settings, rows_deadline_seconds=0.01)) as client:
        answer = client.post("/predict_batch", {"requests": requests(3_000)})
        assert (answer.status, answer.json["error"]["code"]) == (504, "deadline")
    assert PredictionReader(settings.home.prediction_log("toy")).count() == 0


def test_behind_bentoml_a_batch_ends_before_bentoml_gives_up(client, settings):
    """The middleware tells how long its server waits: our own 504 comes first, and nothing is logged unanswered."""
    front = Front(client.application, application=client.application, deadline_seconds=0.01)
    behind = Client(front, client.loop)
    answer = behind.post("/predict_batch", {"requests": requests(3_000)})
    assert (answer.status, answer.json["error"]["message"]) == (504, "no answer within 0.01 s")
    assert PredictionReader(settings.home.prediction_log("toy")).count() == 0
    assert behind.predict(requests(1)[0]).status in (200, 504)


def test_single_predictions_go_on_beside_a_large_batch(client):
    """While 3,000 rows are worked on, single requests are answered before the batch is."""
    order: list[str] = []

    async def ask(path: str, body: bytes) -> int:
        sent: list[dict] = []

        async def receive() -> dict:
            return {"type": "http.request", "body": body}

        async def send(message: dict) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"content-type", b"application/json")]}
        await client.application(scope, receive, send)
        order.append(path)
        return sent[0]["status"]

    async def both() -> list[int]:
        batch = asyncio.create_task(ask("/predict_batch", json.dumps({"requests": requests(3_000)}).encode()))
        await asyncio.sleep(0)
        singles = [await ask("/predict", json.dumps({"features": GIVEN}).encode()) for _ in range(3)]
        return [*singles, await batch]

    assert client.loop.run_until_complete(both()) == [200] * 4
    assert order == ["/predict"] * 3 + ["/predict_batch"]


VALUES = st.fixed_dictionaries(
    {
        "market_price": st.floats(-0.5, 1.5),
        "volume_24h": st.floats(0, 1e9) | st.integers(0, 10**9),
        "days_left": st.integers(-5, 4000),
        "poll_avg_7d": st.none() | st.floats(0, 1),
    }
)


@settings(max_examples=25, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_any_rows_are_told_what_single_requests_are_told(shared, rows):
    """Receipts and refusals alike, for values inside and outside of the contract."""
    answers = shared.post("/predict_batch", {"requests": [{"features": row} for row in rows]}).json["answers"]
    for answer, row in zip(answers, rows, strict=True):
        single = shared.predict({"features": row})
        if single.status == 200:
            assert same(answer["receipt"]) == same(single.json)
        else:
            error = single.json["error"]
            error["details"] = [detail | {"row": answer["row"]} for detail in error["details"]]
            assert answer["error"] == error
