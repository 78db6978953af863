"""Rolling back, replaying and trials as an operator meets them: real files, a recorded act, plain refusals."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from forecastle.cli import operated
from forecastle.contract.errors import ForecastleError, LearnError
from forecastle.contract.system import Rollout
from forecastle.promote.registry import Registry, publish_pointer
from forecastle.serve.settings import Settings
from forecastle.store.home import Home
from forecastle.store.prediction_log import PredictionReader
from tests.serve import toy
from tests.serve.client import running
from tests.store.test_logged import prediction, write


@dataclass
class Catalogue:
    """MLflow as far as a promotion asks it."""

    aliased: list[str] = field(default_factory=list)

    def require_version(self, system: str, *, version: str) -> None:
        assert (system, version) in {("toy", "1"), ("toy", "2")}

    def alias(self, system: str, *, version: str) -> None:
        self.aliased.append(f"{system}@{version}")


@dataclass
class Around:
    """The surroundings of one command, on a home of its own."""

    home: Home
    catalogue: Catalogue = field(default_factory=Catalogue)
    text: io.StringIO = field(default_factory=io.StringIO)

    @property
    def console(self) -> Console:
        return Console(file=self.text, width=200, no_color=True)

    def clock(self) -> Any:
        return toy.NOW

    def registry(self) -> Registry:
        return Registry(self.home.registry, clock=self.clock)

    def tracking(self) -> Catalogue:
        return self.catalogue

    def prediction_log(self, system: str) -> PredictionReader:
        return PredictionReader(self.home.prediction_log(system))

    def system(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, declaration=SimpleNamespace(rollout=Rollout(salt="s")))


@pytest.fixture
def around(tmp_path: Path) -> Around:
    """Bundle 1 was promoted, then bundle 2, which answers now."""
    made = Around(Home(tmp_path / "home").create())
    for seed in (1, 2):
        bundle = toy.make_bundle(made.home, seed=seed, version=str(seed))
        registry = made.registry()
        registry.promote(
            "toy", bundle=bundle, model_version=str(seed), approved_by="gates", expected=registry.champion("toy")
        )
    publish_pointer(made.home.champion("toy"), made.registry(), system="toy")
    return made


def pointed(around: Around) -> str:
    return str(json.loads(around.home.champion("toy").read_text())["bundle"])


def test_a_rollback_is_a_recorded_act_that_serving_follows(around: Around) -> None:
    """The champion before comes back in registry, pointer and catalogue, with the reason and who said so."""
    second, first = (promotion.bundle for promotion in around.registry().history("toy"))
    assert pointed(around) == second
    operated.roll_back("toy", around, to=None, reason="too many bets", by="bob", console=around.console)
    newest = around.registry().history("toy")[0]
    assert (newest.bundle, pointed(around)) == (first, first)
    assert around.catalogue.aliased == ["toy@1"]
    assert "too many bets" in around.registry().decisions("toy")[0].reasons[0]
    assert newest.approved_by == "bob"
    operated.roll_back("toy", around, to=second[:10], reason="it was not the model", by="ann", console=around.console)
    assert pointed(around) == second


def test_a_damaged_bundle_does_not_come_back(around: Around) -> None:
    """The former champion's model file changed on disk: refused, nothing recorded, the champion stays."""
    second, first = (promotion.bundle for promotion in around.registry().history("toy"))
    (around.home.bundles("toy") / first / "model.txt").write_text("tree\n")
    with pytest.raises(ForecastleError, match=r"model\.txt"):
        operated.roll_back("toy", around, to=None, reason="", by="ann", console=around.console)
    assert pointed(around) == second
    assert around.registry().decisions("toy") == []


def test_replays_give_the_same_number_and_a_candidates_differences(around: Around) -> None:
    """One answer again: the same; the last days by the other bundle: one answer, another number."""
    with running(Settings("toy", around.home, None, around.clock)) as client:
        receipt = client.predict({"features": toy.GIVEN | {}, "entity": {"market_id": 1}})
        assert receipt.status in (200, 503)
        toy.push(around.home.online("toy"), market_id=1)
    with running(Settings("toy", around.home, None, around.clock)) as client:
        receipt = client.predict({"entity": {"market_id": 1}})
    assert operated.replay_one("toy", receipt.json["prediction_id"], around, console=around.console)
    first = around.registry().history("toy")[1].bundle
    found = operated.replay_candidate("toy", around, candidate=first[:12], last="7d", console=around.console)
    assert found.answers == found.answered >= 1
    assert found.largest_difference > 0
    with pytest.raises(ForecastleError, match="has given no prediction 'none'"):
        operated.replay_one("toy", "none", around, console=around.console)
    with pytest.raises(ForecastleError, match="names 0 bundles"):
        operated.replay_candidate("toy", around, candidate="f" * 12, last="7d", console=around.console)
    with pytest.raises(ForecastleError, match="--last is 'soon'"):
        operated.replay_candidate("toy", around, candidate=first, last="soon", console=around.console)


def test_a_candidate_beside_no_answer_has_no_mean(around: Around) -> None:
    """Where nothing was asked in the span, the answers are counted and no difference is printed."""
    with running(Settings("toy", around.home, None, lambda: toy.NOW - timedelta(days=8))) as client:
        assert client.predict({"features": toy.GIVEN}).status == 200
    first = around.registry().history("toy")[1].bundle
    found = operated.replay_candidate("toy", around, candidate=first, last="7d", console=around.console)
    assert found.answers == 0
    assert around.text.getvalue() == f"0 answers since 7d ago; candidate {first[:12]} answers 0 of them\n"


def test_what_was_said_in_the_shadow_is_no_answer(around: Around) -> None:
    """One answer and its shadow: one answer beside the candidate; of features never logged it is said which."""
    second, first = (promotion.bundle for promotion in around.registry().history("toy"))
    answer = prediction(1, predicted_at_us=toy.NOW_US, bundle=second)
    shadow = prediction(2, predicted_at_us=toy.NOW_US, bundle=first, variant="shadow", request_id="shadow:p1")
    write(around.home.prediction_log("toy"), [answer, shadow])
    found = operated.replay_candidate("toy", around, candidate=first[:12], last="7d", console=around.console)
    assert (found.answers, found.answered) == (1, 0)
    assert "why not the others, most often: not logged: " in around.text.getvalue()


def test_a_trial_starts_once_and_stops(around: Around) -> None:
    """Starting writes the pointer with the declared share; a second start is refused; stopping removes it."""
    second, first = (promotion.bundle for promotion in around.registry().history("toy"))
    with pytest.raises(ForecastleError, match="is the champion; put another one under trial"):
        operated.challenge("toy", second[:12], around, reason="itself", console=around.console)
    operated.challenge("toy", first[:12], around, reason="old friend", console=around.console)
    pointer = json.loads(around.home.challenger("toy").read_text())
    assert (pointer["bundle"], pointer["share"]) == (first, 0.05)
    with pytest.raises(LearnError, match="under trial already"):
        operated.challenge("toy", first[:12], around, reason="again", console=around.console)
    operated.stop_challenger("toy", around, reason="enough", console=around.console)
    assert not around.home.challenger("toy").exists()
    with pytest.raises(ForecastleError, match="nothing to stop"):
        operated.stop_challenger("toy", around, reason="enough", console=around.console)
