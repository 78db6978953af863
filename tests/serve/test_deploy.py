"""Dashboard, alert rules and compose file: every query names a metric that the service has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from forecastle.serve import settings
from forecastle.serve.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
METRIC = re.compile(r"\bforecastle_\w+")


@pytest.fixture(scope="module")
def served() -> dict[str, set[str]]:
    """Names of all series of the service → label names, from its own registry."""
    found: dict[str, set[str]] = {}
    for family in Metrics()._registry.collect():
        names = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        metric = Metrics()._registry._names_to_collectors[family.name]
        for ending in names:
            found[family.name + ending] = {*metric._labelnames, *(["le"] if ending == "_bucket" else [])}
    return found


def expressions() -> list[str]:
    board = json.loads((DEPLOY / "grafana" / "forecastle.json").read_text())
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    queries += [variable["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    return queries + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def test_every_query_names_metrics_that_exist(served):
    """Each name in a query is a series of the service, and each metric of the service is shown somewhere."""
    used = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert used <= set(served)
    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in served}
    assert {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in used} == families


def test_every_metric_is_told_with_its_labels(served):
    """The table of docs/serving.md has a row for each metric of the service, and no other."""
    text = (DEPLOY.parent / "docs" / "serving.md").read_text()
    told = dict(re.findall(r"^\| `(forecastle_\w+)(?:\{(.*)\})?` \|", text, re.MULTILINE))
    labels = {re.sub(r"_(bucket|sum|count)$", "", name): known - {"le"} for name, known in served.items()}
    assert {name: set(filter(None, listed.split(","))) for name, listed in told.items()} == labels


def test_every_grouping_names_labels_that_exist(served):
    """`by (…)` names labels of the metric in the same query, or what Prometheus adds itself."""
    for expression in expressions():
        labels = {label for name in METRIC.findall(expression) for label in served[name]} | {"job", "instance"}
        for group in re.findall(r"by \(([^)]*)\)", expression):
            assert {part.strip() for part in group.split(",")} <= labels, expression


def test_panels_have_titles_and_places_of_their_own():
    """No two panels have one id or stand in one place; each says what it shows."""
    panels = json.loads((DEPLOY / "grafana" / "forecastle.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    assert all(panel["title"] and panel["description"] for panel in panels)


def test_every_alert_says_what_to_do():
    """A summary and a first step for each; page or warn as severity."""
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
    for rule in rules:
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook"]
        assert rule["labels"]["severity"] in {"page", "warn"}


def test_the_compose_file_sets_variables_that_the_service_reads():
    """Each FORECASTLE_ variable of the compose file stands in the service's own list."""
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    told = {name for name in services["service"]["environment"] if name.startswith("FORECASTLE_")}
    assert told <= set(re.findall(r"FORECASTLE_\w+", settings.__doc__ or ""))
    assert set(services["service"]["depends_on"]) <= set(services)
