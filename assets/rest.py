"""A model that fails, fails alone: what a training still has to do for the others.

Belongs here: which assets a run skipped because of a failed model and the other models can do without.
Does not belong here: when they are made (`automation.py`, `run.py`), models of a matrix, which share one step
(`matrix.py`).
"""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg
from dagster import DagsterEventType, DagsterInstance

_OF_A_MODEL = ("models", "evaluation", "calibration")


def rest_of(
    planned: Collection[dg.AssetKey], *, made: Collection[dg.AssetKey], failed: Collection[dg.AssetKey]
) -> list[dg.AssetKey]:
    """What is left to do, sorted; nothing where something else failed than models, or no other model was made.

    Dagster skips whatever follows a failed step, and `comparison` follows every model, though it needs only one.
    """
    alone = {key.path[2] for key in failed if key.path[1] in _OF_A_MODEL}
    others = [key for key in made if key.path[1] == "factory" or (key.path[1] == "models" and key.path[2] not in alone)]
    if not failed or not others or any(key.path[1] not in _OF_A_MODEL for key in failed):
        return []
    left = set(planned) - set(made) - set(failed)
    return sorted(key for key in left if not (key.path[1] in _OF_A_MODEL and key.path[2] in alone))


def rest_of_run(instance: DagsterInstance, run_id: str) -> list[dg.AssetKey]:
    """What is left to do of a run that has ended."""
    events = [entry.dagster_event for entry in instance.all_logs(run_id, of_type=_TOLD) if entry.dagster_event]
    planned = {
        event.asset_materialization_planned_data.asset_key: event.step_key
        for event in events
        if event.event_type is DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    }
    steps = {event.step_key for event in events if event.event_type is DagsterEventType.STEP_FAILURE}
    made = {event.asset_key for event in events if event.event_type is DagsterEventType.ASSET_MATERIALIZATION}
    failed = {key for key, step in planned.items() if step in steps}
    return rest_of(planned, made={key for key in made if key is not None}, failed=failed)


_TOLD = {
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.STEP_FAILURE,
}
