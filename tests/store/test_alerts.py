"""The alert log: what was raised is there, in order, whoever wrote it."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from forecastle.store.alerts import Alert, AlertLog

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
        replace(ALERT, severity="error", message="prices are very old", raised_at=START + timedelta(seconds=1)),
        replace(ALERT, raised_at=START),
    ]


def test_only_as_many_as_asked_for(log) -> None:
    """Of seven alerts the newest three."""
    for number in range(7):
        log.raise_alert(replace(ALERT, message=str(number)))
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
        list(pool.map(lambda number: log.raise_alert(replace(ALERT, message=str(number))), range(100)))
    assert sorted(int(alert.message) for alert in log.newest(200)) == list(range(100))


def test_a_severity_is_warn_or_error(log) -> None:
    """The database refuses any other word, and keeps nothing of it."""
    with pytest.raises(sqlite3.IntegrityError):
        log.raise_alert(replace(ALERT, severity="fatal"))
    assert log.newest() == []
