"""The process behind `forecastle run`: one line of JSON an event, an exit status that can be trusted."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from assets import run
from assets.describe import POOL
from assets.instance import SETTINGS, fail_dead_runs, in_use, mend, opened, prepare_instance
from tests.assets.conftest import Made
from tests.assets.world import NAME, World

pytestmark = pytest.mark.xdist_group("graph")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    """The events on standard output."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_unknown_system_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2 and the name, before anything is made."""
    assert run.main(["predictoin_markets"]) == 2
    assert lines(capsys) == [{"event": "failed", "message": "there is no system 'predictoin_markets'"}]


def test_records_that_cannot_be_written_are_one_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A disk that is full, or here a file where the instance's folder should be: a sentence and an exit status."""
    (tmp_path / "dagster").touch()
    monkeypatch.setenv("FORECASTLE_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    assert run.main(["mlb"]) == 3
    planned, failed = lines(capsys)
    assert planned["event"] == "planned"
    assert failed["message"].startswith("Dagster's records cannot be written: ")
    assert "look at the free space of the home folder" in failed["message"]


@pytest.mark.parametrize("arguments", [[], ["a", "2026-01-05", "b"]])
def test_exactly_one_system_is_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is answered with how to write it."""
    assert run.main(arguments) == 2
    assert "python -m assets.run SYSTEM" in lines(capsys)[0]["message"]


def test_a_failure_is_one_event_with_the_refusals_sentence(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No source file anywhere: each source that is not optional says so, and what stands after it is not started."""
    world = replace(made.world, data=tmp_path, home=tmp_path / "home")
    job = world.definitions.resolve_job_def(f"{NAME}_refresh")
    with dg.DagsterInstance.ephemeral() as instance:
        assert run.run(job, instance) is False
    events = lines(capsys)
    graph = world.definitions.resolve_asset_graph()
    sources = {n: s for n, s in world.system.declaration.sources.items() if not s.optional}
    required = {name for name in sources if not graph.get(dg.AssetKey([NAME, "source", name])).parent_keys}
    failed = {event["asset"]: event["message"] for event in events if event["event"] == "failed" and event["asset"]}
    assert {f"{NAME}__source__{name}" for name in required} <= set(failed)
    assert "no file matches ${DATA}/prediction_markets/quotes.parquet" in failed[f"{NAME}__source__quotes"]
    started = {event["asset"].removeprefix(f"{NAME}__") for event in events if event["event"] == "started"}
    assert not [asset for asset in started if asset.startswith(("features", "training_set", "models", "bento"))]


def test_a_run_that_works_tells_each_asset_and_check(copied: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Started and made with its seconds; checks that did not pass are told, those that did are not."""
    selection = [dg.AssetKey([NAME, "source", "markets"])]
    job = dg.define_asset_job("sources", selection=selection, executor_def=dg.in_process_executor)
    definitions = dg.Definitions.merge(copied.definitions, dg.Definitions(jobs=[job]))
    with dg.DagsterInstance.ephemeral() as instance:
        assert run.run(definitions.resolve_job_def("sources"), instance) is True
    events = lines(capsys)
    asset = f"{NAME}__source__markets"
    assert [event["event"] for event in events if event["asset"] == asset] == ["started", "made"]
    assert all(event["seconds"] >= 0 for event in events if event["event"] == "made")
    told = [(event["asset"], event["check"], event["severity"]) for event in events if event["event"] == "check"]
    assert told == [("prediction_markets/source/markets", "contract", "WARN")]


def test_an_instance_gets_our_settings_once(tmp_path: Path) -> None:
    """Telemetry off and limits on from the first start; what somebody changed later is theirs."""
    folder = prepare_instance(tmp_path / "dagster")
    settings = folder / "dagster.yaml"
    assert settings.read_bytes() == SETTINGS.read_bytes()
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        assert instance.telemetry_enabled is False
        assert instance.nux_enabled is False
    settings.write_text("telemetry: {enabled: false}\n")
    assert prepare_instance(folder) == folder
    assert settings.read_text() == "telemetry: {enabled: false}\n"


def test_runs_that_a_power_cut_left_started_are_failed(tmp_path: Path) -> None:
    """Those that say STARTED, STARTING or CANCELING; finished and waiting ones stay as they are."""
    job = dg.define_asset_job("nothing")
    definitions = dg.Definitions(assets=[dg.AssetSpec("a")], jobs=[job])
    resolved = definitions.resolve_job_def("nothing")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        statuses = ["STARTED", "STARTING", "CANCELING", "SUCCESS", "FAILURE", "NOT_STARTED"]
        runs = {s: instance.create_run_for_job(resolved, status=dg.DagsterRunStatus(s)).run_id for s in statuses}
        dead = fail_dead_runs(instance)
        assert set(dead) == {runs["STARTED"], runs["STARTING"], runs["CANCELING"]}
        now = {status: instance.get_run_by_id(run_id).status.value for status, run_id in runs.items()}
        assert now == {s: "FAILURE" if runs[s] in dead else s for s in statuses}
        assert fail_dead_runs(instance) == []


def test_nothing_is_mended_while_somebody_uses_the_instance(tmp_path: Path) -> None:
    """A run that is really going says STARTED too: only when nobody holds the instance is it dead."""
    job = dg.define_asset_job("nothing")
    resolved = dg.Definitions(assets=[dg.AssetSpec("a")], jobs=[job]).resolve_job_def("nothing")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run_id = instance.create_run_for_job(resolved, status=dg.DagsterRunStatus.STARTED).run_id
        with in_use(tmp_path), in_use(tmp_path):
            assert mend(instance, tmp_path) == []
        assert mend(instance, tmp_path) == [run_id]


def test_first_openings_at_once_make_one_storage(tmp_path: Path) -> None:
    """Four threads with a file lock each, as four processes: one stamp in each storage, and it opens again."""
    folder = prepare_instance(tmp_path / "dagster")

    def beats() -> int:
        with opened(folder) as instance:
            return len(instance.get_daemon_heartbeats())

    with ThreadPoolExecutor(4) as pool:
        assert [f.result() for f in [pool.submit(beats) for _ in range(4)]] == [0, 0, 0, 0]
    for path in (folder / "history" / "runs.db", folder / "schedules" / "schedules.db"):
        with closing(sqlite3.connect(path)) as storage:
            assert storage.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def test_a_new_instance_knows_its_pool_before_anything_is_queued(tmp_path: Path) -> None:
    """Two runs that make rows or models and one that only promotes, from the daemon's first look on."""
    with opened(prepare_instance(tmp_path / "dagster")) as instance:
        assert instance.event_log_storage.get_concurrency_keys() == {POOL}
        assert instance.event_log_storage.get_concurrency_info(POOL).slot_count == 2
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 3
