"""The small JSON files that serving watches: the champion's and the challenger's.

Belongs here: how such a file is replaced, so that whoever reads it sees all of the old one or all of the new one.
Does not belong here: what stands in them (`registry.py`, `rollout.py`), reading them (`serve/pointer.py`).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def replace_pointer(path: Path, content: Mapping[str, Any]) -> None:
    """Write one JSON object, keys sorted, in place of the file at `path`; its folder is made, 0700, where missing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".pointer-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(content, sort_keys=True))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
