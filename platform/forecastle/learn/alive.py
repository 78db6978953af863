"""Signs of life: a file locked for as long as its process does something, which the kernel unlocks when it dies.

Belongs here: the lock, which locks were left behind, a folder that lasts as long as its lock.
Does not belong here: what was being done, and ending it (`tracking.py`, `factory.py`).
"""

from __future__ import annotations

import fcntl
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SUFFIX = ".lock"


@contextmanager
def alive(folder: Path) -> Iterator[str]:
    """A token whose lock in `folder` is held until the block ends, or the process."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    path = folder / (token + _SUFFIX)
    # Locked under another name first: nobody may find it open and take its maker for dead.
    unlocked = folder / token
    with unlocked.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unlocked.rename(path)
        try:
            yield token
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def working_folder(folder: Path) -> Iterator[Path]:
    """A new folder within `folder` that is removed when the block ends; those of dead processes are removed first."""
    for token in dead(folder):
        shutil.rmtree(folder / token, ignore_errors=True)
        forget(folder, token)
    with alive(folder) as token:
        own = folder / token
        own.mkdir(mode=0o700)
        try:
            yield own
        finally:
            shutil.rmtree(own, ignore_errors=True)


def dead(folder: Path) -> list[str]:
    """Tokens whose process ended without ending its block."""
    return [path.stem for path in sorted(folder.glob(f"*{_SUFFIX}")) if not _is_held(path)]


def forget(folder: Path, token: str) -> None:
    """Remove what a dead process left."""
    (folder / (token + _SUFFIX)).unlink(missing_ok=True)


def _is_held(path: Path) -> bool:
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:  # its process has just ended the block
        return True
    return False
