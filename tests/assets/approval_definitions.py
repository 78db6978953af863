"""Promotion and alerts of the ferries as a code location: what Dagster's web server loads for a test.

The folder is named by FERRIES_FOLDER: the system in `systems/ferries`, the home in `home`.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import dagster as dg

from assets.alerts import build_alerts
from assets.promotion import build_promotion
from forecastle.contract.load import load_system
from resources.platform import Alerts, Platform
from tests.learn.ferries import NOW

FOLDER = Path(os.environ["FERRIES_FOLDER"])


def _definitions() -> dg.Definitions:
    system = load_system(FOLDER / "systems" / "ferries")
    promote = system.declaration.promote.model_copy(update={"approval": "manual"})
    manual = dataclasses.replace(system, declaration=system.declaration.model_copy(update={"promote": promote}))
    platform = Platform(home=str(FOLDER / "home"), now=NOW.isoformat())
    return dg.Definitions(
        assets=[build_promotion(manual), build_alerts(manual)],
        resources={"platform": platform, "alerts": Alerts(platform=platform)},
    )


defs = _definitions()
