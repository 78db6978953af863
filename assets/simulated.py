"""A system's automation on an injected clock: what Dagster's daemon would do, done in this process at given instants.

Belongs here: evaluating the sensors and schedules of the definitions when they are due, running what they ask for.
Does not belong here: what they ask for and why (`automation.py`, `alerts.py`), what happens in the world
(`forecastle.story.stories`), the days of a month (`simulated_month.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
from croniter import croniter
from dagster import DagsterEventType, DagsterInstance
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.events import RunFailureReason

# Not public; the same thing that Dagster's own tests move its clock with.
from dagster._core.test_utils import freeze_time

from assets.automation import REASON
from assets.factory import build_system, shared_sensors
from assets.failures import reason
from forecastle.contract.load import LoadedSystem
from resources.environment import resources_from
from resources.platform import Alerts, Platform

# What a month needs none of: it is asked for by nobody but people, and takes longer than all the rest.
LEFT_OUT = frozenset({"backtest", "bento"})
ROUNDS = 5
# What a run says stands in its events; a month of it on a terminal is read by nobody and takes a tenth of the time.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, slots=True)
class Ran:
    """One run: who asked for it and why, which assets it made, what its failed steps said."""

    at: datetime
    asked_by: str
    why: str
    made: tuple[str, ...]
    failed: dict[str, str]


@dataclass
class Automation:
    """The sensors and schedules of one system with their cursors, and the instance that keeps their runs.

    `waits` is why no training was started at the last tick.
    """

    system: LoadedSystem
    home: Path
    data: Path
    instance: DagsterInstance
    waits: str = ""
    _cursors: dict[str, str | None] = field(default_factory=dict)
    _last_looked: dict[str, datetime] = field(default_factory=dict)
    _run_keys: set[tuple[str, str]] = field(default_factory=set)
    _schedules_until: datetime | None = None
    _conditions: AssetDaemonCursor | None = None

    def __post_init__(self) -> None:
        self._built = build_system(self.system)
        self._sensors = shared_sensors([self.system])

    def platform(self, now: datetime) -> Platform:
        """The rooms of the simulated home at one instant."""
        return Platform(home=str(self.home), data=str(self.data), now=now.isoformat())

    def tick(self, now: datetime) -> list[Ran]:
        """Everything that is due at `now`, once: schedules since the last tick, then sensors; what ran."""
        with self._at(now):
            ran = [self._run(now, *asked) for asked in self._asked_by_schedules(now)]
            starters, tellers = self._due_sensors(now)
            for sensor in starters:
                ran += [self._run(now, *asked) for asked in self._asked_by_sensor(sensor, now)]
            for _ in range(ROUNDS):  # what was just made may be what something waits for
                ran += (made := [self._run(now, *asked) for asked in self._asked_by_conditions(now)])
                if not made:
                    break
            for sensor in tellers:
                self._asked_by_sensor(sensor, now)
            return ran

    def run(self, now: datetime, *assets: str, why: str) -> Ran:
        """Materialise the named assets ("features/market_quotes") as a person would, or all but what is left out."""
        with self._at(now):
            job = self._definitions.resolve_job_def(f"{self.system.name}_refresh")
            chosen = [dg.AssetKey([self.system.name, *asset.split("/")]) for asset in assets]
            return self._run(now, "a person", why, dg.RunRequest(job_name=job.name, asset_selection=chosen or None))

    @contextmanager
    def _at(self, now: datetime) -> Iterator[None]:
        """Dagster's clock and the platform's at one instant."""
        platform = self.platform(now)
        self._resources = {"platform": platform, "alerts": Alerts(platform=platform)}
        shared = dg.Definitions(resources=resources_from({}) | self._resources, sensors=self._sensors)
        self._definitions = dg.Definitions.merge(shared, self._built)
        self._repository = self._definitions.get_repository_def()
        with freeze_time(now), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    def _asked_by_schedules(self, now: datetime) -> list[tuple[str, str, dg.RunRequest]]:
        since, self._schedules_until = self._schedules_until or now, now
        asked = []
        for schedule in self._repository.schedule_defs:
            due = croniter(str(schedule.cron_schedule), since).get_next(datetime)
            if since < due <= now:
                context = dg.build_schedule_context(
                    self.instance,
                    scheduled_execution_time=due,
                    resources={"platform": self._resources["platform"]},
                    repository_def=self._repository,
                )
                tick = schedule.evaluate_tick(context)
                for request in tick.run_requests or ():
                    why = request.tags.get(REASON, "it is time")
                    asked.append((schedule.name, why, request._replace(job_name=schedule.job_name)))
        return asked

    def _asked_by_conditions(self, now: datetime) -> list[tuple[str, str, dg.RunRequest]]:
        """Assets of the system whose automation condition holds."""
        found = dg.evaluate_automation_conditions(
            self._definitions, self.instance, evaluation_time=now, cursor=self._conditions
        )
        self._conditions = found.cursor
        keys = [
            key
            for key in sorted(self._repository.asset_graph.executable_asset_keys)
            if key.path[0] == self.system.name and key.path[1] not in LEFT_OUT and found.get_num_requested(key)
        ]
        request = dg.RunRequest(job_name=IMPLICIT_ASSET_JOB_NAME, asset_selection=keys)
        return [("conditions", "their conditions hold", request)] if keys else []

    def _due_sensors(self, now: datetime) -> tuple[list[dg.SensorDefinition], list[dg.SensorDefinition]]:
        """Sensors whose interval has passed: those that may start something, and those that only tell.

        Those of failed runs are not among them: they are told of each at once.
        """
        due = []
        for sensor in self._repository.sensor_defs:
            if isinstance(sensor, dg.RunStatusSensorDefinition | dg.AutomationConditionSensorDefinition):
                continue
            last = self._last_looked.get(sensor.name)
            if last is None or now - last >= timedelta(seconds=sensor.minimum_interval_seconds or 30):
                due.append(sensor)
        return [sensor for sensor in due if sensor.has_jobs], [sensor for sensor in due if not sensor.has_jobs]

    def _asked_by_sensor(self, sensor: dg.SensorDefinition, now: datetime) -> list[tuple[str, str, dg.RunRequest]]:
        self._last_looked[sensor.name] = now
        wanted = sensor.required_resource_keys
        with dg.build_sensor_context(
            self.instance,
            cursor=self._cursors.get(sensor.name),
            repository_def=self._repository,
            sensor_name=sensor.name,
            resources={name: value for name, value in self._resources.items() if name in wanted},
        ) as context:
            tick = sensor.evaluate_tick(context)
        self._cursors[sensor.name] = tick.cursor
        if sensor.name == f"{self.system.name}_retraining":
            self.waits = tick.skip_message or ""
        asked = []
        for request in tick.run_requests or ():
            known = (sensor.name, request.run_key or "")
            if request.run_key is None or known not in self._run_keys:
                self._run_keys.add(known)
                why = request.tags.get(REASON, tick.skip_message or "")
                job = request.job_name or (sensor.job_name if sensor.has_jobs else None)
                asked.append((sensor.name, why, request._replace(job_name=job)))
        return asked

    def _run(self, now: datetime, asked_by: str, why: str, request: dg.RunRequest) -> Ran:
        job = self._definitions.resolve_job_def(str(request.job_name))
        keys = request.asset_selection or list(job.asset_layer.executable_asset_keys)
        chosen = [key for key in keys if key.path[1] not in LEFT_OUT]
        result = job.execute_in_process(
            instance=self.instance,
            asset_selection=chosen,
            partition_key=request.partition_key,
            run_config={**QUIET, **(request.run_config or {})},
            tags=dict(request.tags),
            raise_on_error=False,
        )
        if not result.success:
            _stop_if_told(result)
            self._tell_failure(result.run_id)
        return Ran(now, asked_by, why, _made(result), _failed(result, self.system.name))

    def _tell_failure(self, run_id: str) -> None:
        """Sensors that watch for failed runs see this one."""
        run = self.instance.get_run_by_id(run_id)
        failures = self.instance.all_logs(run_id, of_type=DagsterEventType.PIPELINE_FAILURE)
        for sensor in self._repository.sensor_defs:
            if isinstance(sensor, dg.RunStatusSensorDefinition) and run is not None and failures:
                event = failures[-1].dagster_event
                assert event is not None
                with dg.build_run_status_sensor_context(
                    sensor.name, event, self.instance, run, resources=self._resources
                ) as context:
                    _ = context.resources  # started here, where it can be closed
                    sensor(context.for_run_failure())


def _stop_if_told(result: dg.ExecuteInProcessResult) -> None:
    """Ctrl-C and SIGTERM, which Dagster takes for a run that failed.

    Raises:
        KeyboardInterrupt: the run was interrupted.
    """
    ends = [event for event in result.all_events if event.event_type is DagsterEventType.PIPELINE_FAILURE]
    if any(end.job_failure_data.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION for end in ends):
        raise KeyboardInterrupt


def _made(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    keys = (event.asset_key for event in result.get_asset_materialization_events())
    return tuple("/".join(key.path[1:]) for key in keys if key is not None)


def _failed(result: dg.ExecuteInProcessResult, system: str) -> dict[str, str]:
    """What each failed step said of itself."""
    return {
        str(event.step_key).removeprefix(f"{system}__").replace("__", "/"): reason(event)
        for event in result.all_events
        if event.event_type_value == "STEP_FAILURE"
    }
