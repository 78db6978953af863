"""Decisions in answers: made by the bundle's rule, logged, explained, and no prediction after the cut-off."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import numpy as np
import pytest

from forecastle.contract.errors import BundleError
from forecastle.learn.bundle import load_bundle
from forecastle.measure.market import kelly
from forecastle.serve.champion import load_champion
from forecastle.store.prediction_log import PredictionReader
from tests.serve import toy
from tests.serve.client import running
from tests.serve.toy import BET, CREDIT, GIVEN

ASK = {"features": GIVEN}


def serving(home, settings, rule):
    toy.promote(home, toy.make_bundle(home, version="9", decision=rule), version="9")
    return running(settings)


def test_the_decision_is_in_the_receipt_and_in_the_log(home, settings):
    """What the rule says of probability, price and moment, as the same arithmetic says it here."""
    with serving(home, settings, BET) as client:
        receipts = [client.predict({"features": GIVEN | {"market_price": p / 20}}).json for p in range(1, 20)]
    logged = PredictionReader(settings.home.prediction_log("toy")).since(0)
    assert [json.loads(p.decision_json) for p in logged] == [r["decision"] for r in receipts]
    assert {r["decision"]["action"] for r in receipts} == {"bet", "pass"}
    for receipt in receipts:
        price, decision = receipt["features"]["market_price"]["value"], receipt["decision"]
        if decision["action"] == "bet":
            assert receipt["probability"] - price >= 0.02
            assert decision["hour"] == 12
            assert decision["stake_share"] == kelly([receipt["probability"]], [1 / price], fraction=0.25, cap=0.05)[0]


def test_a_system_without_a_rule_decides_nothing(client):
    """The receipt says null, not an empty decision."""
    assert client.predict(ASK).json["decision"] is None


def test_after_the_cut_off_there_is_no_prediction(home, settings):
    """409 with the rule's reason, by every way to ask; nothing is logged, no probability leaves."""
    late = {"features": GIVEN | {"days_left": 0}, "request_id": "late"}
    with serving(home, settings, BET) as client:
        for answer in (client.predict(late), client.post("/explain", late)):
            assert (answer.status, answer.json["error"]["code"]) == (409, "after_cutoff")
            assert "the market ends today" in answer.json["error"]["message"]
            assert b"probability" not in answer.body
        batch = client.post("/predict_batch", {"requests": [ASK, late]}).json
        assert (batch["answered"], batch["answers"][1]["error"]["code"]) == (1, "after_cutoff")
        assert batch["answers"][1]["error"]["request_id"] == "late"
    assert PredictionReader(settings.home.prediction_log("toy")).count() == 1


def test_credit_accepts_refers_and_declines_with_reason_codes(home, settings):
    """The three actions, each from features alone: reasons are the rule's own codes."""
    with serving(home, settings, CREDIT) as client:
        said = {}
        for price in np.linspace(0, 1, 41):
            for poll in (0.5, None):
                answer = client.predict({"features": GIVEN | {"market_price": float(price), "poll_avg_7d": poll}}).json
                decision = answer["decision"]
                said[decision["action"]] = decision["reasons"]
                assert ("R01 probability of default" in decision["reasons"]) == (answer["probability"] > 0.3)
                assert ("R02 no second opinion" in decision["reasons"]) == (poll is None)
    assert set(said) == {"accept", "refer", "decline"}
    assert said["accept"] == []


def test_a_rule_that_fails_is_our_fault_and_says_nothing(home, settings):
    """500 in the one error shape; nothing is logged."""
    broken = dataclasses.replace(BET, code=BET.code.replace("odds = 1.0", "odds = 1.0 / 0.0"))
    with serving(home, settings, broken) as client:
        answer = client.predict(ASK)
        assert (answer.status, answer.json["error"]["code"]) == (500, "internal")
        assert b"Zero" not in answer.body
    assert PredictionReader(settings.home.prediction_log("toy")).count() == 0


def test_a_bundle_carries_its_rule_and_views(home):
    """Both come back equal and are part of the bundle's hash; a bundle without them loads too."""
    plain, ruled = toy.make_bundle(home), toy.make_bundle(home, decision=BET)
    assert plain != ruled
    bundle = load_bundle(home.bundles("toy") / ruled, expected_hash=ruled)
    assert bundle.decision == BET
    assert [view.name for view in bundle.views] == list(toy.VIEWS)
    assert load_bundle(home.bundles("toy") / plain, expected_hash=plain).decision is None


@pytest.mark.parametrize(
    ("change", "text"),
    [({"code": "x = 1"}, "cannot be loaded"), ({"inputs": ("moon_phase",)}, "needs \\['moon_phase'\\]")],
)
def test_a_rule_that_does_not_fit_never_serves(home, change, text):
    """A bundle whose rule cannot be compiled or reads what is not resolved is refused before it answers."""
    digest = toy.make_bundle(home, decision=dataclasses.replace(BET, **change))
    with pytest.raises(BundleError, match=text):
        load_champion(home.bundles("toy") / digest, system="toy", expected_hash=digest)


def test_the_moment_of_the_rule_is_the_predictions(home, settings):
    """`predict_at` is the clock's time in UTC, as the receipt says it."""
    at = datetime(2026, 6, 1, 23, 30, tzinfo=UTC)
    with serving(home, dataclasses.replace(settings, clock=lambda: at), BET) as client:
        receipt = client.predict(ASK).json
    assert (receipt["predicted_at"], receipt["decision"]["hour"]) == (at.isoformat(), 23)
