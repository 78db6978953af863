"""A system's own reports: its function is called with tables, and what it gives is held to the declaration."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from forecastle.contract.errors import LearnError
from forecastle.contract.load import LoadedSystem
from forecastle.learn.report import MadeReport, make_report
from tests.learn import ferries

ROWS = pd.DataFrame({"route": ["north", "south", "east"], "late": [0.1, 0.4, 0.2]})


def made(folder: Path, body: str, *, further: str = "", draw: str = "return None") -> MadeReport:
    code = f"{ferries.CODE}\n\ndef late(answers, *, most):\n    {body}\n\n\ndef picture(table):\n    {draw}\n"
    report = (
        f"function: features:late, tables: {{answers: models/trees}}, params: {{most: 0.3}}, description: x{further}"
    )
    declaration = ferries.DECLARATION.rstrip("\n") + f"\nreports:\n  late: {{{report}}}\n"
    system: LoadedSystem = ferries.write_system(folder, code=code, declaration=declaration)
    return make_report(system, "late", {"answers": ROWS})


JUDGED = "return answers.assign(verdict=['PASS' if value <= most else 'FAIL' for value in answers.late])"


def test_a_fail_fails_the_check_with_its_row(tmp_path: Path) -> None:
    """0.4 is above 0.3: one of three rows fails, and says which."""
    report = made(tmp_path, JUDGED, further=", check: verdict")
    assert report.is_passed is False
    assert report.judged == 3
    assert report.reasons == ("route south, late 0.4",)


def test_what_is_not_judged_does_not_fail(tmp_path: Path) -> None:
    """A verdict may be null."""
    report = made(tmp_path, "return answers.assign(verdict=[None, 'PASS', None])", further=", check: verdict")
    assert (report.is_passed, report.judged, report.reasons) == (True, 1, ())


def test_without_a_check_nothing_is_judged(tmp_path: Path) -> None:
    """The table alone."""
    report = made(tmp_path, "return answers.iloc[::-1]")
    assert report.is_passed is None
    assert report.figure is None
    assert list(report.table["route"]) == ["east", "south", "north"]
    assert list(report.table.index) == [0, 1, 2]


def test_a_picture_is_drawn_from_the_table(tmp_path: Path) -> None:
    """What draws is given the table that the function made."""
    draw = "from matplotlib.figure import Figure; return Figure(figsize=(len(table), 1))"
    report = made(tmp_path, "return answers", further=", draw: features:picture", draw=draw)
    assert isinstance(report.figure, Figure)
    assert report.figure.get_figwidth() == 3


@pytest.mark.parametrize(
    ("body", "further", "says"),
    [
        ("return answers.wind", "", "features:late of 'ferries' fails: AttributeError"),
        ("return 3", "", "features:late gives int; a pandas table with rows is needed"),
        ("return answers.head(0)", "", "gives an empty table"),
        ("return answers", ", check: verdict", "has no column 'verdict' to check; it has route, late"),
        ("return answers.assign(verdict='OK')", ", check: verdict", "verdict holds OK; FAIL, PASS or null is allowed"),
        ("return answers", ", draw: features:picture", "picture of features.py gives NoneType; return a Figure"),
    ],
)
def test_what_is_no_report_is_told(tmp_path: Path, body: str, further: str, says: str) -> None:
    """Which report, what it gave, what is needed."""
    with pytest.raises(LearnError) as found:
        made(tmp_path, body, further=further)
    assert says in str(found.value)
