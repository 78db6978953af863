"""What the parent of several workers says of them, in a file that each worker's health page reads.

Belongs here: writing it whole or not at all, reading it.
Does not belong here: what is said (`workers.py`), the health page (`pages.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_state(path: Path, told: Mapping[str, int]) -> None:
    """Write the state in one step.

    Raises:
        OSError: the file cannot be written.
    """
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(told))
    fresh.replace(path)


def workers_told(path: Path | None) -> dict[str, Any] | None:
    """What the parent last wrote about its workers; None where there is no parent."""
    try:
        told = json.loads(path.read_bytes()) if path else None
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
