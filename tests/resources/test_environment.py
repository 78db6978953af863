"""Environment variables become resources in one place, at the edge, and nothing happens before."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from forecastle.contract.clock import system_clock
from forecastle.contract.errors import SourceError
from forecastle.contract.load import load_system
from resources.environment import BUILT_IN_SYSTEMS, resources_from, system_folders, without_telemetry

ROOT = Path(__file__).parents[2]


def test_without_variables_state_lies_below_the_working_directory(tmp_path: Path, monkeypatch) -> None:
    """Home is .forecastle, data are simulated, the time is now."""
    monkeypatch.chdir(tmp_path)
    platform = resources_from({})["platform"]
    assert (platform.home, platform.data) == (str(tmp_path / ".forecastle"), "")
    assert abs(platform.clock() - system_clock()) < timedelta(seconds=5)
    assert not (tmp_path / ".forecastle").exists(), "asking for resources makes nothing"


def test_variables_are_taken_by_name(tmp_path: Path) -> None:
    """Home, data and the start of the replay clock."""
    names = {
        "FORECASTLE_HOME": str(tmp_path / "home"),
        "FORECASTLE_DATA": str(tmp_path / "data"),
        "FORECASTLE_NOW": "2026-06-01T12:00:00+02:00",
    }
    platform = resources_from(names)["platform"]
    assert platform.layout.root == tmp_path / "home"
    assert platform.data_folder(load_system(BUILT_IN_SYSTEMS / "prediction_markets")) == tmp_path / "data"
    assert platform.clock().isoformat().startswith("2026-06-01T10:00:0")


def test_every_door_opens_below_one_home(tmp_path: Path) -> None:
    """Warehouse, online store, registry, MLflow and alerts of one resource share one folder, ours alone to read."""
    resources = resources_from({"FORECASTLE_HOME": str(tmp_path / "home")})
    platform = resources["platform"]
    platform.registry().history("prediction_markets")
    resources["alerts"].log().newest()
    assert platform.warehouse().root == tmp_path / "home" / "warehouse"
    assert platform.tracking().uri == f"sqlite:///{tmp_path}/home/mlflow/mlflow.db"
    assert {path.name for path in (tmp_path / "home").glob("*.sqlite")} == {"registry.sqlite", "alerts.sqlite"}
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700


def test_a_users_systems_come_after_ours(tmp_path: Path) -> None:
    """FORECASTLE_SYSTEMS is a list like PATH; empty parts are nothing."""
    folders = system_folders({"FORECASTLE_SYSTEMS": f"{tmp_path}{os.pathsep}{os.pathsep}{tmp_path / 'more'}"})
    assert folders == [BUILT_IN_SYSTEMS, tmp_path, tmp_path / "more"]
    assert system_folders({}) == [BUILT_IN_SYSTEMS]


def test_a_system_without_a_simulator_needs_data(tmp_path: Path) -> None:
    """The refusal names the variable to set."""
    system = load_system(BUILT_IN_SYSTEMS / "prediction_markets")
    bare = type(system)(
        system.declaration.model_copy(update={"simulate": None}), system.folder, system.sql, system.code
    )
    platform = resources_from({"FORECASTLE_HOME": str(tmp_path)})["platform"]
    with pytest.raises(SourceError, match="FORECASTLE_DATA"):
        platform.data_folder(bare)


def test_mlflow_reports_to_nobody_unless_asked_to() -> None:
    """The variable is set where it is absent; what the user wrote stays."""
    absent, written = {"PATH": "/bin"}, {"MLFLOW_DISABLE_TELEMETRY": "false"}
    without_telemetry(absent)
    without_telemetry(written)
    assert absent == {"PATH": "/bin", "MLFLOW_DISABLE_TELEMETRY": "true"}
    assert written == {"MLFLOW_DISABLE_TELEMETRY": "false"}


def test_importing_the_definitions_touches_nothing(tmp_path: Path) -> None:
    """A fresh process in an empty folder imports and builds all of them: no file, no folder, no network."""
    program = "from assets.definitions import defs; defs(); print('built')"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FORECASTLE_")}
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]), "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "built"), done.stderr
    assert list(tmp_path.iterdir()) == []
