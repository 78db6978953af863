"""The alert log: what the platform noticed, with what to do about it, and which of it is still so.

Belongs here: recording alerts durably, one open incident a cause, reading the newest.
Does not belong here: deciding what is alarming (asset checks, sensors), who is told (`outbox.py`), sending
(`delivery.py`). Standard library only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from forecastle.contract.clock import Clock

Severity = Literal["warn", "error"]
Kind = Literal["raised", "worse", "again", "recovered"]

QUIET_PERIOD: Final = timedelta(hours=24)

_SCHEMA = """
create table if not exists alerts (
  alert_id integer primary key autoincrement,
  raised_at text not null, system text not null, asset text not null, cause text not null,
  severity text not null check (severity in ('warn', 'error')), message text not null, runbook text not null,
  kind text not null default 'raised', run_id text not null default '', seen integer not null default 1
)
"""
_INCIDENTS = """
create table if not exists incidents (
  system text not null, asset text not null, cause text not null, severity text not null,
  opened_at text not null, last_at text not null, told_at text not null,
  seen integer not null, alert_id integer not null, primary key (system, asset, cause)
)
"""
# Columns that logs of earlier releases do not have.
_ADDED: Final = {
    "kind": "text not null default 'raised'",
    "run_id": "text not null default ''",
    "seen": "integer not null default 1",
}
_COLUMNS: Final = "system, asset, cause, severity, message, runbook, raised_at, kind, run_id, seen"


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing worth a person's time: about which asset, why, how bad, and what to do first.

    `asset` is the asset's key with slashes (a partition behind it in brackets), `run_id` the Dagster run that found
    it, "" where none did. `raised_at` (UTC), `kind` and `seen` are the log's own: `raised` opens an incident, `worse`
    rises its severity, `again` reminds of it after a quiet period, `recovered` closes it; `seen` is how often it was
    noticed since it opened.
    """

    system: str
    asset: str
    cause: str
    severity: Severity
    message: str
    runbook: str
    raised_at: datetime | None = None
    kind: Kind = "raised"
    run_id: str = ""
    seen: int = 1


@dataclass(frozen=True, slots=True)
class Incident:
    """One cause that was alarming and has not recovered; times are UTC, `severity` is the worst so far."""

    system: str
    asset: str
    cause: str
    severity: Severity
    opened_at: datetime
    last_at: datetime
    told_at: datetime
    seen: int


