"""Following a pointer file: the champion's and the challenger's are looked at in the same way.

Belongs here: telling whether a file was replaced, reading it, looking again and again beside the requests.
Does not belong here: what is loaded for a pointer (`champion.py`, `challenger.py`).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from forecastle.contract.errors import BundleError

Signature = tuple[int, ...]
_HASH: Final = re.compile(r"[0-9a-f]{64}")


def signature(pointer: Path) -> Signature:
    """Another one whenever the file was replaced; empty where there is none."""
    try:
        found = pointer.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def pointed(pointer: Path) -> dict[str, Any]:
    """What a pointer file says; its `bundle` is a hash, and so can name no other folder.

    Raises:
        BundleError: the file is no pointer.
    """
    try:
        said = json.loads(pointer.read_bytes())
    except ValueError:
        said = None
    bundle = said.get("bundle") if isinstance(said, dict) else None
    if not (isinstance(said, dict) and isinstance(bundle, str) and _HASH.fullmatch(bundle)):
        raise BundleError(f"{pointer} is damaged: it names no bundle by its hash; promote one, or restore the file")
    return said


async def follow(check: Callable[[], object], *, poll_seconds: float) -> None:
    """Check for ever; the checks run in a thread, so that requests go on."""
    while True:
        await asyncio.sleep(poll_seconds)
        await asyncio.to_thread(check)
