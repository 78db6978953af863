"""`parity`: what serving reads and what was served, derived again from the warehouse; it blocks promotion.

Belongs here: the asset and its check.
Does not belong here: the comparisons (`forecastle.store.parity`, `forecastle.store.online_parity`).
"""

from collections.abc import Mapping
from datetime import datetime

import dagster as dg

from assets.describe import attributes, key, told_plainly
from assets.gates import TABLES, feature_tables
from assets.shown import shown_table
from forecastle.contract.feature_set import FeatureSet
from forecastle.contract.load import LoadedSystem
from forecastle.learn.bundle import load_bundle
from forecastle.store.events import EventQueue
from forecastle.store.home import Home
from forecastle.store.online_parity import online_parity
from forecastle.store.parity import ParityReport, join_reports, served_parity
from forecastle.store.prediction import Prediction
from resources.platform import Platform

PARITY = "The warehouse explains every value that serving reads or has served."
PREDICTIONS_CHECKED = 5_000
SHOWN = 20


def build_parity(system: LoadedSystem) -> dg.AssetsDefinition:
    """Online rows and logged feature values beside what the warehouse gives for the same entity and moment."""
    asset_key = key(system, "parity")
    declared = system.declaration
    online = [name for name, view in declared.feature_views.items() if view.online]

    @dg.asset(
        **attributes(
            system,
            "parity",
            description="Online rows, and feature values served lately, against the warehouse at the same moment.",
            kinds={"duckdb", "sqlite"},
            deps=[
                *(key(system, "features", name) for name in declared.feature_views),
                *(key(system, "online", name) for name in online),
            ],
        ),
        check_specs=[dg.AssetCheckSpec("parity", asset=asset_key, blocking=True, description=PARITY)],
    )
    def parity_asset(platform: Platform) -> dg.MaterializeResult:
        now = platform.clock()
        with told_plainly():
            tables = feature_tables(platform, system)
            fed = fed_views(system, platform.layout)
            stands = compare_online(platform, system, online, now=now, fed=fed)
            served = compare_served(platform, system, now=now, fed=fed)
        whole = join_reports([stands, served])
        told = {"online": stands.sentence("values"), "served": served.sentence("values")}
        check = dg.AssetCheckResult(
            asset_key=asset_key, check_name="parity", passed=whole.ok, severity=dg.AssetCheckSeverity.ERROR,
            description=f"Online: {told['online']} Served: {told['served']}",
            metadata={"compared": whole.compared, "behind": whole.behind, "ahead": whole.ahead,
                      "differences": len(whole.differences), TABLES: tables},
        )  # fmt: skip
        shown = shown_table(whole.differences.astype("str"), max_rows=SHOWN)
        return dg.MaterializeResult(metadata={**told, "differences": shown}, check_results=[check])

    return parity_asset


def fed_views(system: LoadedSystem, home: Home) -> frozenset[str]:
    """Views whose rows also come straight to the online store: by a stream, or pushed by somebody."""
    followed = {name for name, view in system.declaration.feature_views.items() if view.stream is not None}
    path = home.events(system.name)
    if not path.exists():
        return frozenset(followed)
    queue = EventQueue(path)
    try:
        pushed = {name for name in system.declaration.feature_views if queue.since(0, view=name, limit=1)}
    finally:
        queue.close()
    return frozenset(followed | pushed)


def compare_online(
    platform: Platform, system: LoadedSystem, views: list[str], *, now: datetime, fed: frozenset[str]
) -> ParityReport:
    """Every view of the online store."""
    store, warehouse = platform.online(system.name), platform.warehouse()
    try:
        return join_reports([online_parity(warehouse, store, system, name, now=now, fed=name in fed) for name in views])
    finally:
        store.close()


def compare_served(platform: Platform, system: LoadedSystem, *, now: datetime, fed: frozenset[str]) -> ParityReport:
    """The newest answers of the drift window: older ones were compared when they were new."""
    log = platform.prediction_log(system.name)
    answers: list[Prediction] = []
    if log.exists():
        answers = log.newest(PREDICTIONS_CHECKED)
    log.close()
    since_us = (now - system.declaration.drift.window).timestamp() * 1e6
    recent = [answer for answer in answers if answer.predicted_at_us >= since_us]
    bundles = feature_sets(platform, system, {answer.bundle for answer in recent})
    return served_parity(platform.warehouse(), system.name, recent, feature_sets=bundles, fed=fed)


def feature_sets(platform: Platform, system: LoadedSystem, hashes: set[str]) -> Mapping[str, FeatureSet]:
    """Feature set of each bundle that is still there."""
    folder = platform.layout.bundles(system.name)
    return {
        found: load_bundle(folder / found, expected_hash=found).feature_set
        for found in hashes
        if (folder / found).is_dir()
    }
