"""Reports are refused when definitions load: tables that no asset makes, functions that take other arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from forecastle.contract.errors import ContractError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.report import kind_and_name
from tests.learn import ferries

CODE = (
    ferries.CODE + "\n\ndef worst(answers, *, least):\n    return answers\n\n\ndef picture(table):\n    return None\n"
)
WHOLE = "function: features:worst, tables: {answers: models/trees}, params: {least: 3}, description: Worst rows."


def load(folder: Path, report: str) -> LoadedSystem:
    declaration = ferries.DECLARATION.rstrip("\n") + f"\nreports:\n  worst: {{{report}}}\n"
    return ferries.write_system(folder, code=CODE, declaration=declaration)


def test_a_whole_report_is_taken(tmp_path: Path) -> None:
    """Its function takes tables and parameters by name, what draws it takes the table."""
    system = load(tmp_path, WHOLE + " draw: features:picture, check: verdict".replace(" draw", ", draw", 1))
    report = system.declaration.reports["worst"]
    assert report.tables == {"answers": "models/trees"}
    assert report.check == "verdict"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("models/trees", "models/treees", "table 'answers' is 'models/treees', which the system has not (did you mean"),
        ("models/trees", "sources/arrivals", "write source/NAME, features/NAME, models/NAME, training_set"),
        ("{least: 3}", "{answers: 3}", "parameter 'answers' has the name of a table"),
        ("{least: 3}", "{most: 3}", "worst takes no argument most"),
        ("{least: 3}", "{}", "worst wants the argument least"),
        ("features:worst", "features:wurst", "features.py has no function 'wurst' (did you mean 'worst'"),
        ("{answers: models/trees}", "{}", "tables"),
        (", description: Worst rows.", "", "description"),
        ("description: Worst rows.", "description: x, draw: features:pictur", "no function 'pictur'"),
        ("description: Worst rows.", "description: x, chek: verdict", "chek"),
    ],
)
def test_a_wrong_report_is_told(tmp_path: Path, old: str, new: str, says: str) -> None:
    """What is wrong, and what is there."""
    assert old in WHOLE
    with pytest.raises(ContractError) as found:
        load(tmp_path, WHOLE.replace(old, new))
    assert says in str(found.value)


@pytest.mark.parametrize(
    ("table", "expected"), [("source/arrivals", ("source", "arrivals")), ("training_set", ("training_set", None))]
)
def test_a_table_is_a_kind_and_a_name(table: str, expected: tuple[str, str | None]) -> None:
    """Kinds with one table have no name."""
    assert kind_and_name(table) == expected
