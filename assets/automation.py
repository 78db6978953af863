"""What happens without being asked: jobs, schedules and sensors of a system.

Belongs here: when something runs, and why, in words that the UI shows.
Does not belong here: what a run computes, what is alarming (`alerts.py`).
"""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.matrix import partitioned_keys
from forecastle.contract.load import LoadedSystem

MAX_RUNTIME_SECONDS = 3600


def build_job(system: LoadedSystem) -> UnresolvedAssetJobDefinition:
    """One job for the whole graph of a system, in one process: empty steps cost milliseconds there, not seconds."""
    return dg.define_asset_job(
        f"{system.name}_refresh",
        selection=dg.AssetSelection.groups(system.name) - dg.AssetSelection.assets(*partitioned_keys(system)),
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": str(MAX_RUNTIME_SECONDS)},
        description=f"From sources to a packed champion: everything of {system.name}.",
    )


def build_schedule(system: LoadedSystem, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """The declared retraining time."""
    return dg.ScheduleDefinition(
        name=f"{system.name}_retrain",
        job=job,
        cron_schedule=system.declaration.retrain.schedule,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
