"""Days of `live_performance` and `live_calibration`: the table by day, what each day says, its check.

Belongs here: which days a step makes anew, metadata and checks of one day.
Does not belong here: numbers (`forecastle.promote.live_days`), all days together (`live.py`), partitions (`daily.py`).
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd

from assets.daily import days_of, days_of_run, partitions_of
from assets.shown import shown_picture, shown_table
from forecastle.contract.load import LoadedSystem
from forecastle.draw.history import score_history
from forecastle.learn.build import cluster_column
from forecastle.promote.live_days import (
    DAY_ALPHA,
    calibration_of_days,
    changed_days,
    day_sentence,
    days_in,
    performance_of,
    with_days,
)
from resources.platform import Platform

SHOWN_DAYS = 30


@dataclass(frozen=True, slots=True, eq=False)
class ByDay:
    """The whole table by day, the rows that were made now, and the days that the run names."""

    whole: pd.DataFrame
    made: pd.DataFrame
    named: tuple[date, ...]

    def told(self) -> dict[date, dict[str, Any]]:
        """What is said of each day that was made."""
        return {row["day"]: _said(row) for _, row in self.made.iterrows()}

    def metadata(self, value: str, label: str) -> dict[str, Any]:
        """The newest named day's own numbers, a picture and the newest days."""
        found = self.told()[max(self.named)] if self.named else {}
        newest = self.whole.tail(SHOWN_DAYS).iloc[::-1].drop(columns="digest")
        found |= {"days": shown_table(newest)}
        if self.whole[value].notna().any():
            bands = {"low": "low", "high": "high"} if {"low", "high"} <= set(self.whole) else {}
            picture = score_history(self.whole, value=value, period="day", title=label, **bands)
            found["picture"] = shown_picture(picture, label=label)
        return found

    def check_of_run(self, checks: Mapping[date, dg.AssetCheckResult]) -> dg.AssetCheckResult:
        """The result that Dagster records for the run: that of its worst named day, else of the worst of all."""
        chosen = [checks[day] for day in sorted(self.named or checks, reverse=True)]
        return next((check for check in chosen if not check.passed), chosen[0])


def renew_days(
    context: dg.AssetExecutionContext, platform: Platform, system: LoadedSystem, kind: str, outcomes: pd.DataFrame
) -> ByDay:
    """Make the days that a run asks for and all whose predictions or outcomes changed; publish `KIND/by_day`."""
    warehouse, table = platform.warehouse(), f"{system.name}/{kind}/by_day"
    version, days = warehouse.version(table), days_in(outcomes)
    before = None if version is None else warehouse.frame(version)
    asked = changed_days(days, before, asked=days_of(context, now=platform.clock()))
    if kind == "live_performance":
        made = performance_of(days, asked, baseline=system.declaration.evaluate.baseline)
    else:
        made = calibration_of_days(days, asked, cluster=cluster_column(system))
    whole = with_days(before, made)
    warehouse.publish(table, whole)
    return ByDay(whole, made, tuple(days_of_run(context)))


def day_spec(system: LoadedSystem, asset_key: dg.AssetKey, name: str, told: str) -> dg.AssetCheckSpec:
    """A check of each day; alarms come from the checks of all days, which see more rows."""
    with warnings.catch_warnings():
        # Dagster calls checks of partitions a preview.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(name, asset=asset_key, description=told, partitions_def=partitions_of(system))


def outcomes_came(asset_key: dg.AssetKey, row: Any) -> dg.AssetCheckResult:
    """A day is in order while it is not mature, and afterwards when no outcome is overdue."""
    return _result(asset_key, "outcomes_came", row, passed=not (row.is_final and row.overdue))


def day_gap(asset_key: dg.AssetKey, row: Any) -> dg.AssetCheckResult:
    """A day is in order while it is not final, and afterwards unless its gap is no chance."""
    found = _result(asset_key, "day_gap", row, passed=not (row.is_final and row.p_value < DAY_ALPHA))
    gap = f" Outcomes less probabilities: {row.gap:+.3f} [{row.low:+.3f}, {row.high:+.3f}]." if row.known else ""
    return found._replace(description=f"{found.description}{gap}")


def _result(asset_key: dg.AssetKey, name: str, row: Any, *, passed: bool) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset_key,
        check_name=name,
        passed=bool(passed),
        severity=dg.AssetCheckSeverity.WARN,
        description=day_sentence(row),
    )


def _said(row: "pd.Series[Any]") -> dict[str, Any]:
    """A day's numbers, without those that could not be computed."""
    counts = {"predictions", "known", "asked_too_late", "overdue"}
    left_out = {"day", "digest", "final_at", "is_final"}
    numbers = {n: v for n, v in row.items() if n not in left_out and pd.notna(v)}
    return {
        "day": f"{row['day']}",
        "maturity": day_sentence(row),
        "is_final": bool(row["is_final"]),
        **{str(n): int(v) if n in counts else float(v) for n, v in numbers.items()},
    }
