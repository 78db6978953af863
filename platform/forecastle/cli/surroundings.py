"""What the command line is told by its environment, and what it tells the processes it starts.

Belongs here: FORECASTLE_* variables on the terminal's side, the environment of children.
Does not belong here: Dagster's side (`resources/environment.py`), the service's (`serve/settings.py`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forecastle.contract.clock import Clock, clock_from
from forecastle.contract.errors import ForecastleError, did_you_mean
from forecastle.store.home import Home

# The rooms are imported where a verb asks for them: `forecastle serve` must not carry pandas and DuckDB about.
if TYPE_CHECKING:
    from forecastle.contract.load import LoadedSystem
    from forecastle.learn.tracking import Tracking
    from forecastle.promote.registry import Registry
    from forecastle.store.online import OnlineStore
    from forecastle.store.prediction import ReadableLog
    from forecastle.store.warehouse import Warehouse

ROOT: Final = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Surroundings:
    """The environment as the command line understands it."""

    home: Home
    data: str
    systems: tuple[Path, ...]
    now: str
    environment: Mapping[str, str]

    @property
    def clock(self) -> Clock:
        """What time it is."""
        return clock_from(self.now or None)

    @property
    def logs(self) -> Path:
        """Where children's output goes."""
        return self.home.root / "logs"

    def system(self, name: str) -> LoadedSystem:
        """One loaded system.

        Raises:
            ForecastleError: there is none of that name, or its declaration has problems.
        """
        from forecastle.contract.load import discover, load_system

        found = discover(self.systems)
        if name not in found:
            raise ForecastleError(f"there is no system {name!r}; {did_you_mean(name, found)}")
        return load_system(found[name])

    def answered_by(self, prediction_id: str) -> str:
        """The system whose prediction log holds an answer.

        Raises:
            ForecastleError: none of them does.
        """
        from forecastle.contract.load import discover

        names = sorted(discover(self.systems))
        for name in names:
            log = self.prediction_log(name)
            try:
                if log.exists() and log.get(prediction_id) is not None:
                    return name
            finally:
                log.close()
        looked = f"looked in the logs of {', '.join(names)} of {self.home.root}"
        raise ForecastleError(f"no system has given the answer {prediction_id!r}; {looked}")

    def at(self, now: str) -> Surroundings:
        """The same, with a clock that replays from an instant."""
        return replace(self, now=now)

    def warehouse(self) -> Warehouse:
        """Table versions."""
        from forecastle.store.warehouse import Warehouse

        return Warehouse(self.home.warehouse, clock=self.clock)

    def online(self, system: str) -> OnlineStore:
        """The system's online store."""
        from forecastle.store.online_stores import open_online

        url = self.environment.get("FORECASTLE_ONLINE_URL", "")
        return open_online(url, path=self.home.online(system), system=system)

    def prediction_log(self, system: str) -> ReadableLog:
        """The system's prediction log, to read."""
        from forecastle.store.prediction_logs import open_log_reader

        url = self.environment.get("FORECASTLE_LOG_URL", "")
        return open_log_reader(url, path=self.home.prediction_log(system), system=system)

    def registry(self) -> Registry:
        """Promotions."""
        from forecastle.promote.registry import Registry

        return Registry(self.home.registry, clock=self.clock)

    def tracking(self) -> Tracking:
        """MLflow."""
        from forecastle.learn.tracking import Tracking

        return Tracking(self.home.mlflow)

    def of_children(self) -> dict[str, str]:
        """Environment of a process we start: the same home, data, systems and clock, and no telemetry."""
        paths = [str(ROOT), str(ROOT / "platform"), self.environment.get("PYTHONPATH", "")]
        return {
            **self.environment,
            "FORECASTLE_HOME": str(self.home.root),
            "FORECASTLE_DATA": self.data,
            "FORECASTLE_NOW": self.now,
            "FORECASTLE_SYSTEMS": os.pathsep.join(str(p) for p in self.systems[1:]),
            "DAGSTER_HOME": str(self.home.dagster),
            "BENTOML_HOME": str(self.home.root / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }


def surroundings(environment: Mapping[str, str]) -> Surroundings:
    """Read the environment.

    Raises:
        ForecastleError: FORECASTLE_NOW is no instant, FORECASTLE_DATA is no folder, or FORECASTLE_HOME cannot be one.
    """
    data = environment.get("FORECASTLE_DATA", "")
    if data and not Path(data).is_dir():
        raise ForecastleError(f"FORECASTLE_DATA is {data!r}, which is no folder; leave it out to use simulated data")
    now = environment.get("FORECASTLE_NOW", "")
    try:
        clock_from(now or None)
    except ValueError as error:
        raise ForecastleError(f"FORECASTLE_NOW: {error}") from error
    further = environment.get("FORECASTLE_SYSTEMS", "").split(os.pathsep)
    return Surroundings(
        home=_home(environment.get("FORECASTLE_HOME") or ".forecastle"),
        data=str(Path(data).resolve()) if data else "",
        systems=(ROOT / "platform" / "systems", *(Path(part).resolve() for part in further if part)),
        now=now,
        environment=dict(environment),
    )


def _home(folder: str) -> Home:
    home = Home(Path(folder).resolve())
    try:
        home.create()
    except OSError as error:
        told = f"FORECASTLE_HOME is {folder!r}, where no folder can be made: {error.strerror}"
        raise ForecastleError(f"{told}; name one that you may write") from None
    if not os.access(home.root, os.R_OK | os.W_OK | os.X_OK):
        raise ForecastleError(f"FORECASTLE_HOME is {folder!r}, which you may not write; name a folder that you may")
    return home
