"""The alert log: what was raised is there, in order, whoever wrote it."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from forecastle.alert.alerts import Alert, AlertLog

START = datetime(2026, 6, 1, tzinfo=UTC)
ALERT = Alert("toy", "toy/source/prices", "freshness", "warn", "prices are old", "Look at the source.")


@pytest.fixture
def log(tmp_path) -> AlertLog:
    ticks = count()
    return AlertLog(tmp_path / "state" / "alerts.sqlite", clock=lambda: START + timedelta(seconds=next(ticks)))


def test_a_new_log_is_empty(log) -> None:
    """Nothing was noticed yet."""
    assert log.newest() == []


def test_alerts_come_back_newest_first_with_their_time(log) -> None:
    """What was raised last stands first; the log's clock says when."""
    log.raise_alert(ALERT)
    log.raise_alert(replace(ALERT, severity="error", message="prices are very old"))
    assert log.newest() == [
        replace(
            ALERT, severity="error", message="prices are very old", raised_at=START + timedelta(seconds=1),
            kind="worse", seen=2,
        ),
        replace(ALERT, raised_at=START),
    ]  # fmt: skip


def test_only_as_many_as_asked_for(log) -> None:
    """Of seven alerts the newest three."""
    for number in range(7):
        log.raise_alert(replace(ALERT, cause=str(number), message=str(number)))
    assert [alert.message for alert in log.newest(3)] == ["6", "5", "4"]


def test_another_process_reads_what_was_written(log, tmp_path) -> None:
    """The file holds the alert as soon as the call returns; it is readable by its owner only."""
    log.raise_alert(ALERT)
    other = AlertLog(tmp_path / "state" / "alerts.sqlite", clock=lambda: START)
    assert other.newest() == [replace(ALERT, raised_at=START)]
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0


def test_many_writers_lose_nothing(log) -> None:
    """Four threads of twenty-five alerts each, on a log that none has opened before, leave a hundred."""
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(lambda number: log.raise_alert(replace(ALERT, cause=str(number), message=str(number))), range(100))
        )
    assert sorted(int(alert.message) for alert in log.newest(200)) == list(range(100))


def test_a_severity_is_warn_or_error(log) -> None:
    """The database refuses any other word, and keeps nothing of it."""
    with pytest.raises(sqlite3.IntegrityError):
        log.raise_alert(replace(ALERT, severity="fatal"))
    assert log.newest() == []


def test_one_cause_is_one_incident_until_it_recovers(log) -> None:
    """Raised, counted, worse, counted (a warning of an error too), recovered, raised anew: four entries in the log."""
    error = replace(ALERT, severity="error")
    kinds = [log.raise_alert(alert) for alert in (ALERT, ALERT, error, error, ALERT)]
    assert kinds == ["raised", None, "worse", None, None]
    (incident,) = log.open("toy")
    assert (incident.severity, incident.seen, incident.opened_at) == ("error", 5, START)
    assert log.recover("toy", ALERT.asset, ALERT.cause, message="new rows came")
    assert log.open() == []
    assert not log.recover("toy", ALERT.asset, ALERT.cause, message="again")
    assert log.raise_alert(ALERT) == "raised"
    assert [(a.kind, a.severity, a.seen) for a in log.newest()] == [
        ("raised", "warn", 1), ("recovered", "error", 5), ("worse", "error", 3), ("raised", "warn", 1),
    ]  # fmt: skip


def test_other_causes_assets_and_systems_are_other_incidents(log) -> None:
    """Each of them is told."""
    others = [ALERT, replace(ALERT, cause="drift"), replace(ALERT, asset="toy/x"), replace(ALERT, system="z")]
    assert [log.raise_alert(alert) for alert in others] == ["raised"] * 4
    assert len(log.open()) == 4
    assert len(log.open("toy")) == 3
    assert [alert.system for alert in log.newest(system="z")] == ["z"]


def test_an_open_incident_is_told_again_after_a_quiet_period(tmp_path) -> None:
    """Of 25 looks an hour apart the first is told and the one 24 hours later; a reminder does the same unasked."""
    hours = count()
    log = AlertLog(tmp_path / "alerts.sqlite", clock=lambda: START + timedelta(hours=next(hours)))
    assert [log.raise_alert(ALERT) for _ in range(25)] == ["raised", *[None] * 23, "again"]
    other = AlertLog(tmp_path / "alerts.sqlite", clock=lambda: START + timedelta(hours=47))
    assert other.remind("toy") == 0
    other = AlertLog(tmp_path / "alerts.sqlite", clock=lambda: START + timedelta(hours=49))
    assert other.remind("toy") == 1
    assert other.newest(1)[0].kind == "again"


def test_a_log_of_an_earlier_release_is_read(tmp_path) -> None:
    """Columns that it lacks are added; its entries stay."""
    path = tmp_path / "alerts.sqlite"
    with sqlite3.connect(path) as old:
        old.execute(
            "create table alerts (alert_id integer primary key autoincrement, raised_at text not null, system text,"
            " asset text, cause text, severity text, message text, runbook text)"
        )
        old.execute(
            "insert into alerts (raised_at, system, asset, cause, severity, message, runbook)"
            " values (?, 'toy', 'toy/source/prices', 'freshness', 'warn', 'prices are old', 'Look at the source.')",
            (START.isoformat(),),
        )
    log = AlertLog(path, clock=lambda: START)
    assert log.newest() == [replace(ALERT, raised_at=START)]
    assert log.raise_alert(ALERT) == "raised"
