"""The started stack: answers, traces, refusals of what comes from elsewhere, and a clean end."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import First
from tests.e2e.stack import Stack, all_ended, forecastle, question, started

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

DAGSTER, MLFLOW, SERVICE = "Dagster UI", "MLflow UI", "prediction service"
NODES = {"query": "{ assetNodes { assetKey { path } } }"}


def test_an_answer_is_traced_to_the_same_number(stack: Stack) -> None:
    """Ask over HTTP, trace by the command line: probability, bundle, MLflow run and training set agree."""
    status, body = stack.ask(SERVICE, "POST", "/predict", question(stack.text))
    assert status == 200, body
    answer = json.loads(body)
    done = forecastle(stack.home, "trace", answer["prediction_id"], "--json")
    assert done.returncode == 0, done.stderr
    traced = json.loads(done.stdout)
    assert traced["probability"] == traced["recomputed"] == answer["probability"]
    assert traced["same_number"] is True
    assert traced["bundle"]["hash"] == answer["model"]["bundle"]
    assert traced["bundle"]["feature_set"] == answer["model"]["feature_set"]
    assert traced["mlflow_run"]["status"] == "FINISHED"
    assert traced["training_set"]["content_hash"] == traced["bundle"]["facts"]["training_set_hash"]
    assert traced["promotion"]["model_version"] == answer["model"]["version"]
    for name, feature in answer["features"].items():
        assert traced["features"][name]["value"] == feature["value"]
    quotes = [rows for rows in traced["source_rows"] if rows["source"] == "quotes" and rows["view"] == "market_quotes"]
    assert quotes[0]["rows"] > 0
    newest = quotes[0]["newest"][0]
    assert newest["mid"] == question(stack.text)["entity"]["market_id"]
    assert newest["value"] == answer["features"]["market_price"]["value"]


def test_the_operators_own_page_may_ask_dagster(stack: Stack) -> None:
    """Exact JSON from the page's own origin, and no origin at all, as curl sends it."""
    own = f"http://127.0.0.1:{stack.port(DAGSTER)}"
    for headers in ({}, {"origin": own}):
        status, body = stack.ask(DAGSTER, "POST", "/graphql", NODES, **headers)
        assert status == 200
        paths = ["/".join(node["assetKey"]["path"]) for node in json.loads(body)["data"]["assetNodes"]]
        assert "prediction_markets/bento" in paths


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/graphql", NODES, {"origin": "https://evil.example"}, 403),
        ("POST", "/graphql", NODES, {"host": "evil.example:3001"}, 403),
        ("GET", "/graphql?query=%7Bversion%7D", None, {}, 403),
        ("POST", "/graphql", b'{"query":"{version}"}', {"content_type": "text/plain"}, 415),
        ("POST", "/report_asset_materialization/prediction_markets/bento", b"", {}, 415),
        ("GET", "/", None, {"origin": "https://evil.example"}, 403),
    ],
)
def test_dagster_refuses_what_other_pages_could_send(
    stack: Stack, *, method: str, path: str, body: object, headers: dict[str, str], status: int
) -> None:
    """The real web server behind the guard: no answer and no effect."""
    found, text = stack.ask(DAGSTER, method, path, body, **headers)
    assert found == status, text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5001"])
def test_mlflow_refuses_other_host_names(stack: Stack, host: str) -> None:
    """Its own middleware does, as long as nobody switches it off."""
    assert stack.ask(MLFLOW, "GET", "/api/2.0/mlflow/experiments/search?max_results=1", host=host)[0] in {400, 403}


def test_nothing_listens_beyond_loopback(stack: Stack) -> None:
    """Every listening socket of every process of the stack is bound to 127.0.0.1, ::ffff:127.0.0.1 or ::1."""
    inodes = {link for pid in stack.descendants() for link in sockets(pid)}
    listening = {
        fields[1].rpartition(":")[0]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[9] in inodes
    }
    assert listening
    assert listening <= {"0100007F", "0" * 16 + "FFFF00000100007F", "0" * 24 + "01000000"}


def sockets(pid: int) -> set[str]:
    """Inodes of a process's sockets; none when it ended meanwhile."""
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except FileNotFoundError:
        pass
    return found


@pytest.mark.parametrize(
    ("features", "names"),
    [
        ({"market_price": 1.5}, ("market_price", "max")),
        ({"market_price": "0.5"}, ("market_price", "dtype")),
        ({"market_prize": 0.5}, ("market_prize", "unknown")),
    ],
)
def test_a_value_that_breaks_the_contract_is_refused_and_not_logged(
    stack: Stack, features: dict[str, object], names: tuple[str, ...]
) -> None:
    """A 4xx that names feature and rule; the log has as many predictions as before."""
    before = logged(stack)
    status, body = stack.ask(SERVICE, "POST", "/predict", {**question(stack.text), "features": features})
    assert 400 <= status < 500
    assert [name for name in names if name not in body.decode()] == []
    assert logged(stack) == before


def logged(stack: Stack) -> float:
    """How many predictions the service says it has answered."""
    text = stack.ask(SERVICE, "GET", "/metrics")[1].decode()
    return sum(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith("forecastle_predictions")
    )


def test_up_ends_with_every_process_it_started(first: First, stack: Stack) -> None:
    """Beside a running stack on other ports; after SIGTERM no child, no grandchild is left, and the status is 0."""
    with started(first.home, "up", "prediction_markets") as second:
        assert {second.port(name) for name in (DAGSTER, MLFLOW, SERVICE)}.isdisjoint(
            {stack.port(name) for name in (DAGSTER, MLFLOW, SERVICE)}
        )
        children = second.descendants()
        assert len(children) >= 5
        descriptors = [os.pidfd_open(pid) for pid in children]
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(60) == 0
        assert all_ended(descriptors, within_seconds=5)
    assert stack.ask(SERVICE, "GET", "/readyz")[0] == 200, "the other stack goes on"
