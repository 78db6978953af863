"""`promotion` and `bento`: the recorded decision, and the champion packed for serving.

Belongs here: the two assets between a model and an answer, and the gates shown as a check.
Does not belong here: gates and registry (`forecastle.learn`), packing (`forecastle.serve.packaging`).
"""

from pathlib import Path

import dagster as dg

from assets.champion import required_champion
from assets.describe import attributes, key, told_plainly
from assets.evaluation import evaluate
from forecastle.contract.load import LoadedSystem
from forecastle.learn.gates import Decision, decide
from forecastle.learn.promote import Candidate, settle
from forecastle.serve.packaging import build_bento
from resources.platform import Platform

ROOT = Path(__file__).resolve().parents[1]


def build_promotion(system: LoadedSystem) -> dg.AssetsDefinition:
    """Gates decide whether the best model of this training becomes champion; the decision is kept for ever."""
    asset_key = key(system, "promotion")
    models = list(system.declaration.models)

    @dg.asset(
        **attributes(
            system,
            "promotion",
            description="Gates, the recorded decision, and the champion that answers from now on.",
            kinds={"mlflow", "sqlite"},
            deps=[
                key(system, "comparison"),
                key(system, "parity"),
                *(key(system, kind, model) for kind in ("models", "calibration") for model in models),
            ],
        ),
        check_specs=[dg.AssetCheckSpec("gates", asset=asset_key, description="Every gate passed.")],
    )
    def promotion_asset(platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            registry = platform.registry()
            before = registry.champion(system.name)
            candidate, decision = propose(platform, system)
            settled = settle(
                candidate[0], decision, candidate[1], registry=registry, tracking=platform.tracking(),
                bundles=platform.layout.bundles(system.name), pointer=platform.layout.champion(system.name),
                expected=before,
            )  # fmt: skip
        champion = settled or before
        check = dg.AssetCheckResult(
            asset_key=asset_key, check_name="gates", passed=decision.promote,
            severity=dg.AssetCheckSeverity.WARN, description=decision.reasons[0],
            metadata={g.gate: g.reason for g in decision.gates},
        )  # fmt: skip
        metadata = {
            "promoted": decision.promote,
            "reasons": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in decision.reasons)),
            "candidate": candidate[0].bundle,
            "champion": champion.bundle if champion else "none",
            "model_version": champion.model_version if champion else "none",
        }
        return dg.MaterializeResult(metadata=metadata, check_results=[check])

    return promotion_asset


def propose(platform: Platform, system: LoadedSystem):  # noqa: ANN201
    """The model with the lowest Brier, its evaluation, and what the gates say of it."""
    found = []
    for model in system.declaration.models:
        facts = platform.warehouse().resolve(f"{system.name}/models/{model}").facts
        evaluation = evaluate(platform, system, model)
        candidate = Candidate(system.name, model, facts["bundle"], facts["model_version"])
        found.append((evaluation.value("model", "brier"), candidate, evaluation))
    _, candidate, evaluation = min(found, key=lambda item: item[0])
    decision: Decision = decide(evaluation, system.declaration.gates)
    return (candidate, evaluation), decision


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
