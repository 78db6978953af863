"""A bundle under trial: whom it answers, what it says in the shadow, and what happens when it fails."""

from __future__ import annotations

import asyncio
import json

import pytest

from forecastle.contract.system import Rollout
from forecastle.measure.assignment import assignment_value
from forecastle.promote.rollout import RolloutRecord, RolloutStep, publish_challenger
from forecastle.serve.challenger import SHADOWS_LIMIT, Challenger, ChallengerWatch, Shadows
from forecastle.serve.champion import load_champion
from forecastle.serve.settings import Settings
from forecastle.store.home import Home
from forecastle.store.prediction_log import PredictionReader
from tests.serve import toy
from tests.serve.client import running

SALT = "trial-1"


def start(home: Home, bundle: str, *, share: float = 0.5, shadow: bool = False) -> None:
    """Record the start of a trial and publish its pointer, as an operator's command does."""
    record = RolloutRecord(home.registry, clock=lambda: toy.NOW)
    record.start("toy", bundle=bundle, model_version="2", share=share, approved_by="test", reason="a trial")
    declared = Rollout(salt=SALT, shadow=shadow)
    publish_challenger(home.challenger("toy"), record, system="toy", declaration=declared)


def ask(client, market_id: int) -> dict:
    answer = client.predict({"entity": {"market_id": market_id}, "features": toy.GIVEN | {}})
    assert answer.status == 200, answer.body
    return answer.json


@pytest.fixture
def pushed(home: Home) -> Home:
    for market_id in range(40):
        toy.push(home.online("toy"), market_id=market_id)
    return home


def challenger_bundle(home: Home) -> str:
    return toy.make_bundle(home, seed=2, version="2")


def test_entities_are_split_by_the_salted_hash_and_stay(pushed):
    """Each of forty entities is answered by the bundle that the published hash says, with its number, twice alike."""
    digest = challenger_bundle(pushed)
    start(pushed, digest, share=0.4)
    champion = json.loads(pushed.champion("toy").read_text())["bundle"]
    with running(Settings("toy", pushed, None, lambda: toy.NOW)) as client:
        seen = [[ask(client, market_id) for market_id in range(40)] for _ in range(2)]
    expected = ["challenger" if assignment_value(f"[{i}]", salt=SALT) < 0.4 else "champion" for i in range(40)]
    assert [receipt["variant"] for receipt in seen[0]] == [receipt["variant"] for receipt in seen[1]] == expected
    assert {"champion", "challenger"} == set(expected)
    bundles = {"champion": champion, "challenger": digest}
    assert all(receipt["model"]["bundle"] == bundles[receipt["variant"]] for receipt in seen[0])
    probabilities = {receipt["variant"]: receipt["probability"] for receipt in seen[0]}
    assert probabilities["champion"] != probabilities["challenger"]


def test_a_batch_is_split_like_single_requests(pushed):
    """The same entities in one batch get the same variants and numbers as one by one."""
    start(pushed, challenger_bundle(pushed), share=0.4)
    requests = [{"entity": {"market_id": i}, "features": toy.GIVEN} for i in range(40)]
    with running(Settings("toy", pushed, None, lambda: toy.NOW)) as client:
        single = [ask(client, i) for i in range(40)]
        batch = client.post("/predict_batch", {"requests": requests}).json["answers"]
    told = [(row["receipt"]["variant"], row["receipt"]["probability"]) for row in batch]
    assert told == [(receipt["variant"], receipt["probability"]) for receipt in single]


def test_a_growing_share_keeps_its_entities(champion_home):
    """Whoever the challenger has at 5 % it has at 20 %; without an entity it has nobody."""
    pointer = json.loads(champion_home.champion("toy").read_text())
    folder = champion_home.bundles("toy") / pointer["bundle"]
    loaded = load_champion(folder, system="toy", expected_hash=pointer["bundle"])
    small, large = (Challenger(loaded, share, SALT, is_shadow=False) for share in (0.05, 0.2))
    entities = [{"market_id": i} for i in range(500)]
    taken = [entity for entity in entities if small.takes(entity)]
    assert 10 <= len(taken) <= 45  # 25 expected, standard deviation 4.9
    assert all(large.takes(entity) for entity in taken)
    assert not large.takes(None)


