"""The model card, generated from lineage at every training, so that it cannot go stale.

Belongs here: the card's text from facts that other modules recorded.
Does not belong here: computing any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from forecastle.contract.load import LoadedSystem
from forecastle.contract.system import System
from forecastle.draw.markdown import markdown_table
from forecastle.learn.evaluate import Evaluation, table_of
from forecastle.learn.train import TrainedModel


def model_card(
    system: LoadedSystem,
    trained: TrainedModel,
    evaluation: Evaluation,
    *,
    facts: Mapping[str, Any],
    lineage: Mapping[str, Sequence[tuple[str, str]]],
) -> str:
    """Markdown: purpose, owner, data windows, features with lineage, scores with intervals, limits, hashes.

    Args:
        system: the loaded declaration.
        trained: the fitted model.
        evaluation: its scores.
        facts: recorded identities (training set version and hash, windows, runs).
        lineage: raw columns (source, column) that each feature is computed from.
    """
    declared = system.declaration
    sections = [
        f"# Model card: {declared.system} / {trained.name}",
        declared.description,
        _facts(declared, trained, facts),
        "## Scores on rows the model never saw",
        markdown_table(evaluation.scores),
        "Brier differences (model minus other; below zero is better), intervals from resampling whole clusters:",
        markdown_table(table_of(evaluation.comparisons)),
        "## Rounds",
        "\n".join(f"- {reason}" for reason in trained.rounds.reasons),
        markdown_table(pd.DataFrame(trained.rounds.table)),
        "## Calibrator",
        "\n".join(f"- {reason}" for reason in trained.calibrator_reasons),
        "## Features, in the order the estimator sees",
        _features(system, trained, lineage),
        "## Limits",
        _limits(system, trained),
    ]
    return "\n\n".join(sections) + "\n"


def started_elsewhere(start_from: str) -> str:
    """What whoever takes the model out of MLflow must know when its trees start from a probability."""
    return (
        f"MLflow's logged LightGBM model holds only what the trees add to the log-odds of {start_from}, so its own "
        "predictions are wrong; the bundle adds the start and the calibrator, and is what serves."
    )


def _facts(declared: System, trained: TrainedModel, facts: Mapping[str, Any]) -> str:
    split = trained.split
    known = (
        f"{len(split.train)} rows asked from {split.first_at:%Y-%m-%d}, outcome known before {split.test_from:%Y-%m-%d}"
    )
    lines = {
        "Owner": declared.owner,
        "Estimator": facts.get("estimator"),
        "Feature set": facts.get("feature_set"),
        "Training set": f"version {facts.get('training_set_version')}, {facts.get('training_set_hash')}",
        "Knowledge until": facts.get("knowledge_until"),
        "Starts from": trained.start_from or "the base rate",
        "Trained on": known,
        "Calibrated on": f"scores of these rows by models of the other of {declared.evaluate.split.folds} folds",
        "Tested on": f"{len(split.test)} rows asked from {split.test_from:%Y-%m-%d} to {split.last_at:%Y-%m-%d}",
        "Purged": f"{split.purged} rows whose outcome was not yet known when it mattered",
        "MLflow run": facts.get("mlflow_run_id"),
        "Dagster run": facts.get("dagster_run_id"),
    }
    return "\n".join(f"- {name}: {value}" for name, value in lines.items())


def _features(system: LoadedSystem, trained: TrainedModel, lineage: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    contracts = system.declaration.features()
    gain = dict(zip(trained.importances["feature"], trained.importances["importance"], strict=True))
    lines = ["| feature | unit | allowed | missing | share of gain | from |", "|---|---|---|---|---|---|"]
    for name in trained.features:
        c = contracts[name]
        low = "" if c.min is None else f"{c.min:g}"
        high = "" if c.max is None else f"{c.max:g}"
        origin = ", ".join(f"{t}.{column}" for t, column in lineage.get(name, ())) or "on-demand"
        span = (f"{low}…{high}" if low or high else "any") + (", null" if c.nullable else "")
        lines.append(f"| {name} | {c.unit} | {span} | {c.missing} | {gain[name]:.3f} | {origin} |")
    return "\n".join(lines)


def _limits(system: LoadedSystem, trained: TrainedModel) -> str:
    lines = [
        f"- Scores hold up to {trained.split.last_at:%Y-%m-%d}; they say nothing of a world that changed since.",
        "- Rows of one cluster settle together: effective sample sizes are smaller than row counts.",
    ]
    if trained.start_from is not None:
        lines.append(f"- {started_elsewhere(trained.start_from)}")
    contracts = system.declaration.features()
    nullable = [name for name in trained.features if contracts[name].nullable]
    lines += [f"- {name} may be null. {contracts[name].description}".rstrip() for name in nullable]
    return "\n".join(lines)
