"""`reports/*` in the graph: what a report waits for, and which check it has."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from assets.system_reports import build_report
from tests.learn import ferries

CODE = ferries.CODE + "\n\ndef worst(answers, made):\n    return answers\n"
REPORT = "function: features:worst, tables: {answers: models/trees, made: source/arrivals}, description: Worst rows."


@pytest.mark.parametrize(("further", "checks"), [("", []), (", check: verdict", ["verdicts"])])
def test_a_report_waits_for_its_tables(tmp_path: Path, further: str, checks: list[str]) -> None:
    """One asset a report; a check only where one is declared."""
    declaration = ferries.DECLARATION.rstrip("\n") + f"\nreports:\n  worst: {{{REPORT}{further}}}\n"
    system = ferries.write_system(tmp_path, code=CODE, declaration=declaration)
    asset = build_report(system, "worst")
    assert asset.key == dg.AssetKey(["ferries", "reports", "worst"])
    assert {"/".join(key.path[1:]) for key in asset.asset_deps[asset.key]} == {"models/trees", "source/arrivals"}
    assert [key.name for key in asset.check_keys] == checks


def test_a_model_of_a_matrix_is_made_by_its_factory(tmp_path: Path) -> None:
    """A report on one of its models waits for the asset that makes all of them."""
    boosted = "{estimator: lightgbm.LGBMClassifier}"
    start = ferries.DECLARATION.index("    estimator: lightgbm")
    end = ferries.DECLARATION.index("evaluate:")
    matrix = f"    matrix: {{estimators: {{small: {boosted}, large: {boosted}}}}}\n"
    declaration = (ferries.DECLARATION[:start] + matrix + ferries.DECLARATION[end:]).rstrip("\n")
    declaration += f"\nreports:\n  worst: {{{REPORT.replace('models/trees', 'models/trees__small')}}}\n"
    system = ferries.write_system(tmp_path, code=CODE, declaration=declaration)
    asset = build_report(system, "worst")
    assert dg.AssetKey(["ferries", "factory", "trees"]) in asset.asset_deps[asset.key]
