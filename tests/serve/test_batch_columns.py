"""Batches answered in columns: every row is as good as a single prediction, in its receipt, the log and afterwards."""

from __future__ import annotations

import json
import re

import lightgbm
import numpy as np
import pytest

from forecastle.learn.bundle import BundleParts, Golden, write_bundle
from forecastle.measure.calibrators import Platt
from forecastle.serve.champion import load_champion
from forecastle.serve.receipt import receipt
from forecastle.serve.replay import replay_prediction
from forecastle.serve.settings import Settings
from forecastle.store.home import Home
from forecastle.store.prediction_log import PredictionReader
from tests.serve import toy
from tests.serve.client import Client, running
from tests.serve.test_batch import same
from tests.serve.test_plan import without_rank
from tests.serve.toy import GIVEN

ROWS = 100


def givable_bundle(home: Home) -> str:
    """The toy without its rank, so that a request may give every feature."""
    rows = toy.matrix(np.random.default_rng(3), 400)[:, :-1]
    outcome = np.random.default_rng(4).random(400) < rows[:, 1]
    parameters = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 1, "deterministic": True}
    model, calibrator = lightgbm.train(parameters, lightgbm.Dataset(rows, outcome), 20), Platt(1.1, -0.05)
    raw = model.predict(rows[:16])
    golden = Golden(
        tuple(tuple(None if np.isnan(x) else float(x) for x in row) for row in rows[:16]),
        tuple(map(float, raw)),
        tuple(map(float, calibrator.apply(raw))),
    )
    text = model.model_to_string().encode()
    facts = {"model": "lightgbm", "model_version": "1"}
    return write_bundle(
        home.bundles("toy"),
        BundleParts(without_rank(), text, calibrator, {}, golden, "# toy\n", facts, decision=toy.BET),
    )


@pytest.fixture
def asked(home, request):
    """A running service and the rows of a batch: stored entities, or whole requests; some come after the cut-off."""
    if request.param == "entities":
        toy.promote(home, toy.make_bundle(home, decision=toy.BET))
        for market in range(ROWS):
            polls = (None, 2) if market % 7 == 0 else (0.5, 1 + market % 3)
            days = 0 if market % 10 == 3 else market + 1
            prices = (market / ROWS, 100.0 * market, days)
            toy.push(home.online("toy"), market_id=market, prices=prices, polls=polls, age_us=market * 1_000_003)
        rows = [{"entity": {"market_id": market}} for market in range(ROWS)]
    else:
        toy.promote(home, givable_bundle(home))
        rows = [
            {"features": GIVEN | {"market_price": n / ROWS, "days_left": 0 if n % 10 == 3 else n + 1}}
            for n in range(ROWS)
        ]
        rows[7]["features"]["poll_avg_7d"] = None
        rows[8]["features"]["market_price"] = 1
    with running(Settings("toy", home, None, lambda: toy.NOW)) as client:
        yield client, rows, PredictionReader(home.prediction_log("toy")), home


both = pytest.mark.parametrize("asked", ["entities", "given"], indirect=True)


def batched(client: Client, rows: list[dict]) -> dict:
    return client.post("/predict_batch", {"requests": rows}).json


@both
def test_rows_are_told_what_single_requests_are_told(asked):
    """Receipts and refusals after the cut-off are those of the same request alone, whatever stands beside it."""
    client, rows, _, _ = asked
    mixed = [*rows, rows[0] | {"request_id": "mine"}, {"entity": {"market_id": "x"}}, *rows[:2]]
    answer = batched(client, mixed)
    assert (answer["refused"], [one["row"] for one in answer["answers"]]) == (ROWS // 10 + 1, list(range(len(mixed))))
    for one, request in zip(answer["answers"], mixed, strict=True):
        single = client.predict({name: value for name, value in request.items() if name != "request_id"}).json
        if "receipt" in one:
            assert same(one["receipt"]) == same(single)
        elif request in rows:
            assert one["error"] == single["error"]
            assert one["error"]["code"] == "after_cutoff"


@both
def test_the_log_gives_the_bytes_that_were_answered(asked):
    """Each prediction, by its id and by the cursor, makes the very receipt that left, and the same number again."""
    client, rows, log, home = asked
    body = client.ask("POST", "/predict_batch", json.dumps({"requests": rows}).encode()).body
    logged = log.since(0)
    assert len(logged) == ROWS - ROWS // 10
    assert all(re.fullmatch(r"[0-9a-f]{32}-\d+", one.prediction_id) for one in logged)
    receipts = re.findall(rb'\{"row":\d+,"receipt":(.*?)\}(?=,\{"row":|\]\}$)', body)
    assert [receipt(one) for one in logged] == receipts
    assert [log.get(json.loads(text)["prediction_id"]) for text in receipts] == logged
    bundle = load_champion(home.bundles("toy") / logged[0].bundle, system="toy", expected_hash=logged[0].bundle)
    assert all(replay_prediction(one, bundle).is_same for one in logged)


@both
def test_a_row_is_explained_judged_and_never_answered_twice(asked):
    """Its id explains it and takes its outcome; as a caller's own request id it is taken already."""
    client, rows, _, _ = asked
    told = batched(client, rows)["answers"][5]["receipt"]
    explained = client.post("/explain", {"prediction_id": told["prediction_id"]}).json
    assert explained["same_number"] is True
    assert explained["features"] == told["features"]
    outcome = {"prediction_id": told["prediction_id"], "outcome": 1}
    assert client.post("/outcome", outcome).status == 200
    again = client.predict(rows[5] | {"request_id": told["prediction_id"]})
    assert (again.status, again.json["error"]["code"]) == (409, "request_id_reused")


@both
def test_metrics_count_the_rows(asked):
    """A batch of answered rows counts as that many predictions and features as if each had been asked alone."""
    client, rows, _, _ = asked
    allowed = [row for number, row in enumerate(rows) if number % 10 != 3]

    def counted() -> dict[str, float]:
        page = client.ask("GET", "/metrics").body.decode()
        names = r"(forecastle_features_total\{[^}]*\}|forecastle_(?:predict_seconds|feature_age_seconds)_count) (\S+)"
        return {name: float(value) for name, value in re.findall(names, page)}

    batched(client, allowed)
    together = counted()
    for row in allowed:
        client.predict(row)
    assert {name: 2 * value for name, value in together.items()} == counted()
    assert together["forecastle_predict_seconds_count"] == len(allowed)
