"""`promotion` and `bento`: the recorded decision, and the champion packed for serving.

Belongs here: the two assets between a model and an answer, and the gates shown as a check.
Does not belong here: gates and registry (`forecastle.learn`), packing (`forecastle.serve.packaging`).
"""

from pathlib import Path

import dagster as dg
import pandas as pd
from dagster import DagsterInstance
from pydantic import Field

from assets.champion import required_champion
from assets.comparison import candidate as chosen_candidate
from assets.comparison import trained_keys
from assets.describe import attributes, key, told_plainly
from assets.gates import evidence_for
from assets.shown import shown_reasons, shown_table
from forecastle.contract.load import LoadedSystem
from forecastle.learn.evaluate import Evaluation
from forecastle.promote.approval import approval_deadline, approve
from forecastle.promote.gates import Decision, decide
from forecastle.promote.promote import Candidate, is_champion, settle
from forecastle.promote.registry import Promotion
from forecastle.serve.packaging import build_bento
from resources.platform import Platform

ROOT = Path(__file__).resolve().parents[1]
STAYS = "it is the champion already and passes again: nothing changes, and the history has no new entry"


class Approval(dg.Config):
    """Run configuration of `promotion`: without it gates are applied, with it a person approves what waits."""

    approved_by: str = Field(default="", description="Who approves; nothing is trained or judged again.")
    bundle: str = Field(default="", description="Hash of the bundle, or its first digits; the one that waits if empty.")
    reason: str = Field(default="", description="Why, kept for ever.")


def build_promotion(system: LoadedSystem) -> dg.AssetsDefinition:
    """Gates decide whether the best model of this training becomes champion; the decision is kept for ever."""
    asset_key = key(system, "promotion")
    manual = system.declaration.promote.approval == "manual"

    @dg.asset(
        **attributes(
            system,
            "promotion",
            description="Gates, the recorded decision, and the champion that answers from now on."
            + (" A named person approves: materialise with approved_by in the run configuration." if manual else ""),
            kinds={"mlflow", "sqlite"},
            deps=[
                key(system, "comparison"),
                key(system, "parity"),
                *trained_keys(system),
            ],
        ),
        check_specs=[dg.AssetCheckSpec("gates", asset=asset_key, description="Every gate passed.")],
    )
    def promotion_asset(
        context: dg.AssetExecutionContext, platform: Platform, config: Approval
    ) -> dg.MaterializeResult:
        with told_plainly():
            if config.approved_by or config.bundle:
                return approved(platform, system, config, asset_key=asset_key)
            return judged(platform, system, context.instance, asset_key=asset_key)

    return promotion_asset


def judged(
    platform: Platform, system: LoadedSystem, instance: DagsterInstance, *, asset_key: dg.AssetKey
) -> dg.MaterializeResult:
    """Apply the gates to the best model and record what they say; promote it, or let it wait for a person."""
    registry, now = platform.registry(), platform.clock()
    before = registry.champion(system.name)
    candidate, evaluation, decision = propose(platform, system, instance)
    deadline = approval_deadline(system.declaration.promote, now=now)
    settled = settle(
        candidate, decision, evaluation, registry=registry, tracking=platform.tracking(),
        bundles=platform.layout.bundles(system.name), pointer=platform.layout.champion(system.name),
        expected=before, expires_at=deadline,
    )  # fmt: skip
    champion = settled or before
    check = dg.AssetCheckResult(
        asset_key=asset_key, check_name="gates", passed=decision.promote,
        severity=dg.AssetCheckSeverity.WARN, description=decision.reasons[0],
        metadata={g.gate: g.reason for g in decision.gates},
    )  # fmt: skip
    stays = decision.promote and is_champion(candidate, before)
    waiting = deadline and decision.promote and not stays
    waits = f"waits for approval until {deadline:%Y-%m-%d %H:%M} UTC" if waiting else "no"
    metadata = {
        "promoted": settled is not None,
        "awaits_approval": waits,
        "reasons": shown_reasons((*([STAYS] if stays else []), *decision.reasons)),
        "evidence": shown_table(pd.DataFrame(decision.evidence).drop(columns="reason")),
        "candidate": candidate.bundle,
    }
    return dg.MaterializeResult(metadata=metadata | _champion(champion), check_results=[check])


def approved(
    platform: Platform, system: LoadedSystem, config: Approval, *, asset_key: dg.AssetKey
) -> dg.MaterializeResult:
    """A named person lets the bundle that waits become champion."""
    made = approve(
        system.name,
        bundle=config.bundle or None,
        by=config.approved_by,
        reason=config.reason,
        declared=system.declaration.promote,
        registry=platform.registry(),
        tracking=platform.tracking(),
        bundles=platform.layout.bundles(system.name),
        pointer=platform.layout.champion(system.name),
        now=platform.clock(),
    )
    told = f"approved by {made.approved_by}" + (f": {made.reason}" if made.reason else "")
    check = dg.AssetCheckResult(asset_key=asset_key, check_name="gates", passed=True, description=told)
    metadata = {"promoted": True, "awaits_approval": "no", "reasons": told, "candidate": made.bundle}
    return dg.MaterializeResult(metadata=metadata | _champion(made), check_results=[check])


def propose(
    platform: Platform, system: LoadedSystem, instance: DagsterInstance
) -> tuple[Candidate, Evaluation, Decision]:
    """The chosen candidate, its evaluation, and what the gates say of it."""
    candidate, evaluation = chosen_candidate(platform, system)
    rows = platform.warehouse().frame(f"{system.name}/models/{candidate.model}")
    measured = evidence_for(candidate, rows, platform=platform, system=system, instance=instance)
    return candidate, evaluation, decide(evaluation, system.declaration.gates, measured=measured)


def _champion(champion: Promotion | None) -> dict[str, str]:
    if champion is None:
        return {"champion": "none", "model_version": "none", "approved_by": "nobody"}
    return {
        "champion": champion.bundle,
        "model_version": champion.model_version,
        "approved_by": champion.approved_by,
    }


def build_bento_asset(system: LoadedSystem) -> dg.AssetsDefinition:
    """The champion as a Bento: service, serving dependencies and the bundle inside."""

    @dg.asset(
        **attributes(
            system,
            "bento",
            description="The champion packed for serving: tag = system, version and hash.",
            kinds={"bentoml"},
            deps=[key(system, "promotion")],
        )
    )
    def bento_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            bundle = required_champion(platform, system)
            model_version = bundle.facts["model_version"]
            built = build_bento(
                bundle_folder=platform.layout.bundles(system.name) / bundle.hash,
                bentofile=ROOT / "bentofile.yaml",
                version=f"v{model_version}-{bundle.hash[:12]}",
                labels={"model_version": model_version},
                source_root=ROOT / "platform",
                bento_home=platform.layout.root / "bentoml",
            )
        return dg.MaterializeResult(
            metadata={"tag": built.tag, "path": dg.MetadataValue.path(str(built.path)), "files": len(built.files)}
        )

    return bento_asset
