"""`comparison`: every model of a system in one table, and the one that asks to become champion.

Belongs here: the asset, which models count as made, the choice among them.
Does not belong here: choosing (`forecastle.learn.choose`), one model's scores (`evaluation.py`), promoting.
"""

from collections.abc import Iterator, Mapping

import dagster as dg
import pandas as pd
from dagster import DagsterInstance

from assets.describe import attributes, key, told_plainly, version_metadata
from assets.evaluation import evaluate, reported
from assets.gates import evidence_for
from assets.matrix import failed_models, groups_of, not_of_newest
from assets.shown import shown_picture, shown_reasons, shown_table
from forecastle.contract.load import LoadedSystem
from forecastle.contract.matrix_check import ENSEMBLE_NAME
from forecastle.draw.leaderboard import leaderboard_diagram
from forecastle.learn.choose import Choice, choose
from forecastle.learn.combine import asks_for_ensemble
from forecastle.learn.evaluate import Evaluation
from forecastle.promote.gates import Decision, decide
from forecastle.promote.leaderboard import caveat, leaderboard
from forecastle.promote.promote import Candidate
from forecastle.store.delta_log import TableVersion
from resources.platform import Platform


def build_comparison(system: LoadedSystem) -> dg.AssetsDefinition:
    """All models of a system in one table, best Brier first."""

    @dg.asset(
        **attributes(
            system,
            "comparison",
            description="Every model, the baseline and the champion in one table, best Brier first, and the models "
            "that were chosen on held-out rows.",
            kinds={"python"},
            deps=evaluated_keys(system),
        )
    )
    def comparison_asset(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            choice, models = chosen(platform, system)
            warehouse = platform.warehouse()
            decisions = {name: judged(platform, system, name, instance=context.instance) for name in models}
            failed = not_made(platform, system, models)
            table = _board(platform, system, choice, decisions, failed)
            version = warehouse.publish(f"{system.name}/comparison/all", table)
            record_decisions(platform, system, decisions, models)
            reports = list(reports_of_chosen(platform, system, choice))
        for event in (*told_of_models(system, decisions, failed), *reports):
            context.log_event(event)
        metadata = {
            **version_metadata(version),
            "table": shown_table(table),
            "leaderboard": shown_picture(leaderboard_diagram(table), label="Leaderboard"),
            "chosen": [member.model for member in choice.members],
            "reasons": shown_reasons((*choice.reasons, caveat(table))),
        }
        return dg.MaterializeResult(metadata=metadata)

    return comparison_asset


def _board(
    platform: Platform, system: LoadedSystem, choice: Choice, decisions: Mapping[str, Decision], failed: dict[str, str]
) -> pd.DataFrame:
    """The leaderboard of the models that were made and judged, and of those that failed."""
    warehouse = platform.warehouse()
    found = {name: warehouse.resolve(f"{system.name}/evaluation/{name}") for name in decisions}
    return leaderboard(
        {name: warehouse.frame(version) for name, version in found.items()},
        {name: version.facts.get("against_baseline", "null") for name, version in found.items()},
        {name: system.declaration.models[name].segment for name in (*found, *failed)},
        decisions,
        choice,
        failed=failed,
    )


def evaluated_keys(system: LoadedSystem) -> list[dg.AssetKey]:
    """The assets that evaluate models: one for each plain model, one for each matrix."""
    plain = [name for name, model in system.declaration.models.items() if model.group is None]
    return [
        *(key(system, "evaluation", name) for name in plain),
        *(group.key("factory") for group in groups_of(system)),
    ]


def trained_keys(system: LoadedSystem) -> list[dg.AssetKey]:
    """What must be made before a model can be promoted, beside the comparison."""
    plain = [name for name, model in system.declaration.models.items() if model.group is None]
    ensemble = [key(system, "ensemble")] if asks_for_ensemble(system) else []
    return [
        *(key(system, kind, name) for kind in ("models", "calibration") for name in plain),
        *(group.key("factory") for group in groups_of(system)),
        *ensemble,
    ]


def chosen(platform: Platform, system: LoadedSystem) -> tuple[Choice, dict[str, TableVersion]]:
    """The choice among all models of the newest training, and the test rows of each by name.

    A model that failed in that training still has the table of an older one: it is left out.
    """
    warehouse, failed = platform.warehouse(), failed_models(platform, system)
    names = [name for name in system.declaration.models if name not in failed]
    versions = {name: warehouse.version(f"{system.name}/held_out/{name}") for name in names}
    made = {name: version for name, version in versions.items() if version is not None}
    if made:
        newest = max(made.values(), key=lambda version: version.written_at).facts["training_set_hash"]
        made = {name: version for name, version in made.items() if version.facts["training_set_hash"] == newest}
    choice = choose(system, {name: warehouse.frame(version) for name, version in made.items()})
    return choice, {name: warehouse.resolve(f"{system.name}/models/{name}") for name in made}


def judged(platform: Platform, system: LoadedSystem, name: str, *, instance: DagsterInstance) -> Decision:
    """What the gates say of one model by itself; only the candidate's decision is recorded and can promote."""
    version = platform.warehouse().resolve(f"{system.name}/models/{name}")
    asked = Candidate(system.name, name, version.facts["bundle"], version.facts["model_version"])
    rows = platform.warehouse().frame(version)
    measured = evidence_for(asked, rows, platform=platform, system=system, instance=instance)
    return decide(evaluate(platform, system, name), system.declaration.gates, measured=measured)


def not_made(platform: Platform, system: LoadedSystem, models: Mapping[str, TableVersion]) -> dict[str, str]:
    """Each declared model that the newest training does not have, and why."""
    failed = failed_models(platform, system)
    names = [name for name in system.declaration.models if name not in models]
    return {name: failed.get(name, "it was not made from the newest training set") for name in names}


def record_decisions(
    platform: Platform, system: LoadedSystem, decisions: Mapping[str, Decision], models: Mapping[str, TableVersion]
) -> None:
    """Keep what the gates say of every model: a table of gates, and each MLflow run's `decision.json` and tags.

    The registry has only decisions about candidates: nobody can approve these.
    """
    rows = []
    for name, decision in decisions.items():
        facts = models[name].facts
        platform.tracking().log_decision(
            facts["mlflow_run_id"], promote=decision.promote, evidence=decision.evidence, reason=decision.reasons[0]
        )
        same = {"model": name, "bundle": facts["bundle"], "promote": decision.promote}
        rows += [same | dict.fromkeys(_NUMBERS) | gate for gate in decision.evidence]
    table = pd.DataFrame(rows).astype(dict.fromkeys(_NUMBERS, "float64"))
    platform.warehouse().publish(f"{system.name}/decisions/all", table)


def told_of_models(
    system: LoadedSystem, decisions: Mapping[str, Decision], failed: Mapping[str, str]
) -> Iterator[dg.AssetObservation]:
    """What each model's own page shows: the gates' words, or that it is not of the newest training."""
    groups = {name: group for group in groups_of(system) for name in group.models}
    for name, decision in decisions.items():
        told = {
            "of_newest_training": True,
            "gates": "passed" if decision.promote else "refused",
            "reasons": shown_reasons(decision.reasons),
        }
        if name in groups:
            yield dg.AssetObservation(groups[name].key("evaluation"), partition=name, metadata=told)
        else:
            yield dg.AssetObservation(key(system, "evaluation", name), metadata=told)
    for name, reason in failed.items():
        if name in groups:
            yield not_of_newest(groups[name], name, reason)


def reports_of_chosen(platform: Platform, system: LoadedSystem, choice: Choice) -> Iterator[dg.AssetObservation]:
    """The whole calibration report of each chosen model of a matrix; its factory has measured all of them briefly."""
    for member in choice.members:
        group = system.declaration.models[member.model].group
        if group is not None:
            _, metadata = reported(platform, system, member.model)
            yield dg.AssetObservation(key(system, "calibration", group), partition=member.model, metadata=metadata)


_NUMBERS = ("value", "low", "high", "limit", "rows")


def candidate(platform: Platform, system: LoadedSystem) -> tuple[Candidate, Evaluation]:
    """The bundle that asks to become champion, and what it is worth on test rows beside the present one."""
    choice, _ = chosen(platform, system)
    name = choice.members[0].model if choice.is_one_model else ENSEMBLE_NAME
    facts = platform.warehouse().resolve(f"{system.name}/models/{name}").facts
    return Candidate(system.name, name, facts["bundle"], facts["model_version"]), evaluate(platform, system, name)
