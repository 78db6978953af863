"""The page of statistics names every public function of the room, and only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from tests.measure.public_functions import public_functions

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| `")]


def test_every_public_function_is_documented_once():
    """First cells of the tables together are the public functions of `measure`."""
    named = [name for row in ROWS for name in re.findall(r"`([a-z_]+\.[a-z0-9_]+)`", row.split("|")[1])]
    assert sorted(named) == sorted(public_functions())


def test_every_named_test_exists():
    """The last cell of a row names tests that stand in `tests/measure`."""
    known = {
        name
        for file in (ROOT / "tests" / "measure").glob("test_*.py")
        for name in re.findall(r"^def test_([a-z0-9_]+)", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    named = {name for row in ROWS for name in re.findall(r"`([a-z0-9_]+)`", row.split("|")[4])}
    assert named - known - {"shin", "implied", "forecast", "rms", "reliabilitydiag", "calibrationband"} == set()


def test_every_row_names_a_test():
    """No statistic stands without something that holds it."""
    assert [row for row in ROWS if "`" not in row.split("|")[4].replace("`shin`", "")] == []
