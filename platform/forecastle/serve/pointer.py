"""Following a pointer file: the champion's and the challenger's are looked at in the same way.

Belongs here: telling whether a file was replaced, looking again and again beside the requests.
Does not belong here: what a pointer says and what is loaded for it (`champion.py`, `challenger.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

Signature = tuple[int, ...]


def signature(pointer: Path) -> Signature:
    """Another one whenever the file was replaced; empty where there is none."""
    try:
        found = pointer.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size)


async def follow(check: Callable[[], object], *, poll_seconds: float) -> None:
    """Check for ever; the checks run in a thread, so that requests go on."""
    while True:
        await asyncio.sleep(poll_seconds)
        await asyncio.to_thread(check)
