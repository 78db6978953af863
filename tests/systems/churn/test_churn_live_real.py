"""Churn lived through on real orders: a champion is served, found out by its outcomes, and its successors are judged.

Nothing is simulated but the clock: the assets, the service and the gates are those of the platform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from forecastle.contract.load import LoadedSystem
from forecastle.promote.registry import RecordedDecision
from tests.systems.world import World

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("churn_live_real")]

JANUARY, FEBRUARY, APRIL, JUNE = (datetime(2011, month, 2, 9, tzinfo=UTC) for month in (1, 2, 4, 6))
MARCH = datetime(2011, 3, 1, 9, tzinfo=UTC)
BEFORE_OUTCOMES = ("predictions", "outcomes", "drift/features", "retrain_decision")
WITH_OUTCOMES = ("predictions", "outcomes", "live_calibration")


@dataclass(frozen=True)
class Looked:
    """What the assets say at one moment: metadata by asset, sentences of checks that failed."""

    told: Mapping[str, Mapping[str, Any]]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Lived:
    """The gates' decisions by month, and what was seen in April and in June of what was answered in March."""

    decisions: Mapping[int, RecordedDecision]
    answered: int
    april: Looked
    june: Looked


@pytest.fixture(scope="module")
def lived(churn: LoadedSystem, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """February to June 2011: two trainings, one day of questions, two looks; January made no champion."""
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(churn, tmp_path_factory.mktemp("lived"), real_data, instance)
        world.made(world.tables, now=FEBRUARY)
        decisions = {2: train(world, FEBRUARY)}
        answered = ask_everybody(world, MARCH)
        april = look(world, APRIL, BEFORE_OUTCOMES)
        decisions[6] = train(world, JUNE)
        june = look(world, JUNE, WITH_OUTCOMES)
    return Lived(decisions, answered, april, june)


def train(world: World, now: datetime) -> RecordedDecision:
    """A training and what the gates said of it."""
    world.made([*world.online, *world.training], now=now)
    return world.platform(now).registry().decisions("churn")[0]


def ask_everybody(world: World, now: datetime) -> int:
    """Ask the service about all customers of the batch; how many it answers."""
    world.made([*world.online, "batch_predictions"], now=now)
    asked = [{"entity": {"customer_id": customer}} for customer in world.frame("batch_predictions/all")["customer_id"]]
    with world.service(lambda: now) as service:
        parts = [asked[start : start + 500] for start in range(0, len(asked), 500)]
        return sum(service.post("/predict_batch", {"requests": part}).body["answered"] for part in parts)


def look(world: World, now: datetime, assets: Sequence[str]) -> Looked:
    """Materialise what watches the champion."""
    ran = world.made(assets, now=now)
    failed = [check.description or "" for check in ran.get_asset_check_evaluations() if not check.passed]
    return Looked({asset: world.told(ran, asset) for asset in assets}, tuple(failed))


def test_the_gates_refuse_a_model_that_does_not_mean_what_it_says(
    churn: LoadedSystem, real_data: Path, tmp_path: Path
) -> None:
    """January's has two points of miscalibration where one is allowed: nobody is champion."""
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(churn, tmp_path, real_data, instance)
        world.made(world.tables, now=JANUARY)
        decision = train(world, JANUARY)
    assert not decision.promote
    assert decision.reasons[0].startswith("miscalibration 0.02059")
    assert world.platform(JANUARY).registry().champion("churn") is None


def test_the_next_model_is_promoted_and_a_later_one_is_not(lived: Lived) -> None:
    """February's passes, as its probabilities mean what they say; June's does not."""
    assert {month: decision.promote for month, decision in lived.decisions.items()} == {2: True, 6: False}


def test_no_outcome_of_another_month_is_taken_for_march_s(lived: Lived) -> None:
    """In April the outcomes of January's questions are known; those of March take 90 days, and wait."""
    assert lived.answered > 3_000
    assert lived.april.told["outcomes"]["status"] == {"waiting": lived.answered}
    assert "only the estimate can be shown" in lived.april.told["outcomes"]["maturity"]


def test_drift_asks_for_a_new_model_before_outcomes_can(lived: Lived) -> None:
    """Customers have been quiet for longer: the drift check fails, and the decision is to train again."""
    assert any("days_since_last_order" in sentence for sentence in lived.april.failed)
    assert lived.april.told["retrain_decision"]["decision"] == "retrain"


def test_live_calibration_finds_what_was_too_low(lived: Lived) -> None:
    """Final in June: 6.4 points too low on average, by a check of its own and in the report's words."""
    assert any("Outcomes less probabilities: +0.064" in sentence for sentence in lived.june.failed)
    assert "too low" in lived.june.told["live_calibration"]["verdict"]


def test_a_successor_that_is_worse_is_refused(lived: Lived) -> None:
    """June's model learnt the autumn, when few leave, and is worse on winter's outcomes: February's stays."""
    assert any(reason.startswith("Brier minus the champion's +0.01") for reason in lived.decisions[6].reasons)
