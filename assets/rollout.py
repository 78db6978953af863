"""`shadow` and `rollout`: what another bundle would have answered, and what a bundle under trial may do next.

Belongs here: which bundle is compared, the step of a running trial, done and recorded.
Does not belong here: computing again (`forecastle.serve.replay`), what follows from it (`forecastle.promote.rollout`).
"""

import math
from collections.abc import Iterator

import dagster as dg

from assets.describe import attributes, key, told_plainly, version_metadata
from assets.shown import shown_reasons
from forecastle.contract.errors import LearnError
from forecastle.contract.load import LoadedSystem
from forecastle.promote.approval import approval_deadline
from forecastle.promote.gates import Decision
from forecastle.promote.promote import Candidate, settle
from forecastle.promote.registry import Promotion
from forecastle.promote.rollout import (
    Evidence,
    RolloutAct,
    RolloutRecord,
    RolloutStep,
    advance,
    publish_challenger,
)
from forecastle.promote.rollout_evidence import judged_answers, rollout_evidence
from forecastle.serve.challenger import SHADOW
from forecastle.serve.champion import Champion, load_champion
from forecastle.serve.receipt import microseconds
from forecastle.serve.replay import paired_answers, shadow, shadowed_id, summary
from forecastle.store.logged import streamed
from forecastle.store.prediction import Prediction
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
            table = shadow(recent_answers(platform, system), _loaded(platform, system, candidate))
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


def build_rollout(system: LoadedSystem) -> dg.AssetsDefinition:
    """The next step of the running trial: hold, a larger share, stop, or promotion."""
    asset_key = key(system, "rollout")

    @dg.asset(
        **attributes(
            system,
            "rollout",
            description="The bundle under trial beside the champion on final outcomes, and the step that follows.",
            kinds={"sqlite"},
            deps=[key(system, "outcomes"), key(system, "promotion")],
        ),
        check_specs=[dg.AssetCheckSpec("rollout", asset=asset_key, description="No trial was stopped by its gates.")],
    )
    def rollout_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            step = take_step(platform, system) or RolloutStep("hold", ("no bundle is under trial",))
            now = _record(platform).running(system.name)
        stands = {"bundle": now.bundle, "phase": now.phase + 1, "share": now.share} if now else {"bundle": "none"}
        check = dg.AssetCheckResult(
            asset_key=asset_key, check_name="rollout", passed=step.action != "stop",
            severity=dg.AssetCheckSeverity.WARN, description=step.reasons[0],
        )  # fmt: skip
        reasons = shown_reasons(step.reasons)
        return dg.MaterializeResult(metadata={"step": step.action, "reasons": reasons, **stands}, check_results=[check])

    return rollout_asset


def candidate_of(platform: Platform, system: LoadedSystem) -> str | None:
    """The bundle under trial, else the newest one judged that is not the champion and is still there."""
    running = _record(platform).running(system.name)
    if running is not None:
        return running.bundle
    registry, bundles = platform.registry(), platform.layout.bundles(system.name)
    champion = registry.champion(system.name)
    judged = (decision.bundle for decision in registry.decisions(system.name))
    return next((b for b in judged if (champion is None or b != champion.bundle) and (bundles / b).is_dir()), None)


def recent_answers(platform: Platform, system: LoadedSystem) -> Iterator[Prediction]:
    """Answers of the drift window, in commit order; shadows are no answers."""
    since_us = microseconds(platform.clock() - system.declaration.drift.window)
    return (p for p in _logged(platform, system, since_us=since_us) if p.variant != SHADOW)


def evidence_of(platform: Platform, system: LoadedSystem, trial: RolloutAct, *, champion: Promotion) -> Evidence:
    """Both bundles on every request since the trial began, or since the champion came if that was later.

    A champion may have learnt from what was answered before it came.
    """
    since = max(_record(platform).started_at(system.name), champion.promoted_at)
    warehouse = platform.warehouse()
    outcomes = warehouse.frame(warehouse.resolve(f"{system.name}/outcomes/all"))
    asked = outcomes[outcomes["predicted_at"] > since]
    judged = set(judged_answers(asked)["prediction_id"])
    pairs = paired_answers(
        (p for p in _logged(platform, system, since_us=microseconds(since)) if shadowed_id(p) in judged),
        champion=_loaded(platform, system, champion.bundle),
        challenger=_loaded(platform, system, trial.bundle),
    )
    return rollout_evidence(asked, pairs, declared=system.declaration)


def take_step(platform: Platform, system: LoadedSystem) -> RolloutStep | None:
    """Decide, do and record the next step of the running trial; None where none runs.

    The challenger's pointer is written whatever comes out: a run that was killed before is mended by the next.
    """
    record, champion = _record(platform), platform.registry().champion(system.name)
    declared, trial = system.declaration.rollout, record.running(system.name)
    step = None
    if trial is not None:
        if champion is None:
            raise LearnError(f"{system.name}: a trial runs without a champion; promote one or stop the trial")
        if trial.bundle == champion.bundle:
            step = RolloutStep("promote", ("the bundle under trial is the champion already",))
        else:
            evidence = evidence_of(platform, system, trial, champion=champion)
            step = advance(trial, evidence, declared)
            if step.action == "promote":
                _promote(platform, system, trial, step, evidence=evidence, champion=champion)
        record.apply(trial, step, declaration=declared, approved_by="gates")
    publish_challenger(platform.layout.challenger(system.name), record, system=system.name, declaration=declared)
    return step


def _promote(
    platform: Platform,
    system: LoadedSystem,
    trial: RolloutAct,
    step: RolloutStep,
    *,
    evidence: Evidence,
    champion: Promotion,
) -> None:
    model = _loaded(platform, system, trial.bundle).model
    settle(
        Candidate(system.name, model, trial.bundle, trial.model_version),
        Decision(promote=True, reasons=step.reasons, gates=(*evidence.predictive, *evidence.fairness)),
        None,
        registry=platform.registry(),
        tracking=platform.tracking(),
        bundles=platform.layout.bundles(system.name),
        pointer=platform.layout.champion(system.name),
        expected=champion,
        approved_by="rollout",
        expires_at=approval_deadline(system.declaration.promote, now=platform.clock()),
    )


def _record(platform: Platform) -> RolloutRecord:
    return RolloutRecord(platform.layout.registry, clock=platform.clock)


def _loaded(platform: Platform, system: LoadedSystem, bundle: str) -> Champion:
    return load_champion(platform.layout.bundles(system.name) / bundle, system=system.name, expected_hash=bundle)


def _logged(platform: Platform, system: LoadedSystem, *, since_us: int) -> Iterator[Prediction]:
    """Every prediction in the log from a moment on, shadows too, in commit order."""
    log = platform.prediction_log(system.name)
    yield from streamed(log, since_us=since_us)
    log.close()
