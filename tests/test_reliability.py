"""docs/reliability.md promises a test for each fault: every one that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
ROWS = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \d+ \|", line)]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"row {row.split('|')[1].strip()}")
def test_every_row_has_tests_that_exist(row: str) -> None:
    """A row without a test, or with one that was renamed or removed, is a promise nobody keeps."""
    named = NAMED.findall(row)
    assert named, "name the tests of this fault as `tests/….py::test_…`"
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text())
        found = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name), None)
        assert found is not None, f"{file} has no {name}"
        assert any(isinstance(node, ast.Assert | ast.With) for node in ast.walk(found)), f"{name} asserts nothing"


def test_rows_are_numbered_once() -> None:
    """Each fault stands in one place."""
    numbers = [int(row.split("|")[1]) for row in ROWS]
    assert numbers == sorted(set(numbers))
    assert set(range(1, 10)) <= set(numbers)
