"""The unit check of feature views: minutes where the contract says seconds are told before anybody trains on them.

Belongs here: newest rows of a view beside the champion's training reference, the check's result.
Does not belong here: which factors are suspected (`forecastle.measure.units`), evidence (`forecastle.measure.drift`).
"""

from __future__ import annotations

import dagster as dg

from assets.champion import champion_bundle
from forecastle.contract.load import LoadedSystem
from forecastle.measure.drift import unit_change
from forecastle.measure.reference import Reference
from forecastle.store.newest_rows import newest_rows
from forecastle.store.warehouse import TableVersion
from resources.platform import Platform

UNITS_CHECK = "units"


def units_spec(asset_key: dg.AssetKey) -> dg.AssetCheckSpec:
    """Not blocking: only a new champion has a new reference, and it is trained after this asset."""
    told = "Values are of the size that the champion was trained on, not of another unit."
    return dg.AssetCheckSpec(UNITS_CHECK, asset=asset_key, description=told)


def units_result(
    platform: Platform, system: LoadedSystem, name: str, version: TableVersion, asset_key: dg.AssetKey
) -> dg.AssetCheckResult:
    """Compare the newest rows of a view with the champion's reference, feature by feature."""
    bundle = champion_bundle(platform, system)
    if bundle is None:
        return _result(asset_key, {}, "There is no champion yet whose training rows could be compared with.")
    features = [feature for feature in system.declaration.feature_views[name].features if feature in bundle.reference]
    if not features:
        return _result(asset_key, {}, "The champion learned from no feature of this view, so none has a reference.")
    rows = newest_rows(platform.warehouse(), version, features, window=system.declaration.drift.window)
    references = {feature: Reference.from_json(bundle.reference[feature]) for feature in features}
    found = {feature: unit_change(references[feature], rows[feature]) for feature in features}
    alarms = {feature: sentence for feature, sentence in found.items() if sentence is not None}
    told = "; ".join(f"{feature}: {sentence}" for feature, sentence in alarms.items())
    return _result(asset_key, alarms, told or f"The newest {len(rows):,} rows are of the size of the training rows.")


def _result(asset_key: dg.AssetKey, alarms: dict[str, str], told: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset_key,
        check_name=UNITS_CHECK,
        passed=not alarms,
        severity=dg.AssetCheckSeverity.ERROR,
        description=told,
        metadata={"features": ", ".join(alarms) or "none"},
    )
