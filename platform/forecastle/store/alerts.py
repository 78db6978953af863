"""The alert log: what the platform noticed, with what to do about it.

Belongs here: recording alerts durably, reading the newest.
Does not belong here: deciding what is alarming and what was said before (asset checks, sensors), sending.
Standard library only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from forecastle.contract.clock import Clock

_SCHEMA = """
create table if not exists alerts (
  alert_id integer primary key autoincrement,
  raised_at text not null, system text not null, asset text not null, cause text not null,
  severity text not null check (severity in ('warn', 'error')), message text not null, runbook text not null
)
"""


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing worth a person's time: about which asset, why, how bad, and what to do first.

    `raised_at` (UTC) is the log's own: an alert that is handed in has none.
    """

    system: str
    asset: str
    cause: str
    severity: Literal["warn", "error"]
    message: str
    runbook: str
    raised_at: datetime | None = None


class AlertLog:
    """Alerts of all systems in one SQLite file.

    Args:
        path: the SQLite file, made on first use.
        clock: tells when an alert was raised.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def raise_alert(self, alert: Alert) -> None:
        """Write one alert; it is on disk when this returns."""
        row = (
            self._clock().isoformat(), alert.system, alert.asset, alert.cause,
            alert.severity, alert.message, alert.runbook,
        )  # fmt: skip
        with self._connect() as connection:
            connection.execute(
                "insert into alerts (raised_at, system, asset, cause, severity, message, runbook)"
                " values (?,?,?,?,?,?,?)",
                row,
            )

    def newest(self, count: int = 50) -> list[Alert]:
        """The newest `count` alerts, newest first."""
        with self._connect() as connection:
            rows = connection.execute(
                "select system, asset, cause, severity, message, runbook, raised_at from alerts"
                " order by alert_id desc limit ?",
                (count,),
            ).fetchall()
        return [
            Alert(system, asset, cause, severity, message, runbook, datetime.fromisoformat(raised_at))
            for system, asset, cause, severity, message, runbook, raised_at in rows
        ]

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=10)
        try:
            # The rollback journal, not WAL: changing a new file to WAL does not wait for others who are opening it.
            connection.execute("pragma synchronous=full")
            connection.execute(_SCHEMA)
            with connection:
                yield connection
        finally:
            connection.close()
