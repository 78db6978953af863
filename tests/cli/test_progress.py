"""Progress drawn from lines of JSON: what was made, what failed and why, what checks had to say."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from forecastle.cli.progress import draw, materialise

EVENTS = [
    {"event": "planned", "assets": ["toy__source__rain", "toy__training_set"]},
    {"event": "started", "asset": "toy__source__rain"},
    {"event": "check", "asset": "toy/source/rain", "check": "contract", "severity": "WARN", "message": "3 rows"},
    {"event": "made", "asset": "toy__source__rain", "seconds": 0.126},
    {"event": "started", "asset": "toy__training_set"},
    {"event": "check", "asset": "toy/training_set", "check": "leakage", "severity": "ERROR", "message": "2 differ"},
    {"event": "failed", "asset": "toy__training_set", "message": "column value: expected float64, found [VARCHAR]"},
]


def paper() -> Console:
    """A console without colours or a terminal."""
    return Console(file=io.StringIO(), width=120, no_color=True, force_terminal=False)


def text(console: Console) -> list[str]:
    """The lines that stayed on it."""
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_every_event_that_matters_leaves_a_line() -> None:
    """In the order in which they came; names as the UI writes them."""
    console = paper()
    assert draw(EVENTS, console=console) == 1
    assert text(console) == [
        "! toy/source/rain contract: 3 rows",
        "✓ toy/source/rain 0.13 s",
        "! toy/training_set leakage: 2 differ",
        "✗ toy/training_set",
        "  column value: expected float64, found [VARCHAR]",
    ]


def test_nothing_happening_is_no_failure() -> None:
    """No events, no lines; events of kinds that are not known yet are passed over."""
    console = paper()
    assert draw([], console=console) == 0
    assert draw([{}, {"event": "news"}], console=console) == 0
    assert text(console) == []


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which `python -m assets.run` is a program of the test's, kept in `assets/run.py`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "__init__.py").write_text("")
    return {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize(
    ("ending", "expected", "says"),
    [
        ("", True, "✓ toy/source/rain"),
        ("sys.exit(1)", False, "the run ended with status 1"),
        ("raise SystemError('no memory')", False, "the run ended with status 1: SystemError: no memory"),
        ("os.kill(os.getpid(), 9)", False, "the run ended by signal SIGKILL (too little memory?)"),
    ],
)
def test_true_means_that_the_child_ended_well(
    child: dict[str, str], tmp_path: Path, *, ending: str, expected: bool, says: str
) -> None:
    """Lines that are no JSON are not drawn; a child that dies without a word is told with its log."""
    made = json.dumps(EVENTS[3])
    (tmp_path / "assets" / "run.py").write_text(
        f"import os, sys\nprint('a library talks')\nprint({made!r}, flush=True)\n{ending}\n"
    )
    console = paper()
    assert materialise("toy", environment=child, logs=tmp_path / "logs", console=console) is expected
    said = "\n".join(text(console))
    assert says in said
    assert "a library talks" not in said
    assert "Traceback" not in said
