"""Approval as the Dagster UI asks for it: GraphQL to the real web application, which launches a run of its own."""

from __future__ import annotations

import asyncio
import shutil
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
import yaml
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from starlette.applications import Starlette

from assets.instance import SETTINGS
from forecastle.store.home import Home
from tests.assets.test_promotion import home, platform_of  # noqa: F401  a fixture
from tests.learn.conftest import Built, built, frame, mlflow, system  # noqa: F401  fixtures

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("graph")]

OURS = yaml.safe_load(SETTINGS.read_text())
LAUNCH = """
mutation($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""


@dataclass(frozen=True)
class Web:
    """Dagster's web application, its instance with our settings, and what its daemon sees."""

    app: Starlette
    instance: dg.DagsterInstance
    context: WorkspaceProcessContext


@pytest.fixture
def web(
    built: Built,  # noqa: F811
    home: Home,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Web]:
    """Dagster's web application over a code server that has the ferries' promotion."""
    from dagster._core.workspace.load_target import ModuleTarget
    from dagster_webserver.app import create_app_from_workspace_process_context

    assert home.root == tmp_path / "home"
    shutil.copytree(built.system.folder, tmp_path / "systems" / "ferries")
    (tmp_path / "dagster").mkdir()
    monkeypatch.setenv("FERRIES_FOLDER", str(tmp_path))
    module = "tests.assets.approval_definitions"
    target = ModuleTarget(module, attribute="defs", working_directory=None, location_name="ferries")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (
            dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides=OURS) as instance,
            WorkspaceProcessContext(instance, workspace_load_target=target) as context,
        ):
            yield Web(create_app_from_workspace_process_context(context), instance, context)


def dequeue(web: Web) -> None:
    """One look of Dagster's daemon at its queue."""
    with QueuedRunCoordinatorDaemon(interval_seconds=1) as daemon:
        for _ in daemon.run_iteration(web.context):
            pass


def ended(web: Web, run_id: str) -> dg.DagsterRunStatus:
    """How a run ended that was taken from the queue."""
    dequeue(web)
    over = threading.Event()
    for _ in range(600):
        run = web.instance.get_run_by_id(run_id)
        if run is not None and run.is_finished:
            return run.status
        over.wait(0.1)
    raise AssertionError(f"run {run_id} did not end in a minute")


async def asked(app: Starlette, body: dict[str, Any]) -> dict[str, Any]:
    """What the application answers to one GraphQL request."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        answer: dict[str, Any] = (await client.post("/graphql", json=body, timeout=60)).json()
    return answer


def launched(web: Web, config: dict[str, Any] | None = None, *, asset: str = "promotion") -> str:
    """The id of the run that the UI's launchpad queues for an asset with this configuration."""
    params = {
        "selector": {
            "repositoryLocationName": "ferries", "repositoryName": "__repository__", "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": ["ferries", asset]}],
        },
        "runConfigData": {"ops": {f"ferries__{asset}": {"config": config}}} if config else {},
    }  # fmt: skip
    answer = asyncio.run(asked(web.app, {"query": LAUNCH, "variables": {"params": params}}))
    assert answer["data"]["launchRun"]["__typename"] == "LaunchRunSuccess", answer
    return str(answer["data"]["launchRun"]["run"]["runId"])


def test_a_person_approves_through_the_web_server_while_runs_train(
    built: Built,  # noqa: F811
    home: Home,  # noqa: F811
    web: Web,
) -> None:
    """Two runs are at work, so a third of their kind stays in the queue; approvals behind it are taken at once.

    Nobody's name fails its run and promotes nothing; Ann's makes the waiting bundle champion, with her words.
    """
    registry = platform_of(home).registry()
    # Before the first look at a pool Dagster knows no limit of it.
    assert ended(web, launched(web, asset="alerts")) is dg.DagsterRunStatus.SUCCESS
    for _ in range(2):
        run = web.instance.get_run_by_id(launched(web, asset="alerts"))
        assert run is not None
        # As a run says of itself while it works; a process of its own would have to be kept waiting.
        web.instance.run_storage.handle_run_event(run.run_id, started(run))
    third = launched(web, asset="alerts")
    assert ended(web, launched(web, {"approved_by": "root"})) is dg.DagsterRunStatus.FAILURE
    assert registry.champion("ferries") is None
    config = {"approved_by": "ann@example.org", "bundle": built.model.bundle[:12], "reason": "read the card"}
    assert ended(web, launched(web, config)) is dg.DagsterRunStatus.SUCCESS
    waiting = web.instance.get_run_by_id(third)
    assert waiting is not None
    assert waiting.status is dg.DagsterRunStatus.QUEUED
    champion = registry.champion("ferries")
    assert champion is not None
    assert (champion.bundle, champion.approved_by) == (built.model.bundle, "ann@example.org")
    assert champion.reason == "read the card"


def started(run: dg.DagsterRun) -> dg.DagsterEvent:
    """The event with which a run begins."""
    return dg.DagsterEvent(event_type_value=dg.DagsterEventType.PIPELINE_START.value, job_name=run.job_name)
