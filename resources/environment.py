"""The environment, read once: which variables exist and what they default to.

Belongs here: names of variables and how they become resources.
Does not belong here: anything that happens when this is imported; definitions call `resources_from`.

    FORECASTLE_HOME      folder of all state (default .forecastle in the working directory)
    FORECASTLE_DATA      folder of source files; without it each system's simulator writes one
    FORECASTLE_SYSTEMS   further folders of systems, separated like PATH
    FORECASTLE_ONLINE_URL  redis://… of the online store (default: a file in the home folder); read when it is opened
    FORECASTLE_ALERT_TARGETS  Apprise addresses that are told of alerts, spaces between them; read when they are told
    FORECASTLE_UI_URL    address of the Dagster UI, for links in alerts (forecastle up sets it)
    FORECASTLE_NOW       an instant with zone from which a replay clock starts (default: the system's clock)
    FORECASTLE_CRASH_AT  for tests of faults: point[:signal[:nth]] at which this process is killed (default: none)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from dagster_duckdb import DuckDBResource

from resources.platform import Alerts, Platform

BUILT_IN_SYSTEMS = Path(__file__).resolve().parents[1] / "platform" / "systems"


def system_folders(environment: Mapping[str, str]) -> list[Path]:
    """Folders that hold systems: ours, then the user's."""
    further = environment.get("FORECASTLE_SYSTEMS", "")
    return [BUILT_IN_SYSTEMS, *(Path(part).resolve() for part in further.split(os.pathsep) if part)]


def without_telemetry(environment: MutableMapping[str, str]) -> None:
    """MLflow reports to nobody from this process and its children, unless the environment says otherwise."""
    environment.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def resources_from(environment: Mapping[str, str]) -> dict[str, Any]:
    """Every resource the assets ask for, by name."""
    platform = Platform(
        home=str(Path(environment.get("FORECASTLE_HOME", ".forecastle")).resolve()),
        data=environment.get("FORECASTLE_DATA", ""),
        now=environment.get("FORECASTLE_NOW", ""),
        crash_at=environment.get("FORECASTLE_CRASH_AT", ""),
    )
    return {
        "platform": platform,
        "alerts": Alerts(platform=platform),
        # In memory: tables are files of the warehouse, so no reader or writer ever locks another out.
        "engine": DuckDBResource(database=":memory:", connection_config={"memory_limit": "2GB", "threads": 2}),
    }
