"""The process of `forecastle simulate`: where its months lie, and what a killed one left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assets.simulate import MONTHS, main

PLAN = {
    "system": "prediction_markets", "story": "no such story", "days": 3, "seed": 1, "seeds": 1,
    "every_seconds": 86_400.0, "look_seconds": 300.0, "world": {}, "folder": "",
}  # fmt: skip


def test_months_of_a_killed_process_go_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Months lie in the home; those whose process is gone are removed, and a refused plan leaves none of its own."""
    monkeypatch.setenv("FORECASTLE_HOME", str(tmp_path))
    left = tmp_path / MONTHS / "0123"
    left.mkdir(parents=True)
    left.with_suffix(".lock").touch()
    assert main([json.dumps(PLAN)]) == 2
    assert "no such story" in json.loads(capsys.readouterr().out)["message"]
    assert list(left.parent.iterdir()) == []
