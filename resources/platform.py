"""The platform's own services as Dagster resources.

Belongs here: one resource that opens the rooms of one home folder, and the alert log's.
Does not belong here: environment variables (`environment.py`), logic (`forecastle`).
Annotations are evaluated here: Dagster reads them to find configuration and resources.
"""

from pathlib import Path

import dagster as dg

from forecastle.alert.alerts import AlertLog
from forecastle.alert.outbox import AlertOutbox
from forecastle.alert.targets import AlertTargets, read_targets
from forecastle.contract.clock import Clock, clock_from, system_clock
from forecastle.contract.load import LoadedSystem
from forecastle.learn.tracking import Tracking
from forecastle.promote.registry import Registry
from forecastle.store.crash import crash_hook, no_crash
from forecastle.store.home import Home
from forecastle.store.online import OnlineStore
from forecastle.store.online_stores import open_online
from forecastle.store.prediction import ReadableLog
from forecastle.store.prediction_logs import open_log_reader
from forecastle.store.stream_log import StreamLog
from forecastle.store.warehouse import Warehouse
from forecastle.story.world import simulated_data
from resources.variables import variables


class Platform(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens warehouse, online store, registry and MLflow of one home folder.

    `home` is the folder of all state, `data` the folder of source files ("" for simulated ones), `now` an instant from
    which a replay clock starts ("" for the system's clock), `crash_at` where a test wants a crash ("" for nowhere).
    """

    home: str
    data: str = ""
    now: str = ""
    crash_at: str = ""

    @property
    def clock(self) -> Clock:
        """What time it is."""
        return clock_from(self.now or None)

    @property
    def layout(self) -> Home:
        """Where things lie."""
        return Home(Path(self.home)).create()

    def data_folder(self, system: LoadedSystem) -> Path:
        """Folder of source files: the given one, else the system's simulated one."""
        return Path(self.data) if self.data else simulated_data(system, self.layout.simulated, now=self.clock())

    def warehouse(self) -> Warehouse:
        """Table versions."""
        crash_at = crash_hook(self.crash_at) if self.crash_at else no_crash
        return Warehouse(self.layout.warehouse, clock=self.clock, crash_at=crash_at)

    def online(self, system: str) -> OnlineStore:
        """The system's online store, made when it is not there; a server's address may hold a password."""
        url = variables().get("FORECASTLE_ONLINE_URL", "")
        return open_online(url, path=self.layout.online(system), system=system)

    def stream_log(self, system: str) -> StreamLog:
        """Events taken from the system's streams."""
        return StreamLog(self.layout.streams(system))

    def prediction_log(self, system: str) -> ReadableLog:
        """The system's prediction log, to read; a server's address may hold a password."""
        url = variables().get("FORECASTLE_LOG_URL", "")
        return open_log_reader(url, path=self.layout.prediction_log(system), system=system)

    def registry(self) -> Registry:
        """Promotions."""
        return Registry(self.layout.registry, clock=self.clock)

    def tracking(self) -> Tracking:
        """MLflow."""
        return Tracking(self.layout.mlflow)


class Alerts(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The alert log, who is told of what is in it, and what they have yet to be told."""

    platform: dg.ResourceDependency[Platform]

    def log(self) -> AlertLog:
        """Open the log."""
        quiet_period = self.targets().quiet_period
        return AlertLog(self.platform.layout.alerts, clock=self.platform.clock, quiet_period=quiet_period)

    def targets(self) -> AlertTargets:
        """Who is told; an address may hold a password, so it is read when asked and kept nowhere."""
        return read_targets(self.platform.layout.alert_targets, variables())

    def outbox(self) -> AlertOutbox:
        """What they have yet to be told; by the system's clock, since a target comes back in real time."""
        return AlertOutbox(self.platform.layout.alerts, clock=system_clock)

    def ui_url(self) -> str:
        """Address of the Dagster UI for links, "" where nobody told it."""
        return variables().get("FORECASTLE_UI_URL", "")
