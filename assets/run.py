"""Materialise one system's whole graph from a terminal, one line of JSON an event.

Belongs here: the process that `forecastle run` starts and draws as progress; it knows Dagster, the library does not.
Does not belong here: drawing (`forecastle.cli`), what is materialised (`factory.py`).

    python -m assets.run SYSTEM [DAY]    prints {"event": …} lines; exit status 0 only when every asset was made
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DailyPartitionsDefinition as Daily

# Not public, and the only way to see events while they happen without a second thread that polls the database.
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.execution.api import execute_run_iterator
from dagster._core.storage.tags import PARTITION_NAME_TAG
from sqlalchemy.exc import SQLAlchemyError

from assets.failures import reason
from assets.instance import in_use, mend, opened, prepare_instance
from assets.rest import rest_of_run
from forecastle.contract.errors import ForecastleError, StoreError


def main(arguments: list[str]) -> int:
    """Run the refresh job of the system named by the first argument; of a day only the daily assets."""
    if len(arguments) not in (1, 2):
        say(event="failed", message="name one system, and a day if you like: python -m assets.run SYSTEM [DAY]")
        return 2
    try:
        from assets.definitions import defs

        definitions = defs()
        job = definitions.resolve_job_def(f"{arguments[0]}_refresh")
        tags = {}
        if len(arguments) == 2:
            job, tags = of_day(job, arguments[1])
    except ForecastleError as error:
        say(event="failed", message=str(error))
        return 2
    except dg.DagsterInvariantViolationError:
        say(event="failed", message=f"there is no system {arguments[0]!r}")
        return 2
    say(event="planned", assets=[node.name for node in job.nodes])
    try:
        return 0 if run_here(job, tags=tags) else 1
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:  # Dagster could not write what happened: a full disk
        say(event="failed", message=refused(error))
        with suppress(OSError):  # the log lies on the same disk
            traceback.print_exc()
        return 3


def run_here(job: dg.JobDefinition, *, tags: Mapping[str, str]) -> bool:
    """Execute the job in the instance of this home."""
    home = Path(os.environ.get("FORECASTLE_HOME", ".forecastle")).resolve()
    folder = prepare_instance(Path(os.environ.get("DAGSTER_HOME") or home / "dagster"))
    with opened(folder) as instance:
        mend(instance, folder)
        with in_use(folder):
            return run(job, instance, tags=tags)


def refused(error: Exception) -> str:
    """What the machine refused to Dagster's own storage, and what to look at."""
    cause = getattr(error, "orig", None) or error
    return (
        f"Dagster's records cannot be written: {cause}; look at the free space of the home folder and at who may write "
        "there, then run again"
    )


def of_day(job: dg.JobDefinition, day: str) -> tuple[dg.JobDefinition, dict[str, str]]:
    """The daily assets of a job, and the tag that names their partition.

    Raises:
        StoreError: the job has no daily assets, or no such day.
    """
    layer = job.asset_layer
    daily = {key for key in layer.executable_asset_keys if isinstance(layer.get(key).partitions_def, Daily)}
    if not daily:
        raise StoreError("its feature views have days of their own: materialise those in the Dagster UI")
    partitions = layer.get(min(daily)).partitions_def
    assert isinstance(partitions, Daily)
    with partition_loading_context():
        if not partitions.has_partition_key(day):
            first = f"{partitions.start:%Y-%m-%d}"
            raise StoreError(f"{day!r} is no day of it; write one from {first} (daily_since) to today, as {first}")
    return job.get_subset(asset_selection=daily), {PARTITION_NAME_TAG: day}


def run(job: dg.JobDefinition, instance: dg.DagsterInstance, *, tags: Mapping[str, str] | None = None) -> bool:
    """Execute the job in this process and say each event as it happens; a failed model does not stop the others."""
    plan_run = instance.create_run_for_job(job, tags={**job.tags, **(tags or {})}, asset_selection=job.asset_selection)
    failed = False
    for event in execute_run_iterator(InMemoryJob(job), plan_run, instance):
        failed |= event.is_failure
        tell(event)
    rest = rest_of_run(instance, plan_run.run_id) if failed else []
    if rest:
        run(job.get_subset(asset_selection=set(rest)), instance, tags=tags)
    return not failed


def tell(event: dg.DagsterEvent) -> None:
    """One event as one line."""
    kind = event.event_type_value
    if kind == "STEP_START":
        say(event="started", asset=event.step_key)
    elif kind == "STEP_SUCCESS":
        say(event="made", asset=event.step_key, seconds=round(event.step_success_data.duration_ms / 1000, 2))
    elif kind == "ASSET_MATERIALIZATION" and event.partition and event.asset_key and "models" in event.asset_key.path:
        say(event="model", asset=event.step_key, model=event.partition)
    elif kind == "STEP_FAILURE":
        say(event="failed", asset=event.step_key, message=reason(event))
    elif kind == "ASSET_CHECK_EVALUATION":
        check = event.asset_check_evaluation_data
        if not check.passed:
            asset = check.asset_key.to_user_string()
            say(
                event="check",
                asset=asset,
                check=check.check_name,
                severity=check.severity.value,
                message=check.description or "",
            )


def say(**line: Any) -> None:
    """Print one event."""
    print(json.dumps(line), flush=True)  # noqa: T201  this process's output is its interface


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
