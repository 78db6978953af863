"""Verdicts: the right name, soon enough, nothing wrong done meanwhile; each broken rule is a reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forecastle.alert.alerts import Alert
from forecastle.contract.load import load_system
from forecastle.story.stories import STORIES, Told
from forecastle.story.verdict import Month, judge

SYSTEM = load_system(Path(__file__).parents[2] / "platform" / "systems" / "prediction_markets")
SINCE = datetime(2026, 6, 8, 13, tzinfo=UTC)
FIRST = SINCE + timedelta(minutes=5)
HOUR = timedelta(hours=1)
UNIT = Told({}, "polls", "pct", "percent became a ratio", FIRST)


def alert(cause: str, asset: str, hours: float, *, kind: str = "raised") -> Alert:
    at = SINCE + hours * HOUR
    return Alert("prediction_markets", f"prediction_markets/{asset}", cause, "error", "said", "do", at, kind)  # type: ignore[arg-type]


def month(*alerts: Alert) -> Month:
    """A month in which the polls were refused an hour after they went wrong."""
    return Month(SINCE, alerts, (), [(SINCE + HOUR, "source/polls", "another unit")], [(SINCE - HOUR, "source/polls")])


def test_a_story_that_was_named_and_refused_ended_right():
    """Detected when the first right alert was raised; the time counts from the first bad row."""
    verdict = judge(SYSTEM, STORIES["unit"], UNIT, month(alert("units", "source/polls", 1)))
    assert verdict.right
    assert (verdict.cause, verdict.detected_at) == ("units", SINCE + HOUR)
    assert verdict.to_detect_seconds == 55 * 60


def test_silence_is_wrong():
    """Nobody was told."""
    verdict = judge(SYSTEM, STORIES["unit"], UNIT, month())
    assert not verdict.right
    assert verdict.reasons == ("nobody was told: percent became a ratio",)


@pytest.mark.parametrize(
    "wrong",
    [
        alert("drift", "drift/features", 1),
        alert("units", "source/trades", 1),
        alert("units", "source/polls", -1),
        alert("units", "source/polls", 1, kind="again"),
    ],
)
def test_another_cause_another_source_an_older_alert_or_a_reminder_names_nothing(wrong):
    """Only an alert that was raised in the story, of its cause, about its source."""
    assert not judge(SYSTEM, STORIES["unit"], UNIT, month(wrong)).right


def test_a_wrong_name_that_comes_first_is_wrong_and_beside_it_is_not():
    """An hour earlier misleads a person; in the same look of the automation it does not."""
    right = alert("units", "source/polls", 2)
    assert not judge(SYSTEM, STORIES["unit"], UNIT, month(alert("clocks", "source/polls", 1), right)).right
    assert judge(SYSTEM, STORIES["unit"], UNIT, month(alert("clocks", "source/polls", 2), right)).right


@pytest.mark.parametrize(("hours", "right"), [(24, True), (25, False)])
def test_a_true_symptom_may_come_first_where_the_cause_follows_within_a_day(hours, right):
    """Percent that became ratios have drifted as well; a day later somebody has looked in the wrong place."""
    told = month(alert("drift", "drift/features", 1), alert("units", "source/polls", 1 + hours))
    assert judge(SYSTEM, STORIES["unit"], UNIT, told).right is right


def test_a_symptom_of_what_shows_over_days_may_come_days_earlier():
    """Turned outcomes move the answers of the next model before enough of them tell that answers are wrong."""
    told = Told({}, "resolutions", "resolved_to", "outcomes are turned", FIRST)
    alerts = (alert("drift", "drift/predictions", 24 * 5), alert("miscalibration", "live_calibration", 24 * 9))
    assert judge(SYSTEM, STORIES["concept"], told, month(*alerts)).right
    assert not judge(SYSTEM, STORIES["concept"], told, month(alert("clocks", "source/trades", 1), *alerts)).right


def test_a_promotion_on_spoilt_rows_is_wrong():
    """A model of rows asked before the first bad one saw nothing bad, whenever it is promoted."""
    told = month(alert("units", "source/polls", 1))
    promoted_at = SINCE + HOUR
    assert judge(SYSTEM, STORIES["unit"], UNIT, replace(told, promotions=[(promoted_at, SINCE)])).right
    assert not judge(SYSTEM, STORIES["unit"], UNIT, replace(told, promotions=[(promoted_at, FIRST)])).right


def test_what_should_be_refused_and_was_made_is_wrong():
    """Published again after it was refused is wrong, and so is a refusal after a day; a few rows before it are not."""
    told = month(alert("units", "source/polls", 1))
    assert judge(SYSTEM, STORIES["unit"], UNIT, replace(told, made=[(FIRST, "source/polls")])).right
    assert not judge(SYSTEM, STORIES["unit"], UNIT, replace(told, made=[(SINCE + 2 * HOUR, "source/polls")])).right
    late = replace(told, refused=[(SINCE + 25 * HOUR, "source/polls", "another unit")])
    assert not judge(SYSTEM, STORIES["unit"], UNIT, late).right


@pytest.mark.parametrize(("minutes", "right"), [(15, True), (16, False)])
def test_silence_is_told_within_a_quarter_of_an_hour_of_the_declared_window(minutes, right):
    """The case study's bar, counted from when the newest row became too old."""
    told = Told({}, "quotes", "", "quotes falls silent", FIRST)
    said = alert("event_time_freshness", "source/quotes", 72)
    overdue = SINCE + 72 * HOUR - timedelta(minutes=minutes)
    verdict = judge(SYSTEM, STORIES["stale"], told, replace(month(said), overdue_at=overdue))
    assert (verdict.right, verdict.past_window_seconds) == (right, minutes * 60)


@pytest.mark.parametrize(("count", "right"), [(0, True), (1, True), (2, False)])
def test_a_calm_month_allows_one_false_alert(count, right):
    """Reminders and recoveries are none."""
    alerts = [alert("drift", "drift/features", 24 * day) for day in range(count)]
    alerts += [alert("drift", "drift/features", 200, kind=kind) for kind in ("again", "recovered")]
    calm = Told({}, "", "", "Nothing happens.", None)
    assert judge(SYSTEM, STORIES["calm"], calm, month(*alerts)).right is right
