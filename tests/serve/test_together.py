"""Requests of one turn: what each is told is what it is told alone, and nobody holds the others up."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sqlite3

import pytest

from forecastle.serve.together import FEW, MOST, Together
from forecastle.store.prediction_log import PredictionReader
from tests.serve import toy
from tests.serve.client import Answer, running
from tests.serve.test_batch import OWN, same
from tests.serve.test_challenger import challenger_bundle, start
from tests.serve.toy import GIVEN

AGES = ((1, (0.5, 2), 0), (2, (None, 1), 0), (3, (0.5, 2), 2), (4, (0.5, 9), 0))


def of(market_id: int) -> dict:
    return {"entity": {"market_id": market_id}}


def told(answer: Answer) -> object:
    """What an answer says, without what every answer has for itself."""
    return same(answer.json) if answer.status == 200 else (answer.status, answer.json)


def is_in_company(answer: Answer) -> bool:
    """Whether a receipt's prediction is a row of a batch."""
    return "-" in answer.json["prediction_id"]


@pytest.fixture
def pushed(settings):
    for market_id in range(200):
        toy.push(settings.home.online("toy"), market_id=market_id, prices=(market_id / 200, 100.0 + market_id, 10))
    return settings


def test_company_changes_no_answer(client, settings):
    """Young and stale rows, nulls, overrides, unknown entities, refused values and ids: each as it is told alone."""
    for market_id, polls, days in AGES:
        toy.push(settings.home.online("toy"), market_id=market_id, polls=polls, age_us=days * toy.DAY_US + 5)
    entities = [of(market_id) for market_id in (1, 2, 3, 4, 5)] * 3
    changed = [of(1) | {"features": {"market_price": price}} for price in (0.25, 1, 2)]
    asked = [*entities, *changed, {"features": GIVEN}, of(1) | {"request_id": "a"}, {"entity": {"market_id": "x"}}, {}]
    answers = client.predict_at_once(asked)
    assert [told(answer) for answer in answers] == [told(client.predict(request)) for request in asked]
    company = [is_in_company(answer) for answer in answers if answer.status == 200]
    assert (sum(company), len(company)) == (6, 13), "markets 1 and 2 are usual; 4 falls back, alone"
    assert answers[19].json == client.predict(asked[19]).json, "a repeated request id gets the first answer"


def test_features_that_are_all_given_keep_company(home, settings):
    """Whole requests, floats only or whole numbers among them, are one batch; a value out of range is refused alone."""
    whole = toy.feature_set()
    givable = [
        dataclasses.replace(spec, contract=spec.contract.model_copy(update={"request": True}))
        if spec.name == "rank" else spec for spec in whole.features
    ]  # fmt: skip
    features = dataclasses.replace(whole, features=tuple(givable))
    toy.promote(home, toy.make_bundle(home, version="9", features=features), version="9")
    asked = [{"features": GIVEN | {"market_price": n / 8, "volume_24h": n, "rank": 1 + n % 3}} for n in range(8)]
    asked += [{"features": GIVEN | {"market_price": 2.0, "rank": 1}}, {"features": GIVEN | {"rank": 1.5}}]
    with running(settings) as client:
        answers = client.predict_at_once(asked)
        assert [told(answer) for answer in answers] == [told(client.predict(request)) for request in asked]
    assert [answer.status for answer in answers] == [200] * 8 + [422] * 2
    assert all(is_in_company(answer) for answer in answers[:8])
    assert len({answer.json["probability"] for answer in answers[:8]}) > 4


@pytest.mark.parametrize("count", [1, FEW - 1, FEW, MOST + FEW, 2 * MOST + 1])
def test_few_go_alone_and_many_go_in_parts(pushed, count):
    """Every answer is logged once, whichever way it went, under the id that the receipt says."""
    with running(pushed) as client:
        answers = client.predict_at_once([of(market_id) for market_id in range(count)])
        page = client.ask("GET", "/metrics").body.decode()
    rest = count % MOST
    assert sum(map(is_in_company, answers)) == (count if rest >= FEW else count - rest)
    logged = {one.prediction_id: one for one in PredictionReader(pushed.home.prediction_log("toy")).since(0)}
    assert set(logged) == {answer.json["prediction_id"] for answer in answers}
    assert len(logged) == count
    for market_id, answer in enumerate(answers):
        assert json.loads(logged[answer.json["prediction_id"]].entity_json) == {"market_id": market_id}
        assert logged[answer.json["prediction_id"]].probability == answer.json["probability"]
    assert f"forecastle_predict_seconds_count {float(count)}" in page
    assert f'forecastle_requests_total{{route="/predict",status="200"}} {float(count)}' in page


