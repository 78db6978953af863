"""When promoted versions score the population: the live one at the ticks of its cron, replaced ones no more.

Belongs here: schedules that follow from the registry's history, their due ticks, the table that shows them.
Does not belong here: running anything (`assets/scheduled_scoring.py`), the history itself (`registry.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pandas as pd
from croniter import croniter

from forecastle.contract.system import System
from forecastle.promote.registry import Promotion, RecordedDecision

LIVE: Final = "live"
ARCHIVED: Final = "archived"
SCHEDULE_COLUMNS: Final = ("model", "model_version", "bundle", "cron", "state", "since", "archived_at", "next_at")


@dataclass(frozen=True, slots=True)
class ScoringSchedule:
    """The schedule of one promoted version, from its promotion on until another version took its place.

    `cron` is None where neither the model nor the system declares when to score. Times are UTC.
    """

    model: str
    model_version: str
    bundle: str
    cron: str | None
    since: datetime
    archived_at: datetime | None

    @property
    def state(self) -> str:
        """`live` or `archived`."""
        return LIVE if self.archived_at is None else ARCHIVED


@dataclass(frozen=True, slots=True)
class DueTick:
    """A scoring run that is due: the newest tick that has passed, and how many before it had no run."""

    at: datetime
    missed: int


def scoring_schedules(
    declared: System, promotions: Sequence[Promotion], decisions: Sequence[RecordedDecision]
) -> tuple[ScoringSchedule, ...]:
    """One schedule a promotion, newest first.

    Args:
        declared: says when each model scores.
        promotions: of the system, newest first, as the registry gives them.
        decisions: of the system; they name the model of each promotion.
    """
    models = {decision.decision_id: decision.model for decision in decisions}
    followers: list[Promotion | None] = [None, *promotions]
    return tuple(
        ScoringSchedule(
            model=(model := models.get(made.decision_id or -1, declared.system)),
            model_version=made.model_version,
            bundle=made.bundle,
            cron=declared.scoring_cron(model),
            since=made.promoted_at,
            archived_at=None if follower is None else follower.promoted_at,
        )
        for made, follower in zip(promotions, followers, strict=False)
    )


def due_tick(schedule: ScoringSchedule, *, now: datetime, scored_until: datetime | None) -> DueTick | None:
    """The newest tick in (`scored_until` or the promotion, `now`] of a live version; None where none has passed.

    Ticks that passed while nobody looked are one run: the population is scored as it is now, not as it was then.
    """
    if schedule.cron is None or schedule.archived_at is not None:
        return None
    after = max(schedule.since, scored_until or schedule.since)
    newest = _tick(schedule.cron, now, forward=False)
    if newest <= after:
        return None
    missed, at = 0, _tick(schedule.cron, after, forward=True)
    while at < newest:
        missed, at = missed + 1, _tick(schedule.cron, at, forward=True)
    return DueTick(newest, missed)


def schedule_table(schedules: Sequence[ScoringSchedule], *, now: datetime) -> pd.DataFrame:
    """Columns `SCHEDULE_COLUMNS`, one row a promotion; `next_at` is null for archived versions and without a cron."""
    rows = [
        (
            s.model, s.model_version, s.bundle, s.cron, s.state, s.since, s.archived_at,
            _tick(s.cron, now, forward=True) if s.cron and s.state == LIVE else None,
        )
        for s in schedules
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(SCHEDULE_COLUMNS))
    return table.astype(dict.fromkeys(("since", "archived_at", "next_at"), "datetime64[us, UTC]"))


def _tick(cron: str, moment: datetime, *, forward: bool) -> datetime:
    """The next tick after a moment, or the newest at or before it."""
    moment = moment.astimezone(UTC)
    if not forward and croniter.match(cron, moment):
        return moment.replace(second=0, microsecond=0)
    ticks = croniter(cron, moment)
    found: datetime = ticks.get_next(datetime) if forward else ticks.get_prev(datetime)
    return found
