"""Logged answers computed again: by their own bundle to the same number, by a candidate to another."""

from __future__ import annotations

import json

import numpy as np
import pytest
from msgspec.structs import replace

from forecastle.serve.champion import load_champion
from forecastle.serve.replay import SHADOW_COLUMNS, paired_answers, replay_prediction, shadow, summary
from forecastle.serve.settings import Settings
from forecastle.store.prediction_log import PredictionReader
from tests.serve import toy
from tests.serve.client import running


@pytest.fixture
def answered(home):
    """Ten answers of the champion with the rule `bet`, from the log; and a loader of bundles."""
    toy.promote(home, toy.make_bundle(home, seed=1, decision=toy.BET))
    with running(Settings("toy", home, None, lambda: toy.NOW)) as client:
        for number in range(10):
            given = toy.GIVEN | {"market_price": 0.05 + number * 0.09, "poll_avg_7d": None if number == 3 else 0.5}
            request = {"entity": {"market_id": 7}, "features": given}
            assert client.predict(request).status == 200
    log = PredictionReader(home.prediction_log("toy"))
    given = log.since(0)
    log.close()

    def load(bundle: str):
        return load_champion(home.bundles("toy") / bundle, system="toy", expected_hash=bundle)

    return given, load


def test_every_logged_answer_is_computed_again_to_the_same_number(answered):
    """Score, probability and decision of each answer come back bit for bit, computed features included."""
    given, load = answered
    assert len(given) == 10
    assert all(replay_prediction(prediction, load(prediction.bundle)).is_same for prediction in given)


def test_a_changed_record_is_not_the_same(answered):
    """One feature of the record altered by hand: the replay says so."""
    given, load = answered
    features = json.loads(given[0].features_json)
    features["market_price"]["value"] = 0.93
    altered = replace(given[0], features_json=json.dumps(features))
    assert not replay_prediction(altered, load(altered.bundle)).is_same


def test_the_champion_as_its_own_shadow_differs_nowhere(answered):
    """A negative control of the comparison: the same bundle gives differences of exactly zero."""
    given, load = answered
    found = summary(shadow(given, load(given[0].bundle)))
    assert (found.answers, found.answered, found.decisions_changed) == (10, 10, 0)
    assert found.largest_difference == 0.0


def test_a_candidate_answers_what_was_asked(answered, home):
    """Another model's column is what that model gives for the logged vectors; the summary is plain arithmetic."""
    given, load = answered
    candidate = load(toy.make_bundle(home, seed=2, version="2", decision=toy.BET))
    table = shadow(given, candidate)
    assert table.dtypes.astype(str).to_dict() == SHADOW_COLUMNS
    for prediction, probability in zip(given, table["candidate_probability"], strict=True):
        vector = [np.nan if value is None else value for value in json.loads(prediction.vector_json)]
        assert probability == candidate.bundle.calibrator.apply_scalar(candidate.scorer.score_row(vector))
    difference = table["candidate_probability"] - table["probability"]
    assert summary(table).mean_difference == pytest.approx(difference.mean(), abs=1e-15)
    assert summary(table).largest_difference == difference.abs().max() > 0


def test_a_feature_that_was_not_logged_is_named(answered):
    """Without the price in the record the candidate answers nothing, and the row says which feature is missing."""
    given, load = answered
    features = json.loads(given[0].features_json)
    del features["market_price"]
    table = shadow([replace(given[0], features_json=json.dumps(features))], load(given[0].bundle))
    assert table["not_answered"].tolist() == ["not logged: market_price"]
    assert np.isnan(table["candidate_probability"]).all()
    assert summary(table).answered == 0
    assert np.isnan(summary(table).mean_difference)


def test_both_bundles_stand_beside_each_answer(answered, home):
    """The champion's own number is taken, the challenger's from the shadow where it spoke, else computed again."""
    given, load = answered
    champion, challenger = load(given[0].bundle), load_challenger(home)
    first = given[0]
    spoken = replace(
        first, prediction_id="s", request_id=f"shadow:{first.prediction_id}", variant="shadow",
        bundle=challenger.bundle.hash, probability=0.123,
    )  # fmt: skip
    pairs = paired_answers([*given, spoken], champion=champion, challenger=challenger)
    assert pairs["prediction_id"].tolist() == [p.prediction_id for p in given]
    assert pairs["champion"].tolist() == [p.probability for p in given]
    again = shadow(given, challenger)["candidate_probability"].tolist()
    assert pairs["challenger"].tolist() == [0.123, *again[1:]]
    assert pairs["is_said"].tolist() == [True] + [False] * (len(given) - 1)


def test_the_challengers_own_answers_meet_the_champion_computed_again(answered, home):
    """What the challenger answered an entity of its own counts as said, and the champion is asked afterwards."""
    given, load = answered
    champion, challenger = load(given[0].bundle), load_challenger(home)
    own = replace(given[0], variant="challenger", bundle=challenger.bundle.hash, probability=0.2)
    (pair,) = paired_answers([own], champion=champion, challenger=challenger).to_dict("records")
    assert (pair["challenger"], pair["champion"], pair["is_said"]) == (0.2, given[0].probability, True)
    other = replace(own, features_json="{}")  # it reads features that the champion does not know
    (alone,) = paired_answers([other], champion=champion, challenger=challenger).to_dict("records")
    assert (alone["challenger"], np.isnan(alone["champion"]), alone["is_said"]) == (0.2, True, True)
    neither = replace(other, bundle="f" * 64)
    assert paired_answers([neither], champion=champion, challenger=challenger).empty


def load_challenger(home):
    digest = toy.make_bundle(home, seed=2, version="2")
    return load_champion(home.bundles("toy") / digest, system="toy", expected_hash=digest)
