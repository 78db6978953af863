"""Simulated source files: where no data folder is given, the system's own seeded world stands in, and goes on.

Belongs here: making the world once, whole or not at all, and writing further what becomes known of the same world.
Does not belong here: what a world is like (the system's `simulate` function), worlds in which something goes wrong
(`stories.py`).
"""

from __future__ import annotations

import fcntl
import filecmp
import inspect
import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from forecastle.contract.errors import SourceError
from forecastle.contract.load import LoadedSystem

SEED: Final = 20_260_101
GROWS_AFTER: Final = timedelta(hours=6)
RENEWED_AFTER: Final = timedelta(hours=20)
"""For simulators that take no `until`: they know one instant only, and another one is another world."""
_MARK: Final = "world.json"


@dataclass(frozen=True, slots=True)
class _World:
    """Which world lies in a folder: its seed, the instant its history leads up to, and until when it is written."""

    seed: int
    now: datetime
    until: datetime

    def text(self) -> str:
        return json.dumps({"seed": self.seed, "now": self.now.isoformat(), "until": self.until.isoformat()})


def simulated_data(system: LoadedSystem, folder: Path, *, now: datetime) -> Path:
    """A data folder that holds the system's world as known at about `now`; made when absent, then only added to.

    Args:
        system: declares `simulate`, called with (folder, seed, now), and with `until` for the same world at a later
            instant. A simulator without `until` writes another world once this one is 20 hours old.
        folder: the data folder; files come to lie in `folder/<system>/`.
        now: nothing known later is written; what has become known since is, once the files are six hours behind. A
            world that was written more than six hours later than this is made anew: processes that replay a clock
            start it again, so a little later is the same world.

    Raises:
        SourceError: the system declares no simulator.
    """
    if system.declaration.simulate is None:
        raise SourceError(f"{system.name} has no simulator: set FORECASTLE_DATA to the folder of its source files")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / system.name
    with (folder / f".{system.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lying = _lying(target)
        wanted = _wanted(lying, now, goes_on=_goes_on(system))
        if wanted == lying:
            return folder
        # Under the lock nobody else is writing: what stands there was left by a process that was killed.
        _sweep(folder, system.name)
        staging = Path(tempfile.mkdtemp(prefix=f".{system.name}-", dir=folder))
        try:
            _simulate(system, staging, wanted)
            if lying is not None and wanted.now == lying.now:
                _grow(staging, target)
            else:
                _put(staging, target)
        finally:
            _sweep(folder, system.name)
    return folder


def _wanted(lying: _World | None, now: datetime, *, goes_on: bool) -> _World:
    """The world that is to lie there at `now`: the same, the same and more of it, or a new one."""
    if lying is None or lying.until - now > GROWS_AFTER:
        return _World(SEED, now, now)
    age = now - lying.until
    if goes_on:
        return replace(lying, until=now) if age >= GROWS_AFTER else lying
    return _World(SEED, now, now) if age >= RENEWED_AFTER else lying


def _goes_on(system: LoadedSystem) -> bool:
    assert system.declaration.simulate is not None
    return "until" in inspect.signature(system.function(system.declaration.simulate)).parameters


def _simulate(system: LoadedSystem, staging: Path, world: _World) -> None:
    assert system.declaration.simulate is not None
    further = {"until": world.until} if world.until > world.now else {}
    system.function(system.declaration.simulate)(staging, seed=world.seed, now=world.now, **further)
    (staging / _MARK).write_text(world.text())


def _put(staging: Path, target: Path) -> None:
    """A whole world in the place of another one, or of none."""
    if target.exists():
        target.rename(staging.with_name(staging.name + "-old"))
    staging.rename(target)


def _grow(staging: Path, target: Path) -> None:
    """Each file that has grown in the place of its shorter self, the mark last: no reader finds a file missing."""
    grown = sorted(path for path in staging.rglob("*") if path.is_file() and path.name != _MARK)
    for path in [*grown, staging / _MARK]:
        lies = target / path.relative_to(staging)
        if not lies.exists() or not filecmp.cmp(path, lies, shallow=False):
            lies.parent.mkdir(parents=True, exist_ok=True)
            path.replace(lies)


def _sweep(folder: Path, system: str) -> None:
    for left in folder.glob(f".{system}-*"):
        shutil.rmtree(left)


def _lying(target: Path) -> _World | None:
    """The world that lies there; None where nothing tells which one."""
    try:
        told = json.loads((target / _MARK).read_text())
        found = _World(
            told["seed"], *(datetime.fromisoformat(told.get(name, told["now"])) for name in ("now", "until"))
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.now.tzinfo and found.until.tzinfo else None
