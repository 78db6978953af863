"""`features/*` and `online/*`: feature views as tables, and their newest rows where serving reads them.

Belongs here: one asset a feature view and one a pushed view.
Does not belong here: SQL (`systems/`), running it (`forecastle.store.feature_views`).
"""

import warnings
from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource

from assets.describe import attributes, column_lineage, column_schema, key, told_plainly, version_metadata
from assets.freshness import FRESHNESS_CHECK, event_time_freshness
from assets.preview import preview
from assets.units import units_result, units_spec
from forecastle.contract.load import LoadedSystem
from forecastle.contract.system import FeatureView
from forecastle.store.delta_log import TableVersion
from forecastle.store.feature_views import publish_view
from forecastle.store.partitions import publish_days
from forecastle.store.push import push_view
from forecastle.store.reduced_views import keep_reduced
from forecastle.store.warehouse import Warehouse
from resources.platform import Platform


def build_features(system: LoadedSystem, name: str) -> dg.AssetsDefinition:
    """The table of one feature view; rows that break the contract are never published."""
    view = system.declaration.feature_views[name]
    asset_key = key(system, "features", name)

    @dg.asset(
        **attributes(
            system,
            "features",
            name,
            description=view.description,
            kinds={"sql", "duckdb"},
            deps=[key(system, "source", source) for source in system.reads(view.sql)],
            freshness=view.freshness,
            metadata=_columns(system, view),
        ),
        **partitions(view),
        check_specs=[
            dg.AssetCheckSpec(FRESHNESS_CHECK, asset=asset_key, description="The newest row is recent enough."),
            units_spec(asset_key),
        ],
    )
    def features_asset(
        context: dg.AssetExecutionContext, platform: Platform, engine: DuckDBResource
    ) -> dg.MaterializeResult:
        with told_plainly():
            warehouse = platform.warehouse()
            version = _publish(warehouse, system, name, days_of(context))
            if view.reduced:
                keep_reduced(warehouse, version, keys=tuple(system.declaration.entity[view.entity].keys))
            units = units_result(platform, system, name, version, asset_key)
        fresh = event_time_freshness(warehouse, version, view.freshness, asset_key, now=platform.clock())
        metadata = {**version_metadata(version), **preview(engine, warehouse, version)}
        return dg.MaterializeResult(metadata=metadata, check_results=[fresh, units])

    return features_asset


def partitions(view: FeatureView) -> dict[str, Any]:
    """Arguments of `dg.asset` for a view that is made day by day; a backfill of a range is one run.

    https://docs.dagster.io/guides/build/partitions-and-backfills/backfilling-data
    """
    if view.partition is None:
        return {}
    # Backfill policies are called beta by Dagster, and are the only way to one run for a range.
    warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
    return {
        "partitions_def": dg.DailyPartitionsDefinition(start_date=view.partition.daily_since, timezone="UTC"),
        "backfill_policy": dg.BackfillPolicy.single_run(),
    }


def days_of(context: dg.AssetExecutionContext) -> dg.TimeWindow | None:
    """The days that a run is asked for; None for the whole history."""
    if context.has_partition_key or context.has_partition_key_range:
        return context.partition_time_window
    return None


def build_online(system: LoadedSystem, name: str) -> dg.AssetsDefinition:
    """The newest row of each entity, pushed to the online store."""

    @dg.asset(
        **attributes(
            system,
            "online",
            name,
            description=f"Newest known row of {name} for every entity, where serving reads it.",
            kinds={"sqlite"},
            deps=[key(system, "features", name)],
            freshness=system.declaration.feature_views[name].freshness,
        )
    )
    def online_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            now, store = platform.clock(), platform.online(system.name)
            pushed = push_view(platform.warehouse(), store, system, name, now=now)
            newest = store.newest(name).event_at_us
        age = "no rows" if newest is None else round(now.timestamp() - newest / 1e6)
        return dg.MaterializeResult(metadata={**pushed.metadata(), "newest_row_age_seconds": age})

    return online_asset


def _columns(system: LoadedSystem, view: FeatureView) -> dict[str, Any]:
    """Which columns a row has, which source columns each is made of, and the SQL that makes it."""
    row = {**system.declaration.entity[view.entity].keys, "event_at": "timestamp", "known_at": "timestamp"}
    return {
        **column_schema(view.features, row),
        **column_lineage(system, system.lineage(view.sql)),
        "sql": dg.MetadataValue.md(f"```sql\n{system.sql[view.sql]}\n```"),
    }


def _publish(warehouse: Warehouse, system: LoadedSystem, name: str, days: dg.TimeWindow | None) -> TableVersion:
    if days is None:
        return publish_view(warehouse, system, name)
    return publish_days(warehouse, system, name, start=days.start, end=days.end)