def test_the_challenger_keeps_its_entities(pushed):
    """Whoever the bundle under trial has, it has in company: they go alone, the others together."""
    start(pushed.home, challenger_bundle(pushed.home), share=0.4)
    asked = [of(market_id) for market_id in range(40)]
    with running(pushed) as client:
        answers = client.predict_at_once(asked)
        assert [told(answer) for answer in answers] == [told(client.predict(request)) for request in asked]
    assert {answer.json["variant"] for answer in answers} == {"champion", "challenger"}
    assert {answer.json["variant"] for answer in answers if is_in_company(answer)} == {"champion"}


def test_with_a_shadow_each_goes_alone(pushed):
    """Every answer is the champion's own record, which the shadow's stands beside."""
    start(pushed.home, challenger_bundle(pushed.home), shadow=True)
    with running(pushed) as client:
        answers = client.predict_at_once([of(market_id) for market_id in range(20)])
    assert not any(is_in_company(answer) for answer in answers)
    shadows = [f"shadow:{answer.json['prediction_id']}" for answer in answers]
    logged = PredictionReader(pushed.home.prediction_log("toy"))
    assert all(logged.by_request(shadow) for shadow in shadows)


def test_one_request_id_at_once_is_one_prediction(pushed):
    """Sixteen times the same get one receipt, another request under the id is a conflict, one transaction logs all."""
    asked = [of(7) | {"request_id": "settle-77"}] * 16 + [of(8) | {"request_id": "settle-77"}, of(9)]
    with running(pushed) as client:
        answers = client.predict_at_once(asked)
        again = client.predict(asked[0])
    assert len({answer.body for answer in [*answers[:16], again]}) == 1
    assert (answers[16].status, answers[16].json["error"]["code"]) == (409, "request_id_reused")
    assert answers[16].json["error"]["request_id"] == "settle-77"
    assert PredictionReader(pushed.home.prediction_log("toy")).count() == 2


def test_every_kind_of_request_shares_one_transaction(pushed):
    """Overrides, ids, fallbacks and usual rows of a turn are handed to the log together."""
    asked = [of(n) | ({}, {"features": {"market_price": 0.3}}, {"request_id": f"r{n}"})[n % 3] for n in range(30)]
    with running(pushed) as client:
        written = _Slow(client.application._running.predictor.log)
        written.go_on.set()
        together = Together(dataclasses.replace(client.application._running.predictor, log=written))

        async def story() -> list[bytes]:
            return await asyncio.gather(*[together.predict(json.dumps(one).encode()) for one in asked])

        receipts = [json.loads(body) for body in client.loop.run_until_complete(story())]
    assert [receipt["entity"]["market_id"] for receipt in receipts] == list(range(30))
    assert [receipt["request_id"] for receipt in receipts[2::3]] == [f"r{n}" for n in range(2, 30, 3)]
    assert written.sizes == [30]


def test_after_the_cut_off_each_is_refused(home, settings):
    """409 with the rule's reason for the late ones, a receipt for the others."""
    toy.promote(home, toy.make_bundle(home, version="9", decision=toy.BET), version="9")
    for market_id in range(10):
        toy.push(settings.home.online("toy"), market_id=market_id, prices=(0.4, 100.0, market_id % 2))
    with running(settings) as client:
        answers = client.predict_at_once([of(market_id) for market_id in range(10)])
    assert [answer.status for answer in answers] == [409, 200] * 5
    assert {answer.json["error"]["code"] for answer in answers[::2]} == {"after_cutoff"}
    assert PredictionReader(settings.home.prediction_log("toy")).count() == 5


def test_an_unwritable_log_answers_nobody(pushed):
    """When the transaction fails nobody is told a number."""
    with running(pushed) as client:
        with sqlite3.connect(pushed.home.prediction_log("toy")) as connection:
            connection.execute("DROP TABLE prediction_batches")
        answers = client.predict_at_once([of(market_id) for market_id in range(10)])
    assert {(answer.status, answer.json["error"]["code"]) for answer in answers} == {(503, "log_unavailable")}


def test_a_company_that_cannot_be_answered_goes_alone(pushed):
    """A fault of what many share costs nobody an answer: each is then answered by itself."""
    with running(pushed) as client:
        predictor = client.application._running.predictor
        scorer = predictor.watch.current.scorer
        broken = _NoColumns(scorer)
        predictor.watch.current = dataclasses.replace(predictor.watch.current, scorer=broken)
        answers = client.predict_at_once([of(market_id) for market_id in range(10)])
    assert broken.asked == 1
    assert [answer.status for answer in answers] == [200] * 10
    assert not any(is_in_company(answer) for answer in answers)


