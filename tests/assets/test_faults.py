"""Kills in the middle of a materialisation, through Dagster: what is left, what the next start mends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.instance import fail_dead_runs, prepare_instance
from assets.sources import build_source
from forecastle.contract.load import load_system
from forecastle.store.crash import CRASH_POINTS
from forecastle.store.delta_log import TableVersion
from resources.environment import resources_from
from tests.store.weather import write_readings, write_system

ROOT = Path(__file__).parents[2]
TABLE = "weather/source/readings"
QUICK = {"publish.after_write"}
STEP = """
import os, sys
from pathlib import Path
import dagster as dg
from assets.sources import build_source
from forecastle.contract.load import load_system
from resources.environment import resources_from
system = load_system(Path(sys.argv[1]))
with dg.DagsterInstance.from_config(sys.argv[2]) as instance:
    done = dg.materialize([build_source(system, "readings")], instance=instance, resources=resources_from(os.environ))
sys.exit(0 if done.success else 1)
"""
POINTS = [pytest.param(point, marks=() if point in QUICK else pytest.mark.slow) for point in CRASH_POINTS]


class Place:
    """A data folder, a home folder and a Dagster instance on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.system = write_system(folder / "systems" / "weather").folder
        self.instance = prepare_instance(folder / "dagster")
        self.environment = {
            "FORECASTLE_HOME": str(folder / "home"),
            "FORECASTLE_DATA": str(folder / "data"),
            "FORECASTLE_NOW": "2026-03-01T00:00:00+00:00",
        }

    def killed(self, point: str) -> int:
        """One run of the source's asset in a process that is killed at a point; its exit status."""
        paths = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
        environment = {**os.environ, **self.environment, "FORECASTLE_CRASH_AT": point, "PYTHONPATH": paths}
        command = [sys.executable, "-c", STEP, str(self.system), str(self.instance)]
        return subprocess.run(command, env=environment, check=False, capture_output=True, timeout=120).returncode

    def materialise(self) -> bool:
        """One run of the source's asset in this process."""
        asset = build_source(load_system(self.system), "readings")
        with dg.DagsterInstance.from_config(str(self.instance)) as instance:
            return dg.materialize([asset], instance=instance, resources=resources_from(self.environment)).success

    @property
    def table(self) -> TableVersion:
        return resources_from(self.environment)["platform"].warehouse().resolve(TABLE)


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_materialisation_leaves_old_or_new_and_is_mended(tmp_path: Path, point: str) -> None:
    """The table is whole, the dead run is failed at the next start, a second run gives an unkilled one's rows."""
    place = Place(tmp_path)
    write_readings(tmp_path / "data", days=5)
    assert place.materialise()
    old = place.table
    write_readings(tmp_path / "data", days=9)
    assert place.killed(point) == -signal.SIGKILL
    # An empty quarantine is there already, so the first commit of this run is the source's.
    committed = point == "publish.after_commit"
    left = place.table
    assert (left.version, left.rows > old.rows) == ((1, True) if committed else (0, False))
    with dg.DagsterInstance.from_config(str(place.instance)) as instance:
        (dead,) = fail_dead_runs(instance)
        assert instance.get_run_by_id(dead).status is dg.DagsterRunStatus.FAILURE
    assert place.materialise()
    new = place.table
    assert new.version == 1
    fresh = Place(tmp_path / "fresh")
    fresh.environment["FORECASTLE_DATA"] = str(tmp_path / "data")
    assert fresh.materialise()
    assert fresh.table.content_hash == new.content_hash
