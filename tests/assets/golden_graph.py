"""The asset graph as plain data, and the golden file it is compared with.

Belongs here: which attributes of the graph are promised, and the one command that rewrites the promise.
Does not belong here: systems of a user's own (FORECASTLE_SYSTEMS is not read).

    python -m tests.assets.golden_graph --write
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from assets.factory import build_system, shared_sensors
from forecastle.contract.load import discover, load_system
from resources.environment import resources_from, system_folders

GOLDEN = Path(__file__).with_name("golden") / "graph.json"
REWRITE = "python -m tests.assets.golden_graph --write"


def built_in_definitions() -> dg.Definitions:
    """Definitions of the systems that ship with the platform."""
    systems = [load_system(folder) for folder in discover(system_folders({})).values()]
    shared = dg.Definitions(
        resources=resources_from({}), executor=dg.in_process_executor, sensors=shared_sensors(systems)
    )
    return dg.Definitions.merge(shared, *(build_system(system) for system in systems))


def graph(definitions: dg.Definitions) -> dict[str, Any]:
    """Everything that is promised of the graph, sorted, as JSON can hold it."""
    repository = definitions.get_repository_def()
    nodes = repository.asset_graph
    return {
        "assets": {key.to_user_string(): _asset(nodes.get(key), nodes) for key in sorted(nodes.get_all_asset_keys())},
        "jobs": {job.name: _job(job) for job in repository.get_all_jobs() if not job.name.startswith("__")},
        "schedules": {
            schedule.name: {
                "job": schedule.job_name,
                "cron": schedule.cron_schedule,
                "zone": schedule.execution_timezone,
                "status": schedule.default_status.value,
            }
            for schedule in repository.schedule_defs
        },
        "sensors": {
            sensor.name: {
                "status": sensor.default_status.value,
                "minimum_interval_seconds": sensor.minimum_interval_seconds,
            }
            for sensor in repository.sensor_defs
        },
    }


def text(definitions: dg.Definitions) -> str:
    """The golden file's text."""
    return json.dumps(graph(definitions), indent=1, sort_keys=True) + "\n"


def _asset(node: Any, nodes: Any) -> dict[str, Any]:
    policy = node.freshness_policy
    assert isinstance(policy, TimeWindowFreshnessPolicy), f"{node.key} has no freshness window"
    return {
        "deps": sorted(key.to_user_string() for key in node.parent_keys),
        "group": node.group_name,
        "owners": sorted(node.owners),
        "kinds": sorted(node.kinds),
        "partitions": _partitions(node.partitions_def),
        "freshness_warn_seconds": policy.warn_window.to_timedelta().total_seconds() if policy.warn_window else None,
        "freshness_fail_seconds": policy.fail_window.to_timedelta().total_seconds(),
        "checks": {
            key.name: {"blocking": nodes.get(key).blocking} for key in sorted(node.check_keys, key=lambda k: k.name)
        },
    }


def _partitions(partitions: dg.PartitionsDefinition | None) -> str | None:
    if isinstance(partitions, dg.DailyPartitionsDefinition):
        return f"daily since {partitions.start:%Y-%m-%d}"
    return None if partitions is None else type(partitions).__name__


def _job(job: dg.JobDefinition) -> dict[str, Any]:
    return {
        "assets": sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys),
        "executor": job.executor_def.name,
        "tags": dict(sorted(job.tags.items())),
    }


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(f"write {REWRITE}")
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(text(built_in_definitions()))
