"""Is a system's platform at work: does the daemon beat, does the service answer, do new rows come?

Belongs here: one finding a part, for an exit status that a watchdog outside the platform can act on.
Does not belong here: alarms from inside (`assets/automation.py`): a daemon that is dead raises none.
Heartbeats: https://docs.dagster.io/deployment/execution/dagster-daemon
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import yaml

from forecastle.cli.surroundings import Surroundings
from forecastle.contract.errors import ForecastleError, StoreError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.types import parse_duration
from forecastle.store.delta_log import TableName
from forecastle.store.warehouse import Warehouse
from forecastle.store.watermark import watermark

SERVICE_SECONDS: Final = 5.0
DAEMON_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the platform: whether it is well, and why."""

    part: str
    is_well: bool
    reason: str


def findings(system: LoadedSystem, around: Surroundings, *, service: str, heartbeat: str) -> tuple[Finding, ...]:
    """Daemon, service, then each source and feature view that declares `freshness`; nothing is changed.

    `service` is the base URL of the prediction service; a daemon without a heartbeat for `heartbeat` (such as 2m) is
    dead.

    Raises:
        ForecastleError: the URL is no HTTP address, or `heartbeat` is no time of a second or more.
    """
    if not service.startswith(("http://", "https://")):
        raise ForecastleError(f"--service is {service!r}; write an address such as http://127.0.0.1:3000")
    return (
        daemon(around.of_children(), heartbeat=_span(heartbeat)),
        ready(service),
        *freshness(system, around.warehouse(), now=around.clock()),
    )


def daemon(environment: Mapping[str, str], *, heartbeat: timedelta) -> Finding:
    """Ask Dagster for its daemons' heartbeats, in a child: the library does not know Dagster.

    Where Dagster was never started it is not asked: it would make its storage, and a server starting at that moment
    would make it too.
    """
    folder = Path(environment["DAGSTER_HOME"])
    if not _is_made(folder):
        told = f"Dagster was never started in {folder}; start it with forecastle up or dagster dev"
        return Finding("daemon", is_well=False, reason=told)
    tolerance = {"DAGSTER_DAEMON_HEARTBEAT_TOLERANCE": str(int(heartbeat.total_seconds()))}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dagster._daemon", "liveness-check"],
            env={**environment, **tolerance}, capture_output=True, text=True, check=False, timeout=DAEMON_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Finding("daemon", is_well=False, reason=f"its heartbeats could not be read in {DAEMON_SECONDS:.0f} s")
    if done.returncode == 0:
        return Finding("daemon", is_well=True, reason=f"its heartbeats are younger than {heartbeat}")
    said = (done.stdout or done.stderr).strip().splitlines() or [f"status {done.returncode}"]
    told = f"{said[-1]}: no heartbeat for {heartbeat}; start it again, nothing is scheduled without it"
    return Finding("daemon", is_well=False, reason=told)


def ready(service: str) -> Finding:
    """Can the service answer with a bundle?"""
    url = f"{service.rstrip('/')}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=SERVICE_SECONDS) as answer:  # noqa: S310  checked to be HTTP
            return Finding("service", is_well=True, reason=f"{url} answers {answer.status}")
    except (urllib.error.URLError, OSError) as error:
        return Finding("service", is_well=False, reason=f"{url}: {error}")


def freshness(system: LoadedSystem, warehouse: Warehouse, *, now: datetime) -> tuple[Finding, ...]:
    """The age of the newest known row of every table that declares how old it may be."""
    declared = system.declaration
    limits = {("source", name): source.freshness for name, source in declared.sources.items()}
    limits |= {("features", name): view.freshness for name, view in declared.feature_views.items()}
    found = []
    for (kind, name), limit in limits.items():
        if limit is not None:
            found.append(_age(warehouse, TableName(system.name, kind, name), fail=limit.fail, now=now))
    return tuple(found)


def _span(text: str) -> timedelta:
    try:
        span: timedelta = parse_duration(text)
    except ValueError:
        span = timedelta(0)
    if span < timedelta(seconds=1):
        raise ForecastleError(f"--heartbeat is {text!r}; write a time of a second or more, such as 2m")
    return span


def _is_made(folder: Path) -> bool:
    """Is Dagster's storage whole? Of its own SQLite files the schedules' come last; another storage asks its server."""
    settings = folder / "dagster.yaml"
    declared = yaml.safe_load(settings.read_text()) if settings.exists() else None
    if declared and any(name.endswith("storage") for name in declared):
        return True
    try:
        with closing(sqlite3.connect(f"file:{folder / 'schedules' / 'schedules.db'}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("SELECT count(*) FROM alembic_version").fetchone()[0])
    except sqlite3.Error:
        return False


def _age(warehouse: Warehouse, table: TableName, *, fail: timedelta, now: datetime) -> Finding:
    part = f"{table.kind}/{table.name}"
    try:
        newest = watermark(warehouse, table).known_at
    except StoreError as error:
        return Finding(part, is_well=False, reason=str(error))
    if newest is None:
        return Finding(part, is_well=False, reason="the table has no rows")
    told = f"the newest row was known at {newest:%Y-%m-%d %H:%M:%S} UTC, {now - newest} ago; at most {fail} is allowed"
    return Finding(part, is_well=now - newest <= fail, reason=told)
