"""Scoring schedules from the registry: the live version scores at its cron's ticks, replaced versions are archived.

Belongs here: the sensor that looks every five minutes; no restart is needed for a version that was promoted meanwhile.
Does not belong here: which ticks are due (`forecastle.promote.schedules`), scoring (`predictions.py`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import dagster as dg

from assets.describe import key
from forecastle.contract.load import LoadedSystem
from forecastle.promote.schedules import DueTick, ScoringSchedule, due_tick, scoring_schedules
from resources.platform import Platform

LOOK_SECONDS = 300
Told = Iterator[dg.RunRequest | dg.SkipReason]


def has_scoring(system: LoadedSystem) -> bool:
    """Whether anything of a system is scored by a schedule."""
    declared = system.declaration
    return declared.score is not None or any(model.score for model in declared.models.values())


def build_scoring_sensor(system: LoadedSystem) -> dg.SensorDefinition:
    """Looks into the registry for promoted versions and keeps their schedules."""
    target = key(system, "batch_predictions")

    @dg.sensor(
        name=f"{system.name}_scoring",
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        target=dg.AssetSelection.assets(target),
        description="The promoted version scores the population at the ticks of its declared cron; a replaced one is "
        "archived and scores no more.",
    )
    def scoring_sensor(context: dg.SensorEvaluationContext, platform: Platform) -> Told:
        registry, now = platform.registry(), platform.clock()
        schedules = scoring_schedules(
            system.declaration, registry.history(system.name), registry.decisions(system.name)
        )
        seen = json.loads(context.cursor or "{}")
        archived = _archive(platform, system, schedules, known=seen.get("archived", {}))
        scored: dict[str, str] = seen.get("scored", {})
        requests = [request for request in _requests(schedules, scored, now=now) if request is not None]
        yield from requests
        context.update_cursor(json.dumps({"archived": archived, "scored": scored}, sort_keys=True))
        if not requests:
            yield dg.SkipReason(_waiting(schedules))

    return scoring_sensor


def _requests(
    schedules: Sequence[ScoringSchedule], scored: dict[str, str], *, now: datetime
) -> Iterator[dg.RunRequest]:
    """A run for each live version whose tick has passed; `scored` is told of it."""
    for schedule in schedules:
        before = scored.get(schedule.model_version)
        until = None if before is None else datetime.fromisoformat(before)
        due = due_tick(schedule, now=now, scored_until=until)
        if due is not None:
            scored[schedule.model_version] = due.at.isoformat()
            yield _request(schedule, due)


def _request(schedule: ScoringSchedule, due: DueTick) -> dg.RunRequest:
    """The run key names version and tick, so Dagster itself starts nothing twice."""
    tick = due.at.isoformat()
    reason = f"{schedule.model} version {schedule.model_version} scores at {tick} ({schedule.cron})"
    if due.missed:
        reason += f"; {due.missed} ticks before it were missed and are made up for by this one run"
    tags = {
        "forecastle/model_version": schedule.model_version,
        "forecastle/tick": tick,
        "forecastle/missed_ticks": str(due.missed),
        "forecastle/reason": reason,
    }
    return dg.RunRequest(run_key=f"{schedule.model_version}@{tick}", tags=tags)


def _archive(
    platform: Platform, system: LoadedSystem, schedules: Sequence[ScoringSchedule], *, known: Mapping[str, str]
) -> dict[str, str]:
    """Mark replaced versions in MLflow, and unmark one that a rollback made live again; returns what is marked now.

    A version that was promoted more than once is what its newest promotion says.
    """
    newest = {schedule.model_version: schedule for schedule in reversed(schedules)}
    now = {version: s.archived_at.isoformat() for version, s in newest.items() if s.archived_at is not None}
    changed = {version: now.get(version, "") for version in {*now, *known} if now.get(version) != known.get(version)}
    if changed:
        tracking = platform.tracking()
        for version, archived_at in sorted(changed.items()):
            tracking.archive(system.name, version=version, archived_at=archived_at)
    return now


def _waiting(schedules: Sequence[ScoringSchedule]) -> str:
    live = [schedule for schedule in schedules if schedule.archived_at is None]
    if not live:
        return "No version is live: nothing is scored until one is promoted."
    return "; ".join(f"{s.model} version {s.model_version} waits for {s.cron or 'a declared score.cron'}" for s in live)
