"""May a training that was decided on begin now: a budget a day, and longer waits after each failure.

Belongs here: the answer as a pure function of earlier attempts, with its sentence.
Does not belong here: whether a model is due (`retrain.py`), where attempts are recorded (runs of the orchestrator).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

FIRST_WAIT: Final = timedelta(minutes=15)
LONGEST_WAIT: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One training that a decision started: when, for which version of the decision, and how it ended."""

    started_at: datetime
    decision: int
    status: Literal["running", "succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether a training may begin, in a sentence; `number` counts the attempts for this decision, from 1."""

    granted: bool
    reason: str
    number: int = 1


def may_train(attempts: Sequence[Attempt], *, decision: int, now: datetime, max_per_day: int) -> Permission:
    """Judge the next attempt for version `decision` of the decision, given all earlier ones in any order.

    Refused while one is running, when this decision was carried out, when `max_per_day` were started since 00:00 UTC,
    and after failures in a row for 15 min, doubled with each, at most 12 h from the last one's start.
    """
    ordered = sorted(attempts, key=lambda attempt: attempt.started_at)
    number = 1 + sum(attempt.decision == decision for attempt in ordered)
    if any(attempt.status == "running" for attempt in ordered):
        return Permission(granted=False, reason="a training is running", number=number)
    if any(attempt.decision == decision and attempt.status == "succeeded" for attempt in ordered):
        return Permission(granted=False, reason=f"decision {decision} was carried out", number=number)
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    today = sum(attempt.started_at >= midnight for attempt in ordered)
    if today >= max_per_day:
        told = f"the budget is spent: {today} of {max_per_day} trainings of this UTC day were started"
        return Permission(granted=False, reason=told, number=number)
    failures = _failures_in_a_row(ordered)
    if failures:
        due = ordered[-1].started_at + wait_after(failures)
        if now < due:
            told = f"{failures} training(s) in a row failed; the next may begin at {due:%Y-%m-%d %H:%M} UTC"
            return Permission(granted=False, reason=told, number=number)
    return Permission(granted=True, reason=f"training {today + 1} of {max_per_day} of this UTC day", number=number)


def wait_after(failures: int) -> timedelta:
    """15 min after the first failure, doubled with each further one in a row, at most 12 h."""
    doubled: int = 2 ** min(failures - 1, 20)
    return min(FIRST_WAIT * doubled, LONGEST_WAIT)


def _failures_in_a_row(ordered: Sequence[Attempt]) -> int:
    count = 0
    for attempt in reversed(ordered):
        if attempt.status != "failed":
            break
        count += 1
    return count
