"""`retrain_decision`: whether a new model is due, and why.

Belongs here: gathering what the decision rests on, its table, its metadata.
Does not belong here: the decision (`forecastle.promote.retrain`), starting a training (`automation.py`).
"""

from datetime import UTC, datetime

import dagster as dg
import pandas as pd

from assets.champion import champion_bundle
from assets.describe import attributes, key, told_plainly, version_metadata
from assets.shown import shown_reasons, shown_table
from forecastle.contract.load import LoadedSystem
from forecastle.learn.bundle import Bundle
from forecastle.measure.monitoring import RiskMonitor
from forecastle.promote.approval import awaiting
from forecastle.promote.retrain import Observed, decide_retraining, live_degradation
from forecastle.store.new_labels import count_new_labels
from resources.platform import Platform

DECISION = "decision"
REASONS = "reasons"
BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)


def build_retrain_decision(system: LoadedSystem) -> dg.AssetsDefinition:
    """Age, live degradation, drift and new labels of the champion, and what follows."""
    declared = system.declaration

    @dg.asset(
        **attributes(
            system,
            "retrain_decision",
            description="retrain, watch or wait: age, live degradation, drift and new labels of the champion.",
            kinds={"python"},
            deps=[
                key(system, "promotion"),
                key(system, "outcomes"),
                key(system, "drift", "features"),
                *(key(system, "source", name) for name in system.reads(declared.label.sql)),
            ],
        )
    )
    def retrain_decision_asset(platform: Platform) -> dg.MaterializeResult:
        now = platform.clock()
        with told_plainly():
            found = decide_retraining(observe(platform, system, now=now), declared.retrain, now=now)
            version = platform.warehouse().publish(
                f"{system.name}/retrain_decision/all", found.table(), facts={"decided_at": now.isoformat()}
            )
        metadata = {
            **version_metadata(version),
            DECISION: found.decision,
            REASONS: shown_reasons(found.reasons),
            "causes": shown_table(found.table()),
        }
        return dg.MaterializeResult(metadata=metadata)

    return retrain_decision_asset


def observe(platform: Platform, system: LoadedSystem, *, now: datetime) -> Observed:
    """What is known of the champion now."""
    bundle = champion_bundle(platform, system)
    waiting = awaiting(platform.registry(), system.name, now=now)
    waits = waiting[0].bundle if waiting else None
    if bundle is None:
        labels = count_new_labels(platform.warehouse(), system, after=BEFORE_ALL, until=now)
        return Observed(trained_at=None, new_labels=labels, awaiting=waits)
    known = datetime.fromisoformat(bundle.facts["knowledge_until"])
    return Observed(
        trained_at=datetime.fromisoformat(bundle.facts["trained_at"]),
        new_labels=count_new_labels(platform.warehouse(), system, after=known, until=now),
        drifted=_drifted(platform, system),
        degradation=_degradation(platform, system, bundle),
        awaiting=waits,
    )


def _drifted(platform: Platform, system: LoadedSystem) -> tuple[str, ...] | None:
    version = platform.warehouse().version(f"{system.name}/drift/features")
    if version is None:
        return None
    table = platform.warehouse().frame(version)
    return tuple(table.loc[table["alarm"], "feature"])


def _degradation(platform: Platform, system: LoadedSystem, bundle: Bundle) -> RiskMonitor | None:
    test, outcomes = _test_rows(platform, system, bundle), platform.warehouse().version(f"{system.name}/outcomes/all")
    if test is None or outcomes is None:
        return None
    return live_degradation(
        platform.warehouse().frame(outcomes),
        test,
        bundle=bundle.hash,
        keys=list(system.declaration.entity_of_label().keys),
        margin=system.declaration.retrain.degradation_margin,
    )


def _test_rows(platform: Platform, system: LoadedSystem, bundle: Bundle) -> pd.DataFrame | None:
    """The champion's test rows, from the table version that its training left; None where it is gone."""
    warehouse = platform.warehouse()
    versions = warehouse.versions(f"{system.name}/models/{bundle.facts['model']}")
    own = [v for v in versions if v.facts.get("bundle") == bundle.hash and v.path.exists()]
    return warehouse.frame(own[-1]) if own else None
