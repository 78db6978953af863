"""What happens without being asked: the schedule asks for the refresh, the sensor tells each change once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.definitions.schedule_definition import ScheduleExecutionData
from dagster._core.test_utils import freeze_time, instance_for_test

from assets.alerts import Noticed, alert_for, awaited, freshness_states
from forecastle.alert.alerts import Alert
from resources.platform import Alerts
from tests.assets.conftest import Made
from tests.assets.world import NAME, World

pytestmark = pytest.mark.xdist_group("graph")

PRICES = dg.AssetKey([NAME, "source", "quotes"])


@pytest.fixture
def quiet(made: Made, tmp_path: Path) -> Iterator[World]:
    """The system with an empty home: nothing was ever materialised, no alert was ever raised."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield replace(made.world, home=tmp_path / "home", instance=instance)


class Watcher:
    """The sensor of a world, asked again and again with the cursor it left."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.repository = world.definitions.get_repository_def()
        self.sensor = self.repository.get_sensor_def(f"{NAME}_alerts")
        self.cursor: str | None = None

    def look(self) -> list[Alert]:
        """The alerts that this look raised, oldest first."""
        alerts = Alerts(platform=self.world.platform)
        before = len(alerts.log().newest(1_000))
        with dg.build_sensor_context(
            instance=self.world.instance,
            repository_def=self.repository,
            cursor=self.cursor,
            resources={"alerts": alerts},
        ) as context:
            tick = self.sensor.evaluate_tick(context)
        assert tick.skip_message
        self.cursor = tick.cursor
        newest = alerts.log().newest(1_000)
        return newest[: len(newest) - before][::-1]


def report(world: World, check: str, *, passed: bool, severity: dg.AssetCheckSeverity, sentence: str = "") -> None:
    """What a run would have reported of a check of the prices."""
    world.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=PRICES, check_name=check, passed=passed, severity=severity, description=sentence, metadata={}
        )
    )


def test_the_schedule_looks_and_does_not_train(made: Made, quiet: World) -> None:
    """One run a tick: sources, features and the decision; without a champion nothing that watches one."""
    schedule, tick = scheduled(quiet)
    (request,) = tick.run_requests
    asked = {"/".join(key.path[1:]) for key in request.asset_selection}
    assert {"source/quotes", "features/market_quotes", "online/market_quotes", "retrain_decision"} <= asked
    assert not {name.split("/")[0] for name in asked} & {"training_set", "models", "promotion", "drift"}
    assert schedule.job_name == f"{NAME}_ingest"
    assert schedule.cron_schedule == quiet.system.declaration.retrain.schedule
    job = quiet.definitions.get_repository_def().get_job(schedule.job_name)
    assert job.tags["dagster/max_runtime"] == "3600"
    _, later = scheduled(made.world)
    assert dg.AssetKey([NAME, "drift", "features"]) in later.run_requests[0].asset_selection


def scheduled(world: World) -> tuple[dg.ScheduleDefinition, ScheduleExecutionData]:
    """The schedule of a world, evaluated at six in the morning."""
    repository = world.definitions.get_repository_def()
    schedule = repository.get_schedule_def(f"{NAME}_retrain")
    context = dg.build_schedule_context(
        world.instance,
        scheduled_execution_time=datetime(2026, 6, 2, 6, tzinfo=UTC),
        repository_def=repository,
        resources={"platform": world.platform},
    )
    return schedule, schedule.evaluate_tick(context)


def test_a_failed_check_is_an_alert_once_for_each_change(quiet: World) -> None:
    """FAIL raises one, FAIL again none, PASS closes it, WARN opens one, and FAIL after it is worse."""
    watcher = Watcher(quiet)
    assert watcher.look() == []
    error, warn = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
    raised = []
    for passed, severity in [(False, error), (False, error), (True, error), (False, warn), (False, error)]:
        report(quiet, "event_time_freshness", passed=passed, severity=severity)
        raised.append(["recovered" if a.kind == "recovered" else a.severity for a in watcher.look()])
        assert watcher.look() == [], "a second look at the same state has nothing new to say"
    assert raised == [["error"], [], ["recovered"], ["warn"], ["error"]]


def test_an_alert_says_what_which_and_what_to_do(quiet: World) -> None:
    """System, asset, cause and a runbook stand in the log, with the time by the platform's clock."""
    watcher = Watcher(quiet)
    sentence = "The newest row was known at 2026-05-01 12:00 UTC."
    report(quiet, "event_time_freshness", passed=False, severity=dg.AssetCheckSeverity.ERROR, sentence=sentence)
    (alert,) = watcher.look()
    assert (alert.system, alert.asset, alert.cause) == (
        NAME,
        "prediction_markets/source/quotes",
        "event_time_freshness",
    )
    assert alert.message == f"prediction_markets/source/quotes: event_time_freshness is FAIL: {sentence}"
    assert "ask whoever delivers the source" in alert.runbook
    assert alert.raised_at is not None
    assert alert.raised_at.year == 2026


