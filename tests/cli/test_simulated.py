"""The log of a simulated month as a person reads it, and what is refused before one begins."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from forecastle.cli.simulated import lines, plan, show, table
from forecastle.contract.errors import ForecastleError

AT = "2026-06-09T06:00:00+00:00"
VERDICT = {
    "seed": 7, "alerts": 3,
    "event": "verdict", "story": "unit", "since": "2026-06-08T13:00:00+00:00",
    "detected_at": "2026-06-08T17:05:00+00:00", "to_detect_seconds": 14_700.0,
    "past_window_seconds": None, "cause": "units", "asset": "bank/source/loans",
    "message": "said", "right": True, "reasons": [],
}  # fmt: skip


def printed(*events: dict) -> str:
    """Events as they stand on a wide terminal without colours."""
    text = io.StringIO()
    console = Console(file=text, width=200, color_system=None)
    for event in events:
        show(event, console=console)
    return text.getvalue()


def test_a_day_is_told_in_order_with_its_reasons():
    """What was refused, trained, promoted and alerted, each with why."""
    ran = {"event": "ran", "at": AT, "by": "sensor", "why": "loans changed", "made": [], "trained": [], "failed": {}}
    shown = printed(
        ran | {"failed": {"source/loans": "values look like minutes"}},
        ran | {"trained": ["models/trees"], "made": ["models/trees"], "why": "drift"},
        {"event": "promoted", "at": AT, "version": "2", "reasons": ["better"]},
        {
            "event": "alert", "at": AT, "kind": "raised", "severity": "error", "cause": "units",
            "asset": "a", "message": "loans: [units] is FAIL\nmore",
        },
    )  # fmt: skip
    assert shown.splitlines() == [
        "09 Jun 06:00 · refused source/loans: values look like minutes",
        "09 Jun 06:00 · trained models/trees: drift",
        "09 Jun 06:00 · promoted version 2: better",
        "09 Jun 06:00 · alert   units loans: [units] is FAIL",
    ]


def test_what_nobody_would_miss_is_left_out():
    """Reminders of open alerts, and questions that were all answered."""
    asked = {"event": "asked", "at": AT, "status": 200, "asked": 5, "answered": 5, "degraded": 0, "reasons": []}
    again = {"event": "alert", "at": AT, "kind": "again", "severity": "warn", "cause": "c", "message": "m"}
    assert [*lines(asked), *lines(again), *lines({})] == []
    assert list(lines(asked | {"degraded": 2, "reasons": ["rank stale"]})) != []


def test_the_table_has_a_row_a_story():
    """Story, when it began and was detected, how long that took, cause and verdict."""
    silent = VERDICT | {"story": "stale", "right": False, "past_window_seconds": 60.0, "detected_at": None, "cause": ""}
    text = io.StringIO()
    Console(file=text, width=200, color_system=None).print(table([VERDICT, silent]))
    shown = text.getvalue()
    assert "4 h 5 min" in shown
    assert "units of source/loans" in shown
    assert "(1 min past the window)" in shown
    assert ("right" in shown, "wrong" in shown) == (True, True)


def asked(**changes: object) -> dict:
    given = {"days": 30, "seed": 1, "seeds": 1, "every": "1d", "world": ["markets=600"], "folder": None}
    return plan("bank", "unit", **(given | changes))


def test_a_plan_is_plain_data(tmp_path: Path):
    """Durations in seconds, the world's arguments as numbers, a folder as text."""
    found = asked(folder=tmp_path)
    assert (found["every_seconds"], found["world"], found["folder"]) == (86_400.0, {"markets": 600}, str(tmp_path))


@pytest.mark.parametrize("wrong", [{"every": "soon"}, {"world": ["markets"]}, {"world": ["markets=many"]}])
def test_an_unreadable_plan_is_refused(wrong):
    """Before any process is started, with what to write."""
    with pytest.raises(ForecastleError, match="--world markets=600"):
        asked(**wrong)


def test_an_unknown_story_is_refused():
    """With the stories that there are."""
    with pytest.raises(ForecastleError, match="unit-partial"):
        plan("bank", "units", days=1, seed=1, seeds=1, every="1d", world=[], folder=None)
