"""Explanations: LightGBM's own contributions, adding up to the log-odds, for what was answered and what would be."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.store.prediction_log import PredictionReader
from tests.serve import toy
from tests.serve.client import running
from tests.serve.toy import GIVEN, MODEL_FEATURES

ASK = {"features": GIVEN}


def parts(answer) -> dict[str, float]:
    return {part["feature"]: part["log_odds"] for part in answer.json["contributions"]}


def test_contributions_are_lightgbms_bit_for_bit(client):
    """Against the Python package's pred_contrib and raw_score of the vector computed by hand."""
    answer = client.post("/explain", ASK)
    vector = np.array([[np.log1p(100.0), 0.4, 0.5 - 0.4, 10.0, 3.0]])
    *expected, base = toy.booster().predict(vector, pred_contrib=True)[0].tolist()
    assert answer.status == 200
    assert parts(answer) == dict(zip(MODEL_FEATURES, expected, strict=True))
    assert answer.json["expected_log_odds"] == base
    assert answer.json["log_odds"] == toy.booster().predict(vector, raw_score=True)[0]
    assert answer.json["raw_score"] == toy.booster().predict(vector)[0]


@settings(max_examples=30, deadline=None)
@given(
    price=st.floats(0, 1),
    volume=st.floats(0, 1e9),
    days=st.integers(0, 3650),
    poll=st.none() | st.floats(0, 1),
)
def test_the_parts_add_up_to_the_log_odds(shared, price, volume, days, poll):
    """Sum of contributions plus expected value is the raw log-odds, whose sigmoid is the raw score."""
    features = {"market_price": price, "volume_24h": volume, "days_left": days, "poll_avg_7d": poll}
    answer = shared.post("/explain", {"features": features}).json
    total = math.fsum([*(part["log_odds"] for part in answer["contributions"]), answer["expected_log_odds"]])
    assert total == pytest.approx(answer["log_odds"], abs=1e-9)
    assert abs(answer["residual"]) < 1e-9
    assert answer["raw_score"] == pytest.approx(1 / (1 + math.exp(-answer["log_odds"])), abs=1e-12)
    sizes = [abs(part["log_odds"]) for part in answer["contributions"]]
    assert sizes == sorted(sizes, reverse=True)


def test_a_logged_prediction_is_explained_as_it_was_answered(client, settings):
    """Features and ages are those of its receipt, and the bundle gives its probability again."""
    toy.push(settings.home.online("toy"), age_us=3_600_000_000)
    receipt = client.predict({"entity": {"market_id": 7}}).json
    toy.push(settings.home.online("toy"), prices=(0.9, 1.0, 1))
    answer = client.post("/explain", {"prediction_id": receipt["prediction_id"]}).json
    for name in ("prediction_id", "model", "probability", "features", "degraded", "decision"):
        assert answer[name] == receipt[name]
    assert answer["same_number"] is True
    assert answer["features"]["market_price"]["age_seconds"] == 3600.0


def test_a_request_is_explained_without_being_logged(client, settings):
    """The answer carries no prediction id, and the log stays empty."""
    answer = client.post("/explain", ASK).json
    assert (answer["prediction_id"], answer["same_number"]) == (None, True)
    assert answer["probability"] == client.predict(ASK).json["probability"]
    assert PredictionReader(settings.home.prediction_log("toy")).count() == 1


def test_a_former_bundle_explains_what_it_answered(home, settings):
    """After a promotion the old answer is explained by the bundle that gave it; without its files, 503."""
    with running(settings) as client:
        receipt = client.predict(ASK).json
    second = toy.make_bundle(home, seed=2, version="2")
    toy.promote(home, second, version="2")
    with running(settings) as client:
        asked = {"prediction_id": receipt["prediction_id"]}
        answer = client.post("/explain", asked).json
        assert answer["model"]["bundle"] == receipt["model"]["bundle"] != second
        assert answer["same_number"] is True
        client.application._running.operations.by_path["/explain"].answer.__self__._former.clear()
        shutil.rmtree(home.bundles("toy") / receipt["model"]["bundle"])
        gone = client.post("/explain", asked)
        assert (gone.status, gone.json["error"]["code"]) == (503, "bundle_unavailable")


@pytest.mark.parametrize(
    ("body", "status", "rules"),
    [({"prediction_id": "nobody"}, 404, []), ({"prediction_id": None}, 422, [("prediction_id", "nullable")]),
     ({"prediction_id": 3}, 422, [("prediction_id", "dtype")]),
     ({"prediction_id": "p", "features": GIVEN}, 422, [("features", "unknown")]),
     ({}, 422, [("entity", "missing")]),
     ({"features": GIVEN | {"market_price": 2}}, 422, [("market_price", "max")])],
)  # fmt: skip
def test_what_cannot_be_explained_is_refused(shared, body, status, rules):
    """An unknown id, both ways to ask at once, and whatever predict would refuse."""
    answer = shared.post("/explain", body)
    assert (answer.status, answer.rules) == (status, rules)
