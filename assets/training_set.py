"""`training_set`: label rows joined point-in-time to feature views, versioned and hashed.

Belongs here: the asset, its leakage check (blocking: a model that saw the future is worse than none).
Does not belong here: the join (`forecastle.store.training_set`).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.describe import attributes, column_lineage, column_schema, key, told_plainly, version_metadata
from forecastle.contract.load import LoadedSystem
from forecastle.learn.build import feature_lineage
from forecastle.store.leakage import leakage_check
from forecastle.store.training_set import accept_training_set, draft_training_set, snapshot_hash
from resources.platform import Platform

LEAKAGE = "Features re-derived from sources cut at predict_at are the ones in the training set."


def build_training_set(system: LoadedSystem) -> dg.AssetsDefinition:
    """The training set of a system: every label row once, every feature as it was known at predict_at."""
    declared = system.declaration
    asset_key = key(system, "training_set")

    @dg.asset(
        **attributes(
            system,
            "training_set",
            description="Label rows joined to what was known when each prediction would have been asked.",
            kinds={"duckdb"},
            deps=[
                *(key(system, "features", name) for name in declared.feature_views),
                *(key(system, "source", name) for name in system.reads(declared.label.sql)),
            ],
            metadata=_columns(system),
        ),
        check_specs=[dg.AssetCheckSpec("leakage", asset=asset_key, blocking=True, description=LEAKAGE)],
    )
    def training_set_asset(platform: Platform) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        with told_plainly():
            warehouse = platform.warehouse()
            draft = draft_training_set(warehouse, system, now=platform.clock())
            report = leakage_check(warehouse, system, draft)
        yield dg.AssetCheckResult(
            asset_key=asset_key, check_name="leakage", passed=report.ok, severity=dg.AssetCheckSeverity.ERROR,
            description=report.sentence(), metadata=report.metadata(),
        )  # fmt: skip
        if not report.ok:
            raise dg.Failure(description=f"{report.sentence()}; the old training set stays", allow_retries=False)
        with told_plainly():
            version = accept_training_set(warehouse, draft)
        snapshot = snapshot_hash(version)
        metadata = {**version_metadata(version), "snapshot": snapshot}
        yield dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(snapshot))

    return training_set_asset


def _columns(system: LoadedSystem) -> dict[str, Any]:
    """Which columns a row has, and which source columns each feature is made of."""
    declared = system.declaration
    row = {**declared.entity_of_label().keys, "predict_at": "timestamp", "outcome": "int64", "known_at": "timestamp"}
    schema = column_schema({**declared.label.columns, **declared.features()}, row)
    return schema | column_lineage(system, feature_lineage(system))
