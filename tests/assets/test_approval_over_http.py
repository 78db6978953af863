"""Approval as the Dagster UI asks for it: GraphQL to the real web application, which launches a run of its own."""

from __future__ import annotations

import asyncio
import shutil
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from starlette.applications import Starlette

from forecastle.store.home import Home
from tests.assets.test_promotion import home, platform_of  # noqa: F401  a fixture
from tests.learn.conftest import Built, built, frame, mlflow, system  # noqa: F401  fixtures

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("graph")]

# Dagster's daemon would take runs from its queue; here nobody does.
WITHOUT_A_QUEUE = {"run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"}}
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


@pytest.fixture
def web(
    built: Built,  # noqa: F811
    home: Home,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Starlette, dg.DagsterInstance]]:
    """Dagster's web application over a code server that has the ferries' promotion, and its instance."""
    from dagster._core.workspace.context import WorkspaceProcessContext
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
            dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides=WITHOUT_A_QUEUE) as instance,
            WorkspaceProcessContext(instance, workspace_load_target=target) as context,
        ):
            yield create_app_from_workspace_process_context(context), instance


def ended(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    """How a launched run ended."""
    over = threading.Event()
    for _ in range(600):
        run = instance.get_run_by_id(run_id)
        if run is not None and run.is_finished:
            return run.status
        over.wait(0.1)
    raise AssertionError(f"run {run_id} did not end in a minute")


async def asked(app: Starlette, body: dict[str, Any]) -> dict[str, Any]:
    """What the application answers to one GraphQL request."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        answer: dict[str, Any] = (await client.post("/graphql", json=body, timeout=60)).json()
    return answer


def launched(app: Starlette, config: dict[str, Any]) -> str:
    """The id of the run that the UI's launchpad starts for `promotion` with this configuration."""
    params = {
        "selector": {
            "repositoryLocationName": "ferries", "repositoryName": "__repository__", "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": ["ferries", "promotion"]}],
        },
        "runConfigData": {"ops": {"ferries__promotion": {"config": config}}},
    }  # fmt: skip
    answer = asyncio.run(asked(app, {"query": LAUNCH, "variables": {"params": params}}))
    assert answer["data"]["launchRun"]["__typename"] == "LaunchRunSuccess", answer
    return str(answer["data"]["launchRun"]["run"]["runId"])


def test_a_person_approves_through_the_web_server(
    built: Built,  # noqa: F811
    home: Home,  # noqa: F811
    web: tuple[Starlette, dg.DagsterInstance],
) -> None:
    """Nobody's name fails the run and promotes nothing; Ann's makes the waiting bundle champion, with her words."""
    app, instance = web
    registry = platform_of(home).registry()
    assert ended(instance, launched(app, {"approved_by": "root"})) is dg.DagsterRunStatus.FAILURE
    assert registry.champion("ferries") is None
    config = {"approved_by": "ann@example.org", "bundle": built.model.bundle[:12], "reason": "read the card"}
    assert ended(instance, launched(app, config)) is dg.DagsterRunStatus.SUCCESS
    champion = registry.champion("ferries")
    assert champion is not None
    assert (champion.bundle, champion.approved_by) == (built.model.bundle, "ann@example.org")
    assert champion.reason == "read the card"
