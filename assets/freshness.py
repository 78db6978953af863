"""Event-time freshness: how old the newest row is, whatever the hour of the last materialisation.

Belongs here: the asset check that looks at rows, because a green asset full of old rows is a stale one.
Does not belong here: Dagster's own freshness policy (`describe.policy`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import dagster as dg

from forecastle.contract.source import Freshness
from forecastle.contract.types import format_duration
from forecastle.store.warehouse import TableVersion, Warehouse
from forecastle.store.watermark import Watermark, watermark

FRESHNESS_CHECK = "event_time_freshness"

State = Literal["PASS", "WARN", "FAIL"]


def event_time_freshness(
    warehouse: Warehouse,
    version: TableVersion,
    freshness: Freshness | None,
    asset_key: dg.AssetKey,
    *,
    now: datetime,
) -> dg.AssetCheckResult:
    """Compare the newest times of a table version with the declared windows."""
    newest = watermark(warehouse, version)
    state, sentence = judged(newest, freshness, now=now)
    age = _age_seconds(newest, now=now)
    return dg.AssetCheckResult(
        asset_key=asset_key,
        check_name=FRESHNESS_CHECK,
        passed=state == "PASS",
        severity=dg.AssetCheckSeverity.ERROR if state == "FAIL" else dg.AssetCheckSeverity.WARN,
        description=sentence,
        metadata={
            "newest_event_at": str(newest.event_at),
            "newest_known_at": str(newest.known_at),
            "age_hours": round(age / 3600, 2) if age is not None else "no rows",
        },
    )


def state_of(warehouse: Warehouse, version: TableVersion, freshness: Freshness, *, now: datetime) -> tuple[State, str]:
    """PASS, WARN or FAIL of a table version at this moment, and the sentence that says why.

    Raises:
        StoreError: its rows cannot be read.
    """
    return judged(watermark(warehouse, version), freshness, now=now)


def judged(newest: Watermark, freshness: Freshness | None, *, now: datetime) -> tuple[State, str]:
    """PASS, WARN or FAIL of newest times at this moment, and the sentence that says why."""
    age = _age_seconds(newest, now=now)
    sentence = _sentence(newest, age, freshness)
    if freshness is None:
        return "PASS", sentence
    if age is None or age > freshness.fail.total_seconds():
        return "FAIL", sentence
    return ("WARN" if age > freshness.warn.total_seconds() else "PASS"), sentence


def _age_seconds(newest: Watermark, *, now: datetime) -> float | None:
    """Age of the newest row: both of its times must move on, or old rows came again as if they were new."""
    if newest.known_at is None or newest.event_at is None:
        return None
    return (now - min(newest.known_at, newest.event_at)).total_seconds()


def _sentence(newest: Watermark, age: float | None, freshness: Freshness | None) -> str:
    if newest.known_at is None or newest.event_at is None or age is None:
        return "The table has no rows."
    limit = f"; at most {format_duration(freshness.warn)} is expected" if freshness else "; no limit is declared"
    if newest.event_at < newest.known_at:
        told = f"The newest row is of {newest.event_at:%Y-%m-%d %H:%M} UTC (known at {newest.known_at:%Y-%m-%d %H:%M})"
    else:
        told = f"The newest row was known at {newest.known_at:%Y-%m-%d %H:%M} UTC"
    return f"{told}, {age / 3600:.1f} hours ago{limit}."