class _NoColumns:
    """A scorer that answers rows one by one only."""

    def __init__(self, scorer) -> None:
        self._scorer, self.asked = scorer, 0

    def score_row(self, values):
        return self._scorer.score_row(values)

    def scores(self, matrix):
        self.asked += 1
        raise ArithmeticError(f"{len(matrix)} rows at once")


def test_who_comes_while_others_are_written_is_the_next_turn(pushed):
    """One batch is under way at a time: those who come meanwhile are one batch after it, not one each."""
    with running(pushed) as client:
        log = client.application._running.predictor.log
        written = _Slow(log)
        together = Together(dataclasses.replace(client.application._running.predictor, log=written))

        async def story() -> list[bytes]:
            first = [asyncio.create_task(together.predict(json.dumps(of(n)).encode())) for n in range(10)]
            await written.began.wait()
            later = []
            for n in range(10, 20):
                later.append(asyncio.create_task(together.predict(json.dumps(of(n)).encode())))
                await asyncio.sleep(0)
            gone = later.pop()
            gone.cancel()
            assert (await asyncio.gather(gone, return_exceptions=True))[0].__class__ is asyncio.CancelledError
            written.go_on.set()
            return await asyncio.gather(*first, *later)

        receipts = [json.loads(body) for body in client.loop.run_until_complete(story())]
    assert [receipt["entity"]["market_id"] for receipt in receipts] == list(range(19))
    assert written.sizes == [10, 9], "whoever gave up while waiting is left out"


class _Slow:
    """The log, but the first batch waits until it may go on."""

    def __init__(self, log) -> None:
        self._log, self.sizes = log, []
        self.began, self.go_on = asyncio.Event(), asyncio.Event()

    async def answered(self, request_id):
        return await self._log.answered(request_id)

    async def append_many(self, predictions, *, batch=None):
        self.sizes.append(len(predictions) + (len(batch) if batch else 0))
        self.began.set()
        await self.go_on.wait()
        return await self._log.append_many(predictions, batch=batch)


def test_a_log_that_is_held_up_refuses_in_time_and_answers_again(pushed):
    """While another process holds the log's file everybody is told 504 in time; then the next are answered."""
    hurried = dataclasses.replace(pushed, deadline_seconds=0.2)
    asked = [of(market_id) for market_id in range(10)]
    with running(hurried) as client:
        holder = sqlite3.connect(pushed.home.prediction_log("toy"), isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        for _ in range(2):
            assert {answer.json["error"]["code"] for answer in client.predict_at_once(asked)} == {"deadline"}
        holder.execute("ROLLBACK")
        holder.close()
        client.application._running.settings = dataclasses.replace(hurried, deadline_seconds=30.0)
        for operation in client.application._running.operations.by_path.values():
            operation.deadline_seconds = 30.0
        assert [answer.status for answer in client.predict_at_once(asked)] == [200] * 10


@pytest.mark.parametrize("receipts", ["full", "brief"])
def test_a_brief_receipt_is_the_full_one_without_features(client, settings, receipts):
    """Rows in columns, rows alone and refusals; the log holds the features all the same."""
    for market_id, polls, days in AGES:
        toy.push(settings.home.online("toy"), market_id=market_id, polls=polls, age_us=days * toy.DAY_US + 5)
    asked = [*map(of, (1, 2, 3, 4, 5)), {"features": GIVEN}, of(1) | {"request_id": "mine"}]
    full = client.post("/predict_batch", {"requests": asked}).json
    found = client.post("/predict_batch", {"requests": asked, "receipts": receipts}).json
    assert (found["answered"], found["refused"]) == (full["answered"], full["refused"]) == (5, 2)
    for one, other in zip(found["answers"], full["answers"], strict=True):
        if "error" in other:
            assert one == other
            continue
        kept = [name for name in other["receipt"] if receipts == "full" or name != "features"]
        assert list(one["receipt"]) == kept
        assert same(one["receipt"]) == {name: other["receipt"][name] for name in kept if name not in OWN}
    logged = PredictionReader(settings.home.prediction_log("toy")).get(found["answers"][0]["receipt"]["prediction_id"])
    assert json.loads(logged.features_json) == full["answers"][0]["receipt"]["features"]


@pytest.mark.parametrize("receipts", ["short", None, True, ["brief"], 1])
def test_receipts_are_full_or_brief(client, receipts):
    """Anything else is refused by name."""
    answer = client.post("/predict_batch", {"requests": [{"features": GIVEN}], "receipts": receipts})
    assert (answer.status, answer.rules) == (422, [("receipts", "allowed")])
