"""The decision rule that docs/serving.md shows is one that can be copied: its code, its declaration, its words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from forecastle.contract.decision import DecisionRule
from forecastle.contract.system import Decide
from forecastle.serve.refusal import STATUS_OF_CODE

TEXT = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
AT = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def credit() -> DecisionRule:
    """The rule of the page, declared and coded as it stands there."""
    (declared,) = re.findall(r"```yaml\n(decide:.*?)```", TEXT, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    decide = Decide.model_validate(yaml.safe_load(declared)["decide"])
    return DecisionRule("credit", decide.function, tuple(decide.inputs), dict(decide.params), code)


@pytest.mark.parametrize(
    ("probability", "debt_ratio", "action", "reasons"),
    [
        (0.01, 0.2, "accept", []),
        (0.01, 0.6, "refer", ["R03 debt ratio above one half"]),
        (0.01, None, "refer", ["R02 debt ratio unknown"]),
        (0.10, 0.2, "refer", ["R01 probability of default"]),
        (0.30, 0.6, "decline", ["R01 probability of default", "R03 debt ratio above one half"]),
    ],
)
def test_the_documented_rule_accepts_refers_and_declines(credit, probability, debt_ratio, action, reasons):
    """Each action with the reason codes that lead to it."""
    made = credit.decide(probability, {"debt_ratio": debt_ratio}, predict_at=AT)
    assert made == {"action": action, "reasons": reasons}


def test_every_code_stands_in_the_table_beside_its_status():
    """The page lists each refusal with the status that it is answered with."""
    listed = {}
    for statuses, codes in re.findall(r"^\| ([0-9, ]+) \| (`.*`.*) \|$", TEXT, re.MULTILINE):
        listed |= {code: {int(s) for s in statuses.split(",")} for code in re.findall(r"`(\w+)`", codes)}
    assert set(listed) == set(STATUS_OF_CODE)
    assert all(STATUS_OF_CODE[code] in statuses for code, statuses in listed.items())
