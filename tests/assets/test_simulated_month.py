"""Simulated months: the real automation on an injected clock notices each story by its name and does nothing wrong.

A small world and few days: the whole table, with 30 days each, stands in docs/simulate.md.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from assets.simulated_month import BEGIN, Plan, SimulatedMonth
from forecastle.contract.load import LoadedSystem
from forecastle.story.stories import STORIES
from forecastle.story.verdict import Verdict
from tests.assets.world import small_system

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("month")]

PLAN = Plan(
    days=3,
    story_after=timedelta(days=1, hours=7),
    first_look=timedelta(hours=4),
    questions=20,
    world={"markets": 600, "days": 303},
)


class Months:
    """One world, lived through once for each story, and what was said of it."""

    def __init__(self, folder: Any, plan: Plan, **gates: Any) -> None:
        self.said: list[dict[str, Any]] = []
        system = lean_system()
        declared = system.declaration.gates.model_copy(update=gates)
        system = replace(system, declaration=system.declaration.model_copy(update={"gates": declared}))
        self.month = SimulatedMonth(system, folder, plan, say=lambda **line: self.said.append(line))

    def live(self, story: str) -> Verdict:
        self.said.clear()
        return self.month.live(STORIES[story])

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.said if line["event"] == kind]


def lean_system() -> LoadedSystem:
    """The small system, trained only when something speaks for it: every training costs as much as three days."""
    system = small_system()
    retrain = system.declaration.retrain.model_copy(update={"schedule": "0 5 1 1 *", "max_age": timedelta(days=60)})
    return replace(system, declaration=system.declaration.model_copy(update={"retrain": retrain}))


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Months:
    return Months(tmp_path_factory.mktemp("months"), PLAN)


@pytest.mark.parametrize("story", ["schema", "retyped", "unit", "unit-partial", "zone", "replayed", "restate", "calm"])
def test_a_story_is_noticed_by_its_name_and_nothing_wrong_is_done(months: Months, story: str) -> None:
    """Right alert, right source, right refusal, no wrong promotion; and the service answered every day."""
    verdict = months.live(story)
    assert verdict.reasons == ()
    assert verdict.right
    assert (verdict.detected_at is None) == (story == "calm")
    asked = months.events("asked")
    assert len(asked) >= PLAN.days
    # A market that closed since the last batch may be too old to be asked about.
    assert all(line["answered"] >= 0.8 * line["asked"] > 0 for line in asked)
    made = {asset for line in months.events("ran") for asset in line["made"]}
    assert {"predictions", "outcomes", "live_performance", "live_calibration"} <= made


def test_a_month_without_a_champion_goes_on_and_tells_the_gates_alone(tmp_path: Any) -> None:
    """More test rows asked for than there are: every model is refused, nobody answers, and one alert says why.

    What needs a champion (`batch_predictions`, `drift/features`) was not made either, which nobody is told again.
    """
    months = Months(tmp_path, replace(PLAN, days=2), rows_min=100_000)
    verdict = months.live("calm")
    assert verdict.right
    assert months.events("asked") == []
    assert months.events("promoted") == []
    assert [(line["cause"], line["asset"].split("/")[-1]) for line in months.events("alert")] == [
        ("gates", "promotion")
    ]
    failed = {asset for line in months.events("ran") for asset in line["failed"]}
    assert {"batch_predictions", "drift/features"} <= failed
    skipped = [line["message"] for line in months.events("skipped")]
    assert any(said.startswith("nobody to ask, no champion yet:") for said in skipped)


def test_a_silent_source_is_told_within_minutes_of_its_window(tmp_path: Any) -> None:
    """The case study's bar: a quarter of an hour after the newest row became older than declared."""
    plan = replace(PLAN, days=5, story_after=timedelta(hours=2))
    verdict = Months(tmp_path, plan).live("stale")
    assert verdict.right
    assert verdict.cause == "event_time_freshness"
    assert verdict.past_window_seconds is not None
    assert 0 < verdict.past_window_seconds <= 15 * 60
    assert verdict.detected_at is not None
    assert verdict.detected_at > BEGIN + plan.story_after
