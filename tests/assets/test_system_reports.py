"""`reports/*` in the graph: what a report waits for, and which check it has."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from assets.factory import build_system
from tests.learn import ferries

CODE = ferries.CODE + "\n\ndef worst(answers, made):\n    return answers\n"
REPORT = "function: features:worst, tables: {answers: models/trees, made: source/arrivals}, description: Worst rows."


@pytest.mark.parametrize(("further", "checks"), [("", []), (", check: verdict", ["verdicts"])])
def test_a_report_waits_for_its_tables(tmp_path: Path, further: str, checks: list[str]) -> None:
    """One asset a report; a check only where one is declared."""
    declaration = ferries.DECLARATION.rstrip("\n") + f"\nreports:\n  worst: {{{REPORT}{further}}}\n"
    system = ferries.write_system(tmp_path, code=CODE, declaration=declaration)
    graph = build_system(system).resolve_asset_graph()
    node = graph.get(dg.AssetKey(["ferries", "reports", "worst"]))
    assert {key.path[1] + "/" + key.path[2] for key in node.parent_keys} == {"models/trees", "source/arrivals"}
    assert [key.name for key in node.check_keys] == checks


def test_a_model_of_a_matrix_is_made_by_its_factory(tmp_path: Path) -> None:
    """A report on one of its models waits for the asset that makes all of them."""
    one = "estimator: lightgbm.LGBMClassifier\n"
    matrix = "matrix: {estimators: {small: {estimator: lightgbm.LGBMClassifier}, large: {estimator: lightgbm.LGBMClassifier}}}\n"
    declaration = ferries.DECLARATION.replace(one, matrix).rstrip("\n")
    declaration += f"\nreports:\n  worst: {{{REPORT.replace('models/trees', 'models/trees__small')}}}\n"
    system = ferries.write_system(tmp_path, code=CODE, declaration=declaration)
    graph = build_system(system).resolve_asset_graph()
    node = graph.get(dg.AssetKey(["ferries", "reports", "worst"]))
    assert dg.AssetKey(["ferries", "factory", "trees"]) in node.parent_keys
