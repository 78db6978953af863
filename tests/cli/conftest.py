"""The command as a user meets it: arguments and environment in, exit status and text out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Forecastle = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def forecastle(tmp_path: Path) -> Forecastle:
    """Runs `forecastle …` in an empty folder with a home of its own; keywords are environment variables."""

    def run(*arguments: str, timeout_seconds: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("FORECASTLE_")}
        names = ours | {
            "FORECASTLE_HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(ROOT / "platform"),
            "COLUMNS": "200",
            "NO_COLOR": "1",
        }
        return subprocess.run(
            [sys.executable, "-m", "forecastle.cli.main", *arguments],
            check=False,
            cwd=tmp_path,
            env=names | environment,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
        )

    return run
