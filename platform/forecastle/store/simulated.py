"""Simulated source files: where no data folder is given, the system's own seeded world stands in.

Belongs here: making the world once, whole or not at all, and again when it has grown old.
Does not belong here: what a world is like (the system's `simulate` function).
"""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from forecastle.contract.errors import SourceError
from forecastle.contract.load import LoadedSystem

SEED: Final = 20_260_101
RENEW_AFTER: Final = timedelta(hours=20)
_MARK: Final = "world.json"


def simulated_data(system: LoadedSystem, folder: Path, *, now: datetime) -> Path:
    """A data folder that holds the system's world as known at about `now`; made when absent or old.

    Args:
        system: declares `simulate`, called with (folder, seed, now).
        folder: the data folder; files come to lie in `folder/<system>/`.
        now: nothing known later is written; a world is renewed once it is 20 hours older than this.

    Raises:
        SourceError: the system declares no simulator.
    """
    declared = system.declaration.simulate
    if declared is None:
        raise SourceError(f"{system.name} has no simulator: set FORECASTLE_DATA to the folder of its source files")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / system.name
    with (folder / f".{system.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_current(target, now):
            return folder
        # Under the lock nobody else is writing: what stands there was left by a process that was killed.
        _sweep(folder, system.name)
        staging = Path(tempfile.mkdtemp(prefix=f".{system.name}-", dir=folder))
        try:
            system.function(declared)(staging, seed=SEED, now=now)
            (staging / _MARK).write_text(json.dumps({"seed": SEED, "now": now.isoformat()}))
            if target.exists():
                target.rename(staging.with_name(staging.name + "-old"))
            staging.rename(target)
        finally:
            _sweep(folder, system.name)
    return folder


def _sweep(folder: Path, system: str) -> None:
    for left in folder.glob(f".{system}-*"):
        shutil.rmtree(left)


def _is_current(target: Path, now: datetime) -> bool:
    try:
        age = now - datetime.fromisoformat(json.loads((target / _MARK).read_text())["now"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return timedelta(0) <= age < RENEW_AFTER