class AlertLog:
    """Alerts of all systems in one SQLite file.

    Args:
        path: the SQLite file, made on first use.
        clock: tells when an alert was raised.
        quiet_period: an open incident is told again only after this long, or when its severity rises.
    """

    def __init__(self, path: Path, *, clock: Clock, quiet_period: timedelta = QUIET_PERIOD) -> None:
        self._path = path
        self._clock = clock
        self._quiet_period = quiet_period

    def raise_alert(self, alert: Alert) -> Kind | None:
        """Write one alert; it is on disk when this returns. What has it become; None: it was only counted.

        The same system, asset and cause is one incident until it recovers: a first alert opens it, a worse one and
        one after the quiet period are told again, every other one is counted. Nothing is sent here and nobody waited
        for: `alert_delivery.deliver` does that.
        """
        now = self._clock()
        with self._connect() as connection:
            incident = _incident(connection, alert)
            kind = self._kind(alert, incident, now)
            severity = "error" if incident and incident.severity == "error" else alert.severity
            seen = incident.seen + 1 if incident else 1
            if kind is None:
                connection.execute(
                    "update incidents set last_at = ?, seen = ? where (system, asset, cause) = (?, ?, ?)",
                    (now.isoformat(), seen, alert.system, alert.asset, alert.cause),
                )
                return None
            alert_id = _write(connection, alert, kind, severity=severity, now=now, seen=seen)
            opened_at = incident.opened_at if incident else now
            connection.execute(
                "insert or replace into incidents values (?,?,?,?,?,?,?,?,?)",
                (
                    *(alert.system, alert.asset, alert.cause, severity),
                    *(opened_at.isoformat(), now.isoformat(), now.isoformat(), seen, alert_id),
                ),
            )
        return kind

    def recover(self, system: str, asset: str, cause: str, *, message: str, run_id: str = "") -> bool:
        """Close the incident of that cause and write that it is over; False: there was none open."""
        now = self._clock()
        with self._connect() as connection:
            alert = Alert(system, asset, cause, "warn", message, "Nothing to do.", run_id=run_id)
            incident = _incident(connection, alert)
            if incident is None:
                return False
            connection.execute("delete from incidents where (system, asset, cause) = (?, ?, ?)", (system, asset, cause))
            _write(connection, alert, "recovered", severity=incident.severity, now=now, seen=incident.seen)
        return True

    def remind(self, system: str) -> int:
        """Tell each open incident of a system again whose quiet period is over; how many there were."""
        now = self._clock()
        due = [incident for incident in self.open(system) if now - incident.told_at >= self._quiet_period]
        for incident in due:
            self.raise_alert(self.last(incident))
        return len(due)

    def open(self, system: str | None = None) -> list[Incident]:
        """Incidents that have not recovered, oldest first; of one system or of all."""
        with self._connect() as connection:
            rows = connection.execute(
                "select system, asset, cause, severity, opened_at, last_at, told_at, seen from incidents"
                " where ? is null or system = ? order by opened_at, asset, cause",
                (system, system),
            ).fetchall()
        return [_as_incident(row) for row in rows]

    def newest(self, count: int = 50, *, system: str | None = None) -> list[Alert]:
        """The newest `count` entries, newest first; of one system or of all."""
        with self._connect() as connection:
            rows = connection.execute(
                f"select {_COLUMNS} from alerts where ? is null or system = ? order by alert_id desc limit ?",
                (system, system, count),
            ).fetchall()
        return [as_alert(row) for row in rows]

    def last(self, incident: Incident) -> Alert:
        """What was told of an incident last."""
        with self._connect() as connection:
            row = connection.execute(
                f"select {_COLUMNS} from alerts where (system, asset, cause) = (?, ?, ?) order by alert_id desc",
                (incident.system, incident.asset, incident.cause),
            ).fetchone()
        return as_alert(row)

    def _kind(self, alert: Alert, incident: Incident | None, now: datetime) -> Kind | None:
        if incident is None:
            return "raised"
        if alert.severity == "error" and incident.severity == "warn":
            return "worse"
        return "again" if now - incident.told_at >= self._quiet_period else None

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with alert_database(self._path) as connection:
            yield connection


@contextmanager
def alert_database(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction on the file of the alert log, alone among writers; its tables are there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    try:
        # The rollback journal, not WAL: changing a new file to WAL does not wait for others who are opening it.
        connection.execute("pragma synchronous=full")
        connection.execute("begin immediate")
        connection.execute(_SCHEMA)
        connection.execute(_INCIDENTS)
        there = {row[1] for row in connection.execute("pragma table_info(alerts)")}
        for column, declared in _ADDED.items():
            if column not in there:
                connection.execute(f"alter table alerts add column {column} {declared}")
        yield connection
        connection.execute("commit")
    finally:
        connection.close()


def as_alert(row: tuple[str, ...]) -> Alert:
    """One row of the log, its columns as `_COLUMNS` has them."""
    system, asset, cause, severity, message, runbook, raised_at, kind, run_id, seen = row
    at = datetime.fromisoformat(raised_at)
    return Alert(system, asset, cause, severity, message, runbook, at, kind, run_id, int(seen))  # type: ignore[arg-type]


def _write(
    connection: sqlite3.Connection, alert: Alert, kind: Kind, *, severity: str, now: datetime, seen: int
) -> int | None:
    return connection.execute(
        f"insert into alerts ({_COLUMNS}) values (?,?,?,?,?,?,?,?,?,?)",
        (
            *(alert.system, alert.asset, alert.cause, severity, alert.message, alert.runbook),
            *(now.isoformat(), kind, alert.run_id, seen),
        ),
    ).lastrowid


def _incident(connection: sqlite3.Connection, alert: Alert) -> Incident | None:
    row = connection.execute(
        "select system, asset, cause, severity, opened_at, last_at, told_at, seen from incidents"
        " where (system, asset, cause) = (?, ?, ?)",
        (alert.system, alert.asset, alert.cause),
    ).fetchone()
    return _as_incident(row) if row else None


def _as_incident(row: tuple[str, ...]) -> Incident:
    system, asset, cause, severity, *times, seen = row
    opened_at, last_at, told_at = map(datetime.fromisoformat, times)
    return Incident(system, asset, cause, severity, opened_at, last_at, told_at, int(seen))  # type: ignore[arg-type]
