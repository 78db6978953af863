"""`shadow`: what another bundle would have answered to what was asked lately.

Belongs here: which bundle is compared, the asset, its picture in numbers.
Does not belong here: computing again (`forecastle.serve.replay`), trials (`forecastle.learn.rollout`).
"""

import math

import dagster as dg

from assets.describe import attributes, key, told_plainly, version_metadata
from forecastle.contract.load import LoadedSystem
from forecastle.learn.rollout import RolloutRecord
from forecastle.serve.champion import load_champion
from forecastle.serve.receipt import microseconds
from forecastle.serve.replay import shadow, summary
from forecastle.store.prediction_log import Prediction
from resources.platform import Platform


def build_shadow(system: LoadedSystem) -> dg.AssetsDefinition:
    """Answers of the drift window computed again by the challenger, else by the bundle that was refused last."""
    window = system.declaration.drift.window

    @dg.asset(
        **attributes(
            system,
            "shadow",
            description=f"Answers of the last {window.days} days as the bundle under trial (else the newest other one) "
            "would have given them.",
            kinds={"lightgbm", "sqlite"},
            deps=[key(system, "promotion"), key(system, "predictions")],
        )
    )
    def shadow_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            candidate = candidate_of(platform, system)
            if candidate is None:
                return dg.MaterializeResult(metadata={"candidate": "none: no bundle but the champion was ever judged"})
            folder = platform.layout.bundles(system.name) / candidate
            loaded = load_champion(folder, system=system.name, expected_hash=candidate)
            table = shadow(recent_answers(platform, system), loaded)
            version = platform.warehouse().publish(f"{system.name}/shadow/all", table)
        found = summary(table)
        numbers = {"mean_difference": found.mean_difference, "largest_difference": found.largest_difference}
        return dg.MaterializeResult(
            metadata={
                **version_metadata(version),
                "candidate": candidate,
                "answers": found.answers,
                "answered": found.answered,
                "decisions_changed": found.decisions_changed,
                **{name: value for name, value in numbers.items() if math.isfinite(value)},
            }
        )

    return shadow_asset


def candidate_of(platform: Platform, system: LoadedSystem) -> str | None:
    """The bundle under trial, else the newest one judged that is not the champion and is still there."""
    running = RolloutRecord(platform.layout.registry, clock=platform.clock).running(system.name)
    if running is not None:
        return running.bundle
    registry, bundles = platform.registry(), platform.layout.bundles(system.name)
    champion = registry.champion(system.name)
    judged = (decision.bundle for decision in registry.decisions(system.name))
    return next((b for b in judged if (champion is None or b != champion.bundle) and (bundles / b).is_dir()), None)


def recent_answers(platform: Platform, system: LoadedSystem) -> list[Prediction]:
    """Answers of the drift window, in commit order; shadows are no answers."""
    since_us = microseconds(platform.clock() - system.declaration.drift.window)
    log = platform.prediction_log(system.name)
    found: list[Prediction] = []
    cursor = 0
    while log.exists() and (batch := log.since(cursor)):
        found += [p for p in batch if p.predicted_at_us >= since_us and p.variant != "shadow"]
        cursor = batch[-1].sequence
    log.close()
    return found
