"""`drift/*`: has the population moved away from what the champion was trained on.

Belongs here: the drift asset, its picture and its check.
Does not belong here: the tests (`forecastle.measure.drift`), alerts (`sensors.py`).
"""

from datetime import datetime

import dagster as dg
import pandas as pd

from assets.champion import required_champion
from assets.describe import attributes, key, told_plainly, version_metadata
from assets.shown import shown_picture, shown_table
from forecastle.contract.errors import StoreError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.system import Drift
from forecastle.draw.drift import drift_diagram
from forecastle.learn.bundle import Bundle
from forecastle.measure.drift import DriftTable, Tolerance, drift_table
from forecastle.measure.reference import Reference
from forecastle.store.population import population
from forecastle.store.warehouse import Warehouse
from resources.platform import Platform


def build_drift(system: LoadedSystem) -> dg.AssetsDefinition:
    """Features of the newest weeks against the champion's training reference."""
    declared = system.declaration
    asset_key = key(system, "drift", "features")

    @dg.asset(
        **attributes(
            system,
            "drift",
            "features",
            description=f"Features of the last {declared.drift.window.days} days against the champion's training rows.",
            kinds={"python"},
            deps=[key(system, "promotion"), *(key(system, "features", name) for name in declared.feature_views)],
        ),
        check_specs=[dg.AssetCheckSpec("drift", asset=asset_key, description="No feature moved beyond its tolerance.")],
    )
    def drift_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            bundle = required_champion(platform, system)
            warehouse = platform.warehouse()
            rows = newest_weeks(warehouse, system, now=platform.clock())
            drift = drift_of_features(system, bundle, rows)
            version = warehouse.publish(f"{system.name}/drift/features", drift.features)
        check = dg.AssetCheckResult(
            asset_key=asset_key, check_name="drift", passed=not drift.alarms,
            severity=dg.AssetCheckSeverity.WARN, description="\n".join(drift.reasons) or "Nothing moved.",
            metadata={"alarms": ", ".join(drift.alarms) or "none", "rows": len(rows)},
        )  # fmt: skip
        table = drift.features[["feature", "psi", "ks", "median_ratio", "q_value", "alarm", "reason"]]
        metadata = {
            **version_metadata(version),
            "picture": shown_picture(drift_diagram(drift), label="Drift"),
            "table": shown_table(table),
        }
        return dg.MaterializeResult(metadata=metadata, check_results=[check])

    return drift_asset


def drift_of_features(system: LoadedSystem, bundle: Bundle, rows: pd.DataFrame) -> DriftTable:
    """How the rows lie against what the bundle's features looked like in training."""
    declared = system.declaration.drift
    return drift_table(
        {name: Reference.from_json(data) for name, data in bundle.reference.items()},
        rows,
        tolerance=tolerance_of(declared),
        alpha=declared.alpha_of_look,
        independent_share=entities_per_row(system, rows),
    )


def tolerance_of(declared: Drift) -> Tolerance:
    """The declared changes that nobody would act on."""
    return Tolerance(
        psi=declared.psi_tolerance, null_rate=declared.null_rate_tolerance, tail_rate=declared.tail_rate_tolerance
    )


def entities_per_row(system: LoadedSystem, rows: pd.DataFrame) -> float:
    """An entity stands in the window once a week, and whether a feature of it is null is then mostly the same."""
    return len(rows[list(system.declaration.entity_of_label().keys)].drop_duplicates()) / len(rows)


def newest_weeks(warehouse: Warehouse, system: LoadedSystem, *, now: datetime) -> pd.DataFrame:
    """Answerable entities of the declared window.

    Raises:
        StoreError: there are none, as where recorded data end long before `now`.
    """
    window = system.declaration.drift.window
    rows = population(warehouse, system, now=now, window=window)
    if len(rows) == 0:
        raise StoreError(
            f"{system.name}: no entity has features of the last {window.days} days at {now:%Y-%m-%d %H:%M} UTC; "
            "look at the freshness of the sources, or replay recorded data with FORECASTLE_NOW"
        )
    return rows
