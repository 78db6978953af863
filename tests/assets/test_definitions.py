"""The composition root loads, from anywhere, and the graph is the one that was promised."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.definitions import defs
from tests.assets.golden_graph import GOLDEN, REWRITE, built_in_definitions, graph, text

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    """Definitions of the systems that ship with the platform."""
    return built_in_definitions()


def test_the_composition_root_is_loadable() -> None:
    """No key twice, no resource missing, every job resolves; and a second call gives the same graph."""
    dg.Definitions.validate_loadable(defs())
    assert graph(defs()) == graph(defs())


def test_the_graph_is_the_golden_one(definitions: dg.Definitions) -> None:
    """Keys, dependencies, owners, freshness, checks, jobs, schedules and sensors change only on purpose."""
    golden, found = GOLDEN.read_text().splitlines(), text(definitions).splitlines()
    changes = "\n".join(difflib.unified_diff(golden, found, "promised", "found", lineterm="", n=4))
    assert golden == found, f"the asset graph changed; if that was meant: {REWRITE}\n{changes}"


def test_every_asset_says_who_owns_it_what_it_is_and_how_fresh_it_must_be(definitions: dg.Definitions) -> None:
    """An asset without owner, kind, description or freshness is nobody's, and its age nobody's business."""
    nodes = definitions.resolve_asset_graph()
    silent = [
        key.to_user_string()
        for key in nodes.get_all_asset_keys()
        if not (nodes.get(key).owners and nodes.get(key).kinds and nodes.get(key).description)
    ]
    assert silent == []
    freshness = {
        key: (asset["freshness_warn_seconds"], asset["freshness_fail_seconds"])
        for key, asset in graph(definitions)["assets"].items()
    }
    assert all(60 <= warn < fail for warn, fail in freshness.values()), freshness


def test_a_system_is_one_group_under_its_own_prefix(definitions: dg.Definitions) -> None:
    """No asset of one system depends on another system's."""
    for key, asset in graph(definitions)["assets"].items():
        assert key.split("/")[0] == asset["group"]
        assert all(dep.split("/")[0] == asset["group"] for dep in asset["deps"])


def test_every_source_leads_to_the_bento(definitions: dg.Definitions) -> None:
    """What is raw today is in an answer tomorrow: each feature path ends in the packed champion."""
    assets = graph(definitions)["assets"]

    def before(key: str) -> set[str]:
        return {key}.union(*(before(dep) for dep in assets[key]["deps"]))

    for bento in (key for key in assets if key.endswith("/bento")):
        system = bento.split("/")[0]
        views = {key for key in assets if key.startswith(f"{system}/features/")}
        assert views | {f"{system}/training_set", f"{system}/comparison", f"{system}/promotion"} <= before(bento)
        stages = {key.split("/")[1] for key in before(bento)}
        assert stages >= {"source", "features"}
        assert "factory" in stages or stages >= {"models", "evaluation"}, "a matrix is made by its factory"


def test_the_checks_that_guard_serving_block(definitions: dg.Definitions) -> None:
    """A leak and a bundle that does not give its golden rows stop everything after them."""
    blocking = {
        (key, check)
        for key, asset in graph(definitions)["assets"].items()
        for check, facts in asset["checks"].items()
        if facts["blocking"]
    }
    assert ("prediction_markets/training_set", "leakage") in blocking
    assert ("prediction_markets/models/lightgbm", "bundle_loads") in blocking


@pytest.mark.slow
def test_the_workspace_loads_from_any_working_directory(tmp_path: Path) -> None:
    """`dagster definitions validate` finds the definitions by the workspace file's own place, not by ours."""
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(ROOT / "workspace.yaml")]
    names = ("FORECASTLE_SYSTEMS", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"DAGSTER_HOME": str(tmp_path), "FORECASTLE_HOME": str(tmp_path / "home"), "DO_NOT_TRACK": "1"}
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All code locations passed validation" in done.stdout + done.stderr
