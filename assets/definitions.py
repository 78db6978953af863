"""The composition root: every system that is found, and the services they share.

Belongs here: discovery and wiring, nothing else.
Does not belong here: a decision of any kind.
"""

from __future__ import annotations

import os
from functools import cache

import dagster as dg

from assets.factory import build_system, shared_sensors
from forecastle.contract.load import LoadedSystem, discover, load_system
from resources.environment import resources_from, system_folders, without_telemetry


@cache
def systems() -> tuple[LoadedSystem, ...]:
    """Every system, loaded once: Dagster asks for the definitions several times in one process."""
    return tuple(load_system(folder) for folder in discover(system_folders(os.environ)).values())


@dg.definitions
def defs() -> dg.Definitions:
    """Everything Dagster shows."""
    without_telemetry(os.environ)
    shared = dg.Definitions(
        resources=resources_from(os.environ),
        executor=dg.in_process_executor,
        sensors=shared_sensors(systems()),
    )
    return dg.Definitions.merge(shared, *(build_system(system) for system in systems()))
