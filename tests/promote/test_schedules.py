"""Schedules follow from the registry: the live version's ticks, each due once, replaced versions with their end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.load import LoadedSystem
from forecastle.contract.system import Score
from forecastle.promote.registry import Registry
from forecastle.promote.schedules import (
    ARCHIVED,
    LIVE,
    ScoringSchedule,
    due_tick,
    schedule_table,
    scoring_schedules,
)

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def live(cron: str | None = "0 5 * * *", *, since: datetime = START) -> ScoringSchedule:
    """A version that is live since noon of March 1st."""
    return ScoringSchedule("trees", "1", "ab" * 32, cron, since, None)


@pytest.mark.parametrize(
    ("hours", "day", "missed"),
    [(16.9, None, 0), (17, 2, 0), (17.1, 2, 0), (40, 2, 0), (41, 3, 1), (17 + 24 * 9, 11, 9)],
)  # fmt: skip
def test_the_newest_tick_since_the_promotion_is_due(hours: float, day: int | None, missed: int) -> None:
    """Promoted at noon, scored at five: the first tick is the next morning's; older ones are counted, not repeated."""
    due = due_tick(live(), now=START + timedelta(hours=hours), scored_until=None)
    assert (due and due.at) == (datetime(2026, 3, day, 5, tzinfo=UTC) if day else None)
    assert (due.missed if due else 0) == missed


def test_a_tick_that_was_scored_is_due_no_more() -> None:
    """Until the following one."""
    scored = datetime(2026, 3, 2, 5, tzinfo=UTC)
    assert due_tick(live(), now=scored + 0.9 * DAY, scored_until=scored) is None
    assert due_tick(live(), now=scored + DAY, scored_until=scored).at == scored + DAY


def test_nothing_is_due_without_a_cron_or_after_the_replacement() -> None:
    """An archived version scores no more, however many ticks pass."""
    archived = ScoringSchedule("trees", "1", "ab" * 32, "0 5 * * *", START, START + DAY)
    assert due_tick(archived, now=START + 9 * DAY, scored_until=None) is None
    assert due_tick(live(None), now=START + 9 * DAY, scored_until=None) is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=15), st.sampled_from(["*/20 * * * *", "30 */6 * * *"]))
def test_every_tick_is_run_or_counted_once(waits: list[int], cron: str) -> None:
    """Whenever the sensor looks: runs plus missed ticks are the ticks that an independent count finds."""
    now, scored, told = START, None, 0
    for minutes in waits:
        now += timedelta(minutes=minutes)
        due = due_tick(live(cron), now=now, scored_until=scored)
        if due is not None:
            told, scored = told + 1 + due.missed, due.at
    every = 20 if cron.startswith("*/20") else 360
    offset = 0 if every == 20 else 30
    minutes = range(1, int((now - START).total_seconds()) // 60 + 1)
    assert told == sum((12 * 60 + minute - offset) % every == 0 for minute in minutes)


def test_a_replaced_version_is_archived_when_its_successor_came(system: LoadedSystem, tmp_path: Path) -> None:
    """The registry's history alone says so; a rollback makes the older version live again."""
    moment = [START]
    registry = Registry(tmp_path / "registry.sqlite", clock=lambda: moment[0])
    declared = system.declaration.model_copy(update={"score": Score(cron="0 5 * * *")})
    champion = None
    for version in ("1", "2", "1"):
        champion = registry.promote(
            "ferries", bundle=version * 64, model_version=version, approved_by="gates", expected=champion
        )
        moment[0] += DAY
    schedules = scoring_schedules(declared, registry.history("ferries"), registry.decisions("ferries"))
    told = [(s.model_version, s.state, s.since, s.archived_at) for s in schedules]
    assert told == [
        ("1", LIVE, START + 2 * DAY, None),
        ("2", ARCHIVED, START + DAY, START + 2 * DAY),
        ("1", ARCHIVED, START, START + DAY),
    ]
    table = schedule_table(schedules, now=START + 3 * DAY)
    assert list(table["state"]) == [LIVE, ARCHIVED, ARCHIVED]
    assert table["next_at"].iloc[0] == START + 3 * DAY + timedelta(hours=17)
    assert table["next_at"].iloc[1:].isna().all()


def test_a_model_may_have_a_schedule_of_its_own(system: LoadedSystem) -> None:
    """As the model says, else as the system says, else never."""
    declared = system.declaration
    own = declared.models["trees"].model_copy(update={"score": Score(cron="0 7 * * *")})
    both = declared.model_copy(update={"score": Score(cron="0 5 * * *"), "models": {"trees": own}})
    assert (declared.scoring_cron("trees"), both.scoring_cron("trees")) == (None, "0 7 * * *")
    assert both.scoring_cron("ensemble") == "0 5 * * *"