def test_the_sensor_speaks_of_its_own_system_only(quiet: World) -> None:
    """Another system's failed check is another sensor's."""
    watcher = Watcher(quiet)
    quiet.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(["weather", "source", "stations"]), check_name="contract", passed=False, metadata={}
        )
    )
    assert watcher.look() == []


def test_a_run_with_a_failed_check_is_seen(made: Made, quiet: World) -> None:
    """The checks of a real run reach the log: a quarter of the simulated markets has no dates."""
    watcher = Watcher(replace(made.world, home=quiet.home))
    raised = watcher.look()
    assert ("prediction_markets/source/markets", "contract", "warn") in {(a.asset, a.cause, a.severity) for a in raised}
    assert {alert.severity for alert in raised} <= {"warn"}
    assert watcher.look() == []


@pytest.mark.parametrize("state", ["PASS", "UNKNOWN", "NOT_APPLICABLE"])
def test_good_and_unknown_states_are_no_alert(state: str) -> None:
    """Nobody is woken because nothing is known yet."""
    assert alert_for(NAME, "freshness:prediction_markets/bento", Noticed(state)) is None


def test_freshness_turns_into_alerts_by_dagsters_own_daemon(quiet: World, tmp_path: Path) -> None:
    """The price table is materialised, grows older than 3 and than 7 days: one warning, one error, one recovery."""
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import PythonFileTarget
    from dagster._daemon.freshness import FreshnessDaemon

    definitions = tmp_path / "code.py"
    definitions.write_text(CODE)
    target = PythonFileTarget(str(definitions), None, str(tmp_path), "code")
    start = datetime(2026, 6, 1, 12, tzinfo=UTC)
    found = []
    with instance_for_test() as instance, WorkspaceProcessContext(instance, workspace_load_target=target) as process:
        watcher = Watcher(replace(quiet, instance=instance))
        for days, materialise in [(0, True), (2, False), (4, False), (5, False), (8, False), (8.1, True)]:
            with freeze_time(start + timedelta(days=days)):
                if materialise:
                    instance.report_runless_asset_event(dg.AssetMaterialization(PRICES))
                list(FreshnessDaemon().run_iteration(process))
                state = freshness_states(instance, [PRICES])[f"freshness:{PRICES.to_user_string()}"].state
                mine = [a for a in watcher.look() if a.asset == PRICES.to_user_string()]
                found.append((state, [a.severity if a.kind != "recovered" else a.kind for a in mine]))
    assert found == [
        ("PASS", []),
        ("PASS", []),
        ("WARN", ["warn"]),
        ("WARN", []),
        ("FAIL", ["error"]),
        ("PASS", ["recovered"]),
    ]
    assert {state for state, _ in found} <= {state.value for state in FreshnessState}


def test_what_only_a_training_makes_grows_old_rightly() -> None:
    """Old models are alarming while a new one is due and well when none is; nobody awaits the alerts themselves."""
    ages = {f"freshness:{NAME}/{asset}": Noticed("FAIL") for asset in ("source/quotes", "models/lightgbm", "alerts")}
    states = {due: [n.state for n in awaited(ages, model_is_due=due).values()] for due in (True, False)}
    assert states == {True: ["FAIL", "FAIL"], False: ["FAIL", "PASS"]}


CODE = """
import dagster as dg
from tests.assets.golden_graph import built_in_definitions
defs = built_in_definitions()
"""
