"""Event-time freshness: how old the newest row is, whatever the hour of the last materialisation.

Belongs here: the asset check that looks at rows, because a green asset full of old rows is a stale one.
Does not belong here: Dagster's own freshness policy (`describe.policy`).
"""

from __future__ import annotations

from datetime import datetime

import dagster as dg

from forecastle.contract.source import Freshness
from forecastle.contract.types import format_duration
from forecastle.store.warehouse import TableVersion, Warehouse
from forecastle.store.watermark import watermark

FRESHNESS_CHECK = "event_time_freshness"


def event_time_freshness(
    warehouse: Warehouse,
    version: TableVersion,
    freshness: Freshness | None,
    asset_key: dg.AssetKey,
    *,
    now: datetime,
) -> dg.AssetCheckResult:
    """Compare the newest knowledge time of a table version with the declared windows."""
    newest = watermark(warehouse, version).known_at
    age = (now - newest).total_seconds() if newest else None
    failed = freshness is not None and (age is None or age > freshness.fail.total_seconds())
    warned = freshness is not None and (age is None or age > freshness.warn.total_seconds())
    return dg.AssetCheckResult(
        asset_key=asset_key,
        check_name=FRESHNESS_CHECK,
        passed=not warned,
        severity=dg.AssetCheckSeverity.ERROR if failed else dg.AssetCheckSeverity.WARN,
        description=_sentence(newest, age, freshness),
        metadata={"newest_known_at": str(newest), "age_hours": round(age / 3600, 2) if age is not None else "no rows"},
    )


def _sentence(newest: datetime | None, age: float | None, freshness: Freshness | None) -> str:
    if newest is None or age is None:
        return "The table has no rows."
    limit = f"; at most {format_duration(freshness.warn)} is expected" if freshness else "; no limit is declared"
    return f"The newest row was known at {newest:%Y-%m-%d %H:%M} UTC, {age / 3600:.1f} hours ago{limit}."
