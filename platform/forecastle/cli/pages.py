"""Proof that the pages of a started stack show what was made: asked as a browser would, not assumed.

Belongs here: the questions put to Dagster's and MLflow's servers, and what counts as an answer.
Does not belong here: starting servers (`up.py`), the prediction service (`demo.py`).
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Final

from forecastle.contract.errors import ForecastleError

_ASSETS: Final = """
{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus
    locationOrLoadError { __typename ... on PythonError { message } } } } }
  assetNodes { assetKey { path } assetMaterializations(limit: 1) { runId } } }
"""


def prove_dagster(url: str, system: str) -> int:
    """How many assets of a system the Dagster UI shows, every one of them materialised.

    Raises:
        ForecastleError: definitions did not load, or an asset is missing or was never made.
    """
    found = ask(f"{url}/graphql", {"query": _ASSETS})["data"]
    for entry in found["workspaceOrError"]["locationEntries"]:
        if entry["locationOrLoadError"]["__typename"] != "RepositoryLocation":
            error = entry["locationOrLoadError"].get("message", "no reason given")
            raise ForecastleError(f"Dagster could not load {entry['name']}: {error}")
    nodes = [node for node in found["assetNodes"] if node["assetKey"]["path"][0] == system]
    never = ["/".join(node["assetKey"]["path"]) for node in nodes if not node["assetMaterializations"]]
    if never or not nodes:
        listed = ", ".join(never) or "none"
        raise ForecastleError(
            f"Dagster shows {len(nodes)} assets of {system}; never made: {listed}; `forecastle run {system}` makes them"
        )
    return len(nodes)


def prove_mlflow(url: str, system: str, run_id: str) -> str:
    """The name of a run as MLflow's server tells it.

    Raises:
        ForecastleError: the server does not know the run, or it did not finish.
    """
    run = ask(f"{url}/api/2.0/mlflow/runs/get?run_id={run_id}")["run"]
    if run["info"]["status"] != "FINISHED":
        raise ForecastleError(f"MLflow says that run {run_id} of {system} is {run['info']['status']}")
    return str(run["info"]["run_name"])


def ask(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """JSON from a server of ours: GET, or POST when there is a body.

    Raises:
        ForecastleError: the server refuses or cannot be reached.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310  loopback
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  loopback
            found: dict[str, Any] = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise ForecastleError(f"{url} answered {error.code}: {error.read().decode(errors='replace')[:500]}") from error
    except OSError as error:
        raise ForecastleError(f"{url} cannot be reached: {error}") from error
    return found
