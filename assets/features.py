"""`features/*` and `online/*`: feature views as tables, and their newest rows where serving reads them.

Belongs here: one asset a feature view and one a pushed view.
Does not belong here: SQL (`systems/`), running it (`forecastle.store.feature_views`).
"""

import dagster as dg

from assets.describe import attributes, column_lineage, column_schema, key, told_plainly, version_metadata
from assets.freshness import FRESHNESS_CHECK, event_time_freshness
from forecastle.contract.load import LoadedSystem
from forecastle.store.delta_log import TableName
from forecastle.store.feature_views import KIND, run_view
from forecastle.store.push import push_view
from forecastle.store.training_set import source_tables
from resources.platform import Platform


def build_features(system: LoadedSystem, name: str) -> dg.AssetsDefinition:
    """The table of one feature view; rows that break the contract are never published."""
    view = system.declaration.feature_views[name]
    asset_key = key(system, "features", name)
    keys: dict[str, str] = dict(system.declaration.entity[view.entity].keys)

    @dg.asset(
        **attributes(
            system,
            "features",
            name,
            description=view.description,
            kinds={"sql", "duckdb"},
            deps=[key(system, "source", source) for source in system.reads(view.sql)],
            freshness=view.freshness,
            metadata={
                **column_schema(view.features, {**keys, "event_at": "timestamp", "known_at": "timestamp"}),
                **column_lineage(system, system.lineage(view.sql)),
                "sql": dg.MetadataValue.md(f"```sql\n{system.sql[view.sql]}\n```"),
            },
        ),
        check_specs=[dg.AssetCheckSpec(FRESHNESS_CHECK, asset=asset_key)],
    )
    def features_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            warehouse = platform.warehouse()
            version = run_view(
                warehouse, TableName(system.name, KIND, name), view, entity=system.declaration.entity[view.entity],
                text=system.sql[view.sql], sources=source_tables(system, view.sql),
            )  # fmt: skip
        fresh = event_time_freshness(warehouse, version, view.freshness, asset_key, now=platform.clock())
        return dg.MaterializeResult(metadata=version_metadata(version), check_results=[fresh])

    return features_asset


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
            pushed = push_view(platform.warehouse(), platform.online(system.name), system, name, now=platform.clock())
        return dg.MaterializeResult(metadata=pushed.metadata())

    return online_asset
