"""A factory that is killed half-way: what it made stands, what it left open is ended, the next run makes the rest."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.kept_models import bundle_of, ended_with, kept_models
from assets.models import read_training_set
from forecastle.learn.factory import WORK
from forecastle.learn.inputs import inputs_hash
from tests.assets.killed_factory import MODELS, materialised, platform_of
from tests.learn.fleet import write_fleet

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("graph")]


def started(folder: Path) -> subprocess.Popen[str]:
    """One run of the factory in a process of its own."""
    command = [sys.executable, "-m", "tests.assets.killed_factory", str(folder)]
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    return subprocess.Popen(command, **pipes, stderr=subprocess.DEVNULL, text=True)


def statuses(folder: Path) -> list[str]:
    """Of every MLflow run there is, the oldest first."""
    import mlflow

    client = mlflow.MlflowClient(platform_of(folder).tracking().uri)
    (experiment,) = [found for found in client.search_experiments() if found.name == "ferries"]
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    return [run.info.status for run in runs]


def left(folder: Path) -> list[str]:
    """Files that lie in the factory's working folder."""
    work = platform_of(folder).layout.bundles("ferries") / WORK
    return [path.name for path in work.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_killed_factory_goes_on_where_it_was(tmp_path: Path) -> None:
    """One model is kept, the run that was open is KILLED, three are trained; what was compared is not kept.

    The rows that the killed one had handed to its processes go, too.
    """
    with started(tmp_path) as killed:
        told = (line.split() for line in killed.stdout)
        said = (words[1] for words in told if words[:1] == ["trained"])
        first, second = next(said), next(said)
        killed.kill()
    assert killed.returncode == -signal.SIGKILL
    assert statuses(tmp_path) == ["FINISHED", "RUNNING"]
    assert left(tmp_path) == ["rows.pickle"]
    platform, system = platform_of(tmp_path), write_fleet(tmp_path / "systems")
    kept_bundle = bundle_of(platform, system, first)
    assert bundle_of(platform, system, second) == ""
    lines, _ = started(tmp_path).communicate("go on\n", timeout=120)
    trained = [line.split()[1] for line in lines.splitlines() if line.startswith("trained ")]
    assert sorted([first, *trained]) == sorted(MODELS)
    assert left(tmp_path) == []
    assert bundle_of(platform, system, first) == kept_bundle
    assert statuses(tmp_path) == ["FINISHED", "KILLED", "FINISHED", "FINISHED", "FINISHED"]
    assert [(row["model"], row["reason"]) for row in ended_with(platform, system, "trees")] == [(n, "") for n in MODELS]
    identity, _ = read_training_set(platform, system)
    inputs = inputs_hash(system, identity)
    assert [model.name for model in kept_models(platform, system, MODELS, inputs=inputs)] == list(MODELS)
    assert kept_models(platform, system, MODELS, inputs="of another declaration") == []
    with dg.DagsterInstance.ephemeral() as instance:
        assert materialised(system, platform, instance)
        event = instance.get_latest_materialization_event(dg.AssetKey(["ferries", "factory", "trees"]))
        assert event.asset_materialization.metadata["kept"].value == len(MODELS)
        assert len(statuses(tmp_path)) == 5, "a factory made again alone trains nothing"
        assert materialised(system, platform, instance, "comparison")
    assert kept_models(platform, system, MODELS, inputs=inputs) == []