def test_a_shadow_is_logged_beside_the_answer_and_never_told(pushed):
    """Every answer is the champion's; the log has one shadow for each, under the answer's id, by the other bundle."""
    digest = challenger_bundle(pushed)
    start(pushed, digest, shadow=True)
    with running(Settings("toy", pushed, None, lambda: toy.NOW)) as client:
        answers = [ask(client, i) for i in range(10)]
    assert {receipt["variant"] for receipt in answers} == {"champion"}
    log = PredictionReader(pushed.prediction_log("toy"))
    shadows = [prediction for prediction in log.since(0) if prediction.variant == "shadow"]
    log.close()
    assert sorted(p.request_id for p in shadows) == sorted(f"shadow:{receipt['prediction_id']}" for receipt in answers)
    assert {p.bundle for p in shadows} == {digest}


def test_health_names_the_bundle_under_trial(pushed):
    """Bundle, version and share of the trial; null without one; in the shadow it has no entities."""
    with running(Settings("toy", pushed, None, lambda: toy.NOW)) as client:
        assert client.ask("GET", "/healthz").json["challenger"] is None
    digest = challenger_bundle(pushed)
    for shadow, share in ((False, 0.25), (True, 0.0)):
        record = RolloutRecord(pushed.registry, clock=lambda: toy.NOW)
        if (left := record.running("toy")) is not None:
            record.apply(left, RolloutStep("stop", ("next",)), declaration=Rollout(), approved_by="ann")
        start(pushed, digest, share=0.25, shadow=shadow)
        with running(Settings("toy", pushed, None, lambda: toy.NOW)) as client:
            told = client.ask("GET", "/healthz").json["challenger"]
        assert told == {"bundle": digest, "model_version": "2", "share": share, "shadow": shadow}


def test_dropped_shadows_are_counted(pushed):
    """No room for a shadow: the answer leaves all the same, and the metric says that one was dropped."""
    start(pushed, challenger_bundle(pushed), shadow=True)
    with running(Settings("toy", pushed, None, lambda: toy.NOW)) as client:
        client.application._running.predictor.shadows.add = lambda _: False
        assert ask(client, 1)["variant"] == "champion"
        page = client.ask("GET", "/metrics").body.decode()
    assert "forecastle_shadows_dropped_total 1.0" in page


def test_a_challenger_that_fails_leaves_the_answer_to_the_champion(pushed, monkeypatch):
    """Whatever the bundle under trial raises, its entities are answered by the champion and the failure is counted."""
    start(pushed, challenger_bundle(pushed), share=0.999)
    with running(Settings("toy", pushed, None, lambda: toy.NOW)) as client:
        assert ask(client, 1)["variant"] == "challenger"
        challenger = client.application._running.predictor.challenger().bundle

        def broken(_: list[float]) -> float:
            raise ArithmeticError("a broken model")

        monkeypatch.setattr(challenger.scorer, "score_row", broken)
        assert ask(client, 1)["variant"] == "champion"
        page = client.ask("GET", "/metrics").body.decode()
    assert 'forecastle_challenger_failures_total{error="ArithmeticError"} 1.0' in page


def test_a_bundle_that_fails_its_checks_is_no_challenger(home):
    """Golden rows that do not come true: the trial process refuses, no challenger serves, and the reason is kept."""
    start(home, toy.make_bundle(home, seed=3, version="3", golden_shift=0.1))
    watch = ChallengerWatch("toy", home=home)
    watch.check()
    assert watch.current is None
    assert "golden row" in (watch.error or "")


def test_the_pointer_is_followed_both_ways(home):
    """A started trial is taken up, another share is taken over without loading again, a cleared one is dropped."""
    tried = []
    watch = ChallengerWatch("toy", home=home, trial=lambda folder, **_: tried.append(folder.name))
    watch.check()
    assert (watch.current, watch.error) == (None, None)
    digest = challenger_bundle(home)
    start(home, digest, share=0.1)
    watch.check()
    assert watch.current is not None
    pointer = json.loads(home.challenger("toy").read_text())
    fresh = home.challenger("toy").with_suffix(".new")
    fresh.write_text(json.dumps(pointer | {"share": 0.3}))
    fresh.replace(home.challenger("toy"))
    watch.check()
    assert watch.current.share == 0.3
    assert tried == [digest]
    home.challenger("toy").unlink()
    watch.check()
    assert watch.current is None


def test_shadows_are_bounded():
    """More shadows than the limit at once: those beyond are dropped and counted, the others are done."""
    done = []

    async def work() -> None:
        done.append(1)

    async def flood() -> int:
        shadows = Shadows()
        taken = [shadows.add(work) for _ in range(SHADOWS_LIMIT + 5)]
        await shadows.close()
        return taken.count(False)

    assert asyncio.run(flood()) == 5
    assert len(done) == SHADOWS_LIMIT
