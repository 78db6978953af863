"""The outbox of alerts: which target has yet to be told what, kept beside the log until it was.

Belongs here: deliveries with their attempts and back-off, in the alert log's SQLite file.
Does not belong here: addresses (`targets.py`: none is ever written here), sending (`delivery.py`).
Times are those of the system's clock: a target that is down comes back in real time, also in a replay.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from forecastle.alert.alerts import Alert, alert_database, as_alert
from forecastle.contract.clock import Clock

BACK_OFF_FIRST: Final = timedelta(seconds=30)
BACK_OFF_MOST: Final = timedelta(hours=1)
GIVEN_UP_AFTER: Final = timedelta(days=7)
LEASE: Final = timedelta(minutes=2)

_SCHEMA: Final = (
    """create table if not exists targets (
      target text primary key, seen_through integer not null, failures integer not null default 0
    )""",
    """create table if not exists deliveries (
      alert_id integer not null, target text not null, queued_at text not null, next_at text not null,
      attempts integer not null default 0, delivered_at text, given_up_at text, error text not null default '',
      primary key (alert_id, target)
    )""",
    "create index if not exists waiting on deliveries (target, next_at) where delivered_at is null",
)
_WAITING: Final = "delivered_at is null and given_up_at is null"
# A recovery must not arrive before the alert that it closes, whatever was tried how often.
_FIRST_OF_INCIDENT: Final = """not exists (
  select 1 from deliveries o join alerts b on b.alert_id = o.alert_id
  where o.target = d.target and o.alert_id < d.alert_id and o.delivered_at is null and o.given_up_at is null
  and (b.system, b.asset, b.cause) = (a.system, a.asset, a.cause)
)"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One alert that one target has yet to be told, and how often that was tried."""

    alert_id: int
    target: str
    attempts: int
    alert: Alert


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much one target has yet to be told, how much it never will be, and why the last attempt failed."""

    target: str
    waiting: int
    given_up: int
    error: str


class AlertOutbox:
    """Deliveries of one alert log.

    Args:
        path: the alert log's file.
        clock: the system's clock, for back-off.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def queue(self, target: str, *, severities: tuple[str, ...]) -> None:
        """Queue what the log holds of these severities and the target was not told.

        A target that is new here is told what is still open, not the whole past.
        """
        with self._connect() as connection:
            row = connection.execute("select seen_through from targets where target = ?", (target,)).fetchone()
            (newest,) = connection.execute("select coalesce(max(alert_id), 0) from alerts").fetchone()
            if row and row[0] >= newest:
                return
            chosen = "alert_id > ?" if row else "alert_id in (select alert_id from incidents) and 0 = ?"
            marks = ",".join("?" * len(severities))
            now = self._clock().isoformat()
            connection.execute(
                "insert or ignore into deliveries (alert_id, target, queued_at, next_at)"
                f" select alert_id, ?, ?, ? from alerts where {chosen} and severity in ({marks})",
                (target, now, now, row[0] if row else 0, *severities),
            )
            connection.execute(
                "insert into targets (target, seen_through) values (?, ?)"
                " on conflict (target) do update set seen_through = excluded.seen_through",
                (target, newest),
            )

    def claim(self, target: str) -> Delivery | None:
        """The next due delivery of a target, the least tried and then the oldest, of one incident always the oldest.

        Others leave it alone for a while.
        """
        now = self._clock()
        with self._connect() as connection:
            row = connection.execute(
                "select d.alert_id, d.attempts, system, asset, cause, severity, message, runbook, raised_at, kind,"
                " run_id, seen from deliveries d join alerts a on a.alert_id = d.alert_id"
                f" where target = ? and next_at <= ? and {_WAITING} and {_FIRST_OF_INCIDENT}"
                " order by attempts, d.alert_id limit 1",
                (target, now.isoformat()),
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                "update deliveries set next_at = ? where alert_id = ? and target = ?",
                ((now + LEASE).isoformat(), row[0], target),
            )
        return Delivery(row[0], target, row[1], as_alert(row[2:]))

    def delivered(self, delivery: Delivery) -> None:
        """The target took it; when it comes back from an outage, whatever else it has to be told is due."""
        now = self._clock().isoformat()
        with self._connect() as connection:
            connection.execute(
                "update deliveries set delivered_at = ?, attempts = ?, error = '' where alert_id = ? and target = ?",
                (now, delivery.attempts + 1, delivery.alert_id, delivery.target),
            )
            connection.execute(
                f"update deliveries set next_at = min(next_at, ?) where target = ? and {_WAITING} and (attempts = 0"
                " or (select failures > 1 from targets where targets.target = deliveries.target))",
                (now, delivery.target),
            )
            connection.execute("update targets set failures = 0 where target = ?", (delivery.target,))

    def failed(self, delivery: Delivery, error: str) -> datetime:
        """It did not go through; when it is tried again. The target's others wait as long; after a week none is."""
        now, name = self._clock(), delivery.target
        with self._connect() as connection:
            connection.execute("update targets set failures = failures + 1 where target = ?", (name,))
            (failures,) = connection.execute("select failures from targets where target = ?", (name,)).fetchone()
            next_at = now + back_off(failures)
            connection.execute(
                "update deliveries set attempts = ?, error = ?,"
                " given_up_at = case when queued_at < ? then ? end where alert_id = ? and target = ?",
                (
                    *(delivery.attempts + 1, error, (now - GIVEN_UP_AFTER).isoformat()),
                    *(now.isoformat(), delivery.alert_id, name),
                ),
            )
            connection.execute(
                f"update deliveries set next_at = ? where target = ? and {_WAITING}", (next_at.isoformat(), name)
            )
        return next_at

    def waiting(self) -> list[Waiting]:
        """Targets that have yet to be told something, or were given up on, by name."""
        with self._connect() as connection:
            rows = connection.execute(
                "select target, sum(given_up_at is null), sum(given_up_at is not null), max(error) from deliveries"
                " where delivered_at is null group by target order by target"
            ).fetchall()
        return [Waiting(*row) for row in rows]

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with alert_database(self._path) as connection:
            for statement in _SCHEMA:
                connection.execute(statement)
            yield connection


def back_off(attempts: int) -> timedelta:
    """Wait after so many failed attempts: 30 s, doubled with each, at most an hour."""
    doubled: int = 2 ** min(attempts - 1, 20)
    return min(BACK_OFF_FIRST * doubled, BACK_OFF_MOST)
