"""`source/*`: raw rows from outside, checked against their contract.

Belongs here: one asset a declared source, its contract check and its event-time freshness check.
Does not belong here: how files are read (`forecastle.store.sources`).
"""

import dagster as dg

from assets.describe import attributes, column_schema, key, told_plainly, version_metadata
from assets.freshness import FRESHNESS_CHECK, event_time_freshness
from forecastle.contract.load import LoadedSystem
from forecastle.contract.system import KnownFrom, Source
from forecastle.store.sources import ingest
from resources.platform import Platform

TIMES = {"event_at": "timestamp", "known_at": "timestamp"}


def build_source(system: LoadedSystem, name: str) -> dg.AssetsDefinition:
    """The asset of one declared source."""
    source = system.declaration.sources[name]
    asset_key = key(system, "source", name)

    @dg.asset(
        **attributes(
            system,
            "source",
            name,
            description=source.description or f"Rows of {source.path}.",
            kinds={source.kind, "duckdb"},
            deps=_waits_for(system, source),
            freshness=source.freshness,
            metadata={**column_schema(source.columns, TIMES), "path": source.path},
        ),
        check_specs=[
            dg.AssetCheckSpec("contract", asset=asset_key, description="Rows that break the contract are few."),
            dg.AssetCheckSpec(FRESHNESS_CHECK, asset=asset_key, description="The newest row is recent enough."),
        ],
    )
    def source_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            warehouse = platform.warehouse()
            ingested = ingest(warehouse, system.name, name, source, data=platform.data_folder(system))
        read = ingested.read
        contract = dg.AssetCheckResult(
            asset_key=asset_key,
            check_name="contract",
            passed=read.quarantined == 0,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"quarantined": read.quarantined, "rows": read.rows, "limit": source.quarantine_limit},
        )
        fresh = event_time_freshness(warehouse, ingested.source, source.freshness, asset_key, now=platform.clock())
        return dg.MaterializeResult(
            metadata={**version_metadata(ingested.source), **read.facts()}, check_results=[contract, fresh]
        )

    return source_asset


def _waits_for(system: LoadedSystem, source: Source) -> list[dg.AssetKey]:
    """The source that the knowledge time is taken from."""
    known = source.known_at
    return [key(system, "source", known.latest)] if isinstance(known, KnownFrom) else []
