"""Where state lives: one folder, named by FORECASTLE_HOME at the edge, laid out here.

Belongs here: the layout, and nothing else: every other module is handed a path.
Does not belong here: reading the environment (`cli/`, `resources/`, the service's entry point).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds all state of one installation (created 0700 on first use by `create`)."""

    root: Path

    def create(self) -> Home:
        """Make the folder, readable by its owner only."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    @property
    def warehouse(self) -> Path:
        """Table versions: <system>/<kind>/<name>/."""
        return self.root / "warehouse"

    @property
    def mlflow(self) -> Path:
        """MLflow's SQLite database and artifacts."""
        return self.root / "mlflow"

    @property
    def dagster(self) -> Path:
        """Dagster's instance."""
        return self.root / "dagster"

    @property
    def registry(self) -> Path:
        """SQLite file of promotions."""
        return self.root / "registry.sqlite"

    @property
    def alerts(self) -> Path:
        """SQLite file of alerts."""
        return self.root / "alerts.sqlite"

    @property
    def alert_targets(self) -> Path:
        """Who is told of alerts, where somebody wrote it down."""
        return self.root / "alerts.yaml"

    @property
    def reports(self) -> Path:
        """HTML reports: <system>/<name>/index.html."""
        return self.root / "reports"

    @property
    def simulated(self) -> Path:
        """Source files written by simulators: <system>/…, the shape of a data folder."""
        return self.root / "simulated"

    def bundles(self, system: str) -> Path:
        """Bundles of a system: <hash>/."""
        return self.root / "bundles" / system

    def champion(self, system: str) -> Path:
        """Pointer file that serving watches: JSON of the promotion that made the champion."""
        return self.root / "champions" / f"{system}.json"

    def challenger(self, system: str) -> Path:
        """Pointer file of the bundle under trial; none while there is no trial."""
        return self.root / "champions" / f"{system}.challenger.json"

    def online(self, system: str) -> Path:
        """SQLite online store of a system."""
        return self.root / "online" / f"{system}.sqlite"

    def streams(self, system: str) -> Path:
        """SQLite file of events taken from a system's streams, until they are in the warehouse."""
        return self.root / "streams" / f"{system}.sqlite"

    def pushed(self, system: str) -> Path:
        """SQLite queue of raw events that were pushed to a system's streams; made by the stream worker."""
        return self.root / "streams" / f"{system}.pushed.sqlite"

    def events(self, system: str) -> Path:
        """SQLite queue of pushed feature rows of a system."""
        return self.root / "log" / f"{system}.events.sqlite"

    def outcome_log(self, system: str) -> Path:
        """SQLite log of outcomes that callers told, beside the prediction log."""
        return self.root / "log" / f"{system}.outcomes.sqlite"

    def prediction_log(self, system: str) -> Path:
        """SQLite prediction log of a system."""
        return self.root / "log" / f"{system}.sqlite"
