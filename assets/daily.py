"""Daily partitions: which days a system has, which of them a run is asked for, and telling Dagster what each became.

Belongs here: what `batch_predictions`, `live_performance` and `live_calibration` share as assets of a UTC day.
Does not belong here: what stands in a day (`forecastle.promote.live_days`, `predictions.py`).
https://docs.dagster.io/guides/build/partitions-and-backfills
"""

import warnings
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context

from forecastle.contract.errors import StoreError
from forecastle.contract.load import LoadedSystem

DAY = timedelta(days=1)


def daily(system: LoadedSystem) -> dict[str, Any]:
    """Arguments of `dg.asset` for an asset with a partition for each UTC day up to today; a range is one run.

    A run without a partition makes the newest day. One job holds one kind of partitions, so where a feature view is
    itself made day by day its days are the partitions; the tables by day are the same.
    """
    partitions = partitions_of(system)
    if partitions is None:
        return {}
    # Backfill policies are called beta by Dagster, and are the only way to one run for a range.
    warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
    return {"partitions_def": partitions, "backfill_policy": dg.BackfillPolicy.single_run()}


def partitions_of(system: LoadedSystem) -> dg.DailyPartitionsDefinition | None:
    """The days of a system, today included; None where its views have days of their own."""
    declared = system.declaration
    if any(view.partition is not None for view in declared.feature_views.values()):
        return None
    return dg.DailyPartitionsDefinition(start_date=declared.daily_since, timezone="UTC", end_offset=1)


def days_of(context: dg.AssetExecutionContext, *, now: datetime) -> list[date]:
    """The days that a run is asked for, oldest first; today's without a partition.

    Raises:
        StoreError: a day has not begun.
    """
    today = now.astimezone(UTC).date()
    named = days_of_run(context)
    if named and named[-1] > today:
        raise StoreError(f"{named[-1]} has not begun: it is {now:%Y-%m-%d %H:%M} UTC; choose days up to {today}")
    return named or [today]


def end_of(day: date, *, now: datetime) -> datetime:
    """The last instant of a UTC day; of today, now."""
    return min(now, datetime.combine(day + DAY, time(), UTC) - timedelta(microseconds=1))


def tell_days(
    context: dg.AssetExecutionContext,
    system: LoadedSystem,
    asset_key: dg.AssetKey,
    told: Mapping[date, Mapping[str, Any]],
    checks: Mapping[date, dg.AssetCheckResult] | None = None,
) -> None:
    """A materialisation (and a check) for each day that a step made; Dagster itself records those its run names."""
    partitions = partitions_of(system)
    named = days_of_run(context)
    for day, metadata in told.items():
        if partitions is None or not _is_partition(partitions, f"{day}"):
            continue
        if day not in named:
            context.log_event(dg.AssetMaterialization(asset_key, partition=f"{day}", metadata=dict(metadata)))
        check = (checks or {}).get(day)
        # The check of a run that names one day is recorded as that day's by Dagster.
        if check is not None and named != [day]:
            context.log_event(evaluation(check, day))


def days_of_run(context: dg.AssetExecutionContext) -> list[date]:
    """The days that a run names."""
    if context.has_partition_key or context.has_partition_key_range:
        return [date.fromisoformat(key) for key in context.partition_keys]
    return []


def evaluation(check: dg.AssetCheckResult, day: date) -> dg.AssetCheckEvaluation:
    """A check's result as that of one day."""
    assert check.asset_key is not None
    assert check.check_name is not None
    return dg.AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.check_name,
        passed=check.passed,
        severity=check.severity,
        description=check.description,
        metadata=dict(check.metadata or {}),
        partition=f"{day}",
    )


def _is_partition(partitions: dg.DailyPartitionsDefinition, partition: str) -> bool:
    """An injected clock may stand on a day that Dagster does not know; its rows are there all the same."""
    with partition_loading_context():
        return partitions.has_partition_key(partition)
