"""Live through simulated months from a terminal, one line of JSON an event.

Belongs here: the process that `forecastle simulate` starts and draws; it knows Dagster, the library does not.
Does not belong here: drawing (`forecastle.cli`), the month (`simulated_month.py`).

    python -m assets.simulate PLAN_JSON      prints {"event": …} lines; exit status 0 only when every story ended right
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecastle.contract.errors import ForecastleError
from forecastle.learn.alive import working_folder

if TYPE_CHECKING:
    from assets.simulated_month import SimulatedMonth
    from forecastle.story.stories import Story

STOPPED = 130
MONTHS = ".months"
"""Folder in FORECASTLE_HOME for months that nobody keeps; what a killed process left goes with the next."""


def main(arguments: list[str]) -> int:
    """Live through the months of the plan given as the only argument."""
    try:
        asked = json.loads(arguments[0])
        home = Path(os.environ.get("FORECASTLE_HOME") or ".forecastle").resolve()
        with working_folder(home / MONTHS) as folder:
            kept = bool(asked["folder"])
            return 0 if live(asked, Path(asked["folder"] or folder), kept=kept) else 1
    except ForecastleError as error:
        say(event="failed", message=str(error))
        return 2
    except KeyboardInterrupt:
        return STOPPED


def live(asked: dict[str, Any], folder: Path, *, kept: bool) -> bool:
    """Tell each story to its own month of one world, seed after seed; True when all ended right."""
    from assets.simulated_month import Plan, SimulatedMonth
    from forecastle.contract.load import discover, load_system
    from forecastle.story.stories import STORIES, story_named
    from resources.environment import system_folders, without_telemetry

    without_telemetry(os.environ)
    system = load_system(discover(system_folders(os.environ))[asked["system"]])
    stories = list(STORIES.values()) if asked["story"] == "all" else [story_named(asked["story"])]
    right = True
    for seed in range(asked["seed"], asked["seed"] + asked["seeds"]):
        plan = Plan(
            days=asked["days"],
            seed=seed,
            every=timedelta(seconds=asked["every_seconds"]),
            look=timedelta(seconds=asked["look_seconds"]),
            story_after=timedelta(days=asked["days"] // 4, hours=7),
            world=asked["world"],
        )
        right &= live_seed(SimulatedMonth(system, folder / f"seed-{seed}", plan, say=say), stories, kept=kept)
        if not kept:  # fifty months would fill a disk
            shutil.rmtree(folder / f"seed-{seed}")
    return right


def live_seed(month: SimulatedMonth, stories: Sequence[Story], *, kept: bool) -> bool:
    """Every story of one seed's world, whatever becomes of the first; True when all ended right."""
    right = True
    try:
        for story in stories:
            right &= month.live(story).right
            if not kept:
                shutil.rmtree(month.folder / story.name)
    except ForecastleError as error:  # no champion to begin with, which the next seed may have
        say(event="failed", message=f"seed {month.plan.seed}: {error}")
        return False
    return right


def say(**line: Any) -> None:
    """Print one event."""
    print(json.dumps(line), flush=True)  # noqa: T201  this process's output is its interface


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
