"""`data_quality`: is what arrives like what arrived before, source by source and feature by feature.

Belongs here: the asset, a check a measure, the picture.
Does not belong here: counting (`forecastle.store.quality`), expectations (`forecastle.measure.quality`), drift from a
training reference (`drift.py`).
"""

import dagster as dg
import pandas as pd

from assets.describe import attributes, key, told_plainly, version_metadata
from assets.shown import shown_picture, shown_table
from forecastle.contract.load import LoadedSystem
from forecastle.draw.quality import quality_history
from forecastle.measure.quality import QualityLimits, judge_quality, quality_bands
from forecastle.store.quality import PROFILE_COLUMNS, daily_profile, profiled_tables
from resources.platform import Platform

_CHECKS = {
    "null_rate": "No column is null more often than its own history lets expect.",
    "outlier_rate": "No column lies beyond its usual extremes more often than its own history lets expect.",
    "unit_jump_rate": "No column jumps by the factor of another unit more often than its own history lets expect.",
    "volume": "As many rows came yesterday as on the same weekday before.",
}
SHOWN = 60


def build_data_quality(system: LoadedSystem) -> dg.AssetsDefinition:
    """Daily null, outlier and jump rates and volumes of every source and feature view, judged by their own history."""
    declared = system.declaration
    asset_key = key(system, "data_quality")

    @dg.asset(
        **attributes(
            system,
            "data_quality",
            description="Volume, null rate, outlier rate and jumps by a unit's factor of each source and feature, by "
            "the day on which rows became known, against the same weekday and the worst days before.",
            kinds={"duckdb", "python"},
            deps=[
                *(key(system, "source", name) for name in declared.sources),
                *(key(system, "features", name) for name in declared.feature_views),
            ],
        ),
        check_specs=[dg.AssetCheckSpec(name, asset=asset_key, description=told) for name, told in _CHECKS.items()],
    )
    def data_quality_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            profile, judged = quality_of(platform, system)
            bands = quality_bands(profile, judged, limits=limits_of(system))
            platform.warehouse().publish(f"{system.name}/data_quality/by_day", bands)
            version = platform.warehouse().publish(f"{system.name}/data_quality/all", judged)
        alarms = judged[judged["alarm"]]
        metadata = {
            **version_metadata(version),
            "alarms": len(alarms),
            "days": f"{len(bands):,} days of series with their bands stand in data_quality.by_day",
            "picture": shown_picture(quality_history(profile, judged), label="Data quality"),
            "table": shown_table(_most_unusual(judged), max_rows=SHOWN),
        }
        checks = [quality_check(judged, measure, asset_key) for measure in _CHECKS]
        return dg.MaterializeResult(metadata=metadata, check_results=checks)

    return data_quality_asset


def quality_of(platform: Platform, system: LoadedSystem) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The daily profile of every table that is there, and what is to be said of its newest day."""
    warehouse, now = platform.warehouse(), platform.clock()
    parts = [pd.DataFrame(columns=list(PROFILE_COLUMNS))]
    for table in profiled_tables(system):
        version = warehouse.version(f"{system.name}/{table.kind}/{table.name}")
        if version is not None:
            parts.append(daily_profile(warehouse, table, version, now=now))
    profile = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    return profile, judge_quality(profile, today=now.date(), limits=limits_of(system))


def limits_of(system: LoadedSystem) -> QualityLimits:
    """The declared tolerances."""
    drift = system.declaration.drift
    return QualityLimits(null_rate=drift.null_rate_tolerance, outlier_rate=drift.tail_rate_tolerance)


def quality_check(judged: pd.DataFrame, measure: str, asset_key: dg.AssetKey) -> dg.AssetCheckResult:
    """One measure over all tables; values that jump by a unit's factor are an error, whatever else is a warning."""
    alarms = judged[(judged["measure"] == measure) & judged["alarm"]]
    said = [f"{row.table}{'.' if row.column else ''}{row.column} {row.reason}" for row in alarms.itertuples()]
    severe = measure == "unit_jump_rate"
    return dg.AssetCheckResult(
        asset_key=asset_key,
        check_name=measure,
        passed=not said,
        severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
        description="\n".join(said) or f"{int((judged['measure'] == measure).sum())} series are as usual.",
    )


def _most_unusual(judged: pd.DataFrame) -> pd.DataFrame:
    shown = judged.sort_values(["alarm", "p_value"], ascending=[False, True])
    return shown[["table", "column", "measure", "day", "rows", "value", "expected", "worst_before", "reason"]]
