"""The sensor that looks into the registry: ticks become runs once, versions change without a restart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.scheduled_scoring import build_scoring_sensor, has_scoring
from forecastle.contract.system import Score
from forecastle.promote.registry import Promotion, Registry
from resources.platform import Platform
from tests.assets.world import NAME, small_system

START = datetime(2026, 6, 1, 12, tzinfo=UTC)


@dataclass
class Office:
    """A home folder whose clock a test sets; the sensor is asked as Dagster's daemon asks it."""

    home: Path
    instance: dg.DagsterInstance
    sensor: dg.SensorDefinition
    cursor: str | None = None
    marked: dict[str, str] = field(default_factory=dict)

    def promote(self, version: str, *, at: datetime, expected: Promotion | None = None) -> Promotion:
        registry = Registry(Platform(home=str(self.home)).layout.registry, clock=lambda: at)
        return registry.promote(
            NAME, bundle=version * 64, model_version=version, approved_by="gates", expected=expected
        )

    def look(self, at: datetime) -> dg.SensorExecutionData:
        """One tick of the sensor at an instant."""
        resources = {"platform": Platform(home=str(self.home), now=at.isoformat())}
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, resources=resources)
        told = self.sensor.evaluate_tick(context)
        self.cursor = told.cursor
        return told


@pytest.fixture(scope="module")
def sensor() -> dg.SensorDefinition:
    """The sensor of a system that declares when to score."""
    system = small_system()
    declared = system.declaration.model_copy(update={"score": Score(cron="0 5 * * *")})
    system = replace(system, declaration=declared)
    assert has_scoring(system)
    return build_scoring_sensor(system)


@pytest.fixture
def office(tmp_path: Path, sensor: dg.SensorDefinition, monkeypatch: pytest.MonkeyPatch):
    """An office of its own; MLflow's tags are written down instead of kept in a database."""
    with dg.DagsterInstance.ephemeral() as instance:
        made = Office(tmp_path / "home", instance, sensor)

        class Book:
            def archive(self, _system: str, *, version: str, archived_at: str) -> None:
                made.marked[version] = archived_at

        monkeypatch.setattr(Platform, "tracking", lambda _platform: Book())
        yield made


def test_before_a_promotion_nothing_runs(office: Office) -> None:
    """And the sensor says why."""
    told = office.look(START)
    assert told.run_requests == []
    assert "No version is live" in told.skip_message


def test_a_promoted_version_scores_once_a_tick(office: Office) -> None:
    """The run names version and tick; looking again before the next tick starts nothing."""
    office.promote("1", at=START)
    assert office.look(START + timedelta(hours=1)).run_requests == []
    (run,) = office.look(START + timedelta(hours=18)).run_requests
    assert run.run_key == "1@2026-06-02T05:00:00+00:00"
    assert run.asset_selection is None or [k.path[-1] for k in run.asset_selection] == ["batch_predictions"]
    assert office.look(START + timedelta(hours=19)).run_requests == []


def test_missed_ticks_are_one_run_that_says_so(office: Office) -> None:
    """The daemon was down for five days."""
    office.promote("1", at=START)
    (run,) = office.look(START + timedelta(days=5)).run_requests
    assert run.tags["forecastle/missed_ticks"] == "4"
    assert "4 ticks before it were missed" in run.tags["forecastle/reason"]


def test_a_new_version_takes_over_and_the_old_one_is_archived(office: Office) -> None:
    """No restart: the same sensor, the next look."""
    first = office.promote("1", at=START)
    office.look(START + timedelta(hours=18))
    replaced = START + timedelta(days=1)
    second = office.promote("2", at=replaced, expected=first)
    (run,) = office.look(START + timedelta(hours=42)).run_requests
    assert run.run_key.startswith("2@")
    assert office.marked == {"1": replaced.isoformat()}
    office.promote("1", at=START + timedelta(days=2), expected=second)
    office.look(START + timedelta(days=2, hours=1))
    assert office.marked == {"1": "", "2": (START + timedelta(days=2)).isoformat()}
