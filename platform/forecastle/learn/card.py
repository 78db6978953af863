"""The model card, generated from lineage at every training, so that it cannot go stale.

Belongs here: what a card says, from facts that other modules recorded and the model's own test rows.
Does not belong here: fitting, Markdown and HTML (`draw/card.py`), where a card is kept (`bundle.py`, `tracking.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from forecastle.contract.load import LoadedSystem
from forecastle.contract.system import System
from forecastle.draw.calibration import reliability_diagram
from forecastle.draw.card import Picture, Section, card_markdown, card_page
from forecastle.learn.bundle import canonical_json
from forecastle.learn.evaluate import BASELINE, MODEL, Evaluation, table_of
from forecastle.learn.group_differences import group_differences
from forecastle.learn.time_blocks import TimeBlocks, time_blocks
from forecastle.learn.train import TrainedModel
from forecastle.measure.curves import probability_histogram, reliability_curve
from forecastle.measure.decomposition import decompose, decomposition_intervals
from forecastle.measure.isotonic import pool_ties
from forecastle.measure.scores import auc_interval


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One card twice: as Markdown, and as a standalone HTML page with the picture of its calibration."""

    markdown: str
    html: str


def model_card(
    system: LoadedSystem,
    trained: TrainedModel,
    evaluation: Evaluation,
    *,
    test: pd.DataFrame,
    cluster: str,
    facts: Mapping[str, Any],
    lineage: Mapping[str, Sequence[tuple[str, str]]],
) -> ModelCard:
    """Purpose, owner, data windows, features with contract and lineage, scores with intervals, limits, hashes.

    Args:
        system: the loaded declaration.
        trained: the fitted model.
        evaluation: its scores.
        test: the test rows that it was judged on, in the order of its test probabilities.
        cluster: the column whose rows settle together.
        facts: recorded identities (training set version and hash, windows, runs).
        lineage: raw columns (source, column) that each feature is computed from.
    """
    declared = system.declaration
    rows = test.assign(probability=trained.test_probability)
    blocks = time_blocks(rows, cluster=cluster, block=declared.evaluate.block)
    sections = [
        Section("", declared.description, _facts(declared, trained, facts)),
        _scores(rows, evaluation, blocks),
        _calibration(rows, trained),
        _slices(evaluation),
        *_fairness(declared, rows, blocks),
        Section("Rounds", items=trained.rounds.reasons, tables=[pd.DataFrame(trained.rounds.table)]),
        *_search(trained),
        *_decision(system),
        Section("Features, in the order the estimator sees", tables=[_features(system, trained, lineage)]),
        Section("Limits", items=_limits(system, trained)),
        Section("Hashes", items=_hashes(system, trained, facts)),
    ]
    title = f"Model card: {declared.system} / {trained.name}"
    return ModelCard(card_markdown(title, sections), card_page(title, sections))


def started_elsewhere(start_from: str) -> str:
    """What whoever takes the model out of MLflow must know when its trees start from a probability."""
    return (
        f"MLflow's logged LightGBM model holds only what the trees add to the log-odds of {start_from}, so its own "
        "predictions are wrong; the bundle adds the start and the calibrator, and is what serves."
    )


def _scores(rows: pd.DataFrame, evaluation: Evaluation, blocks: TimeBlocks) -> Section:
    """Scores of all test rows, the model's with intervals, and the differences that gates judge."""
    overall = evaluation.scores[evaluation.scores["slice"] == "all"]
    return Section(
        "Scores on rows the model never saw",
        "Intervals are 95 %; whole clusters are resampled together. Brier differences are model minus other: below "
        "zero is better.",
        tables=[overall, _intervals(rows, blocks), table_of(evaluation.comparisons)],
    )


def _intervals(rows: pd.DataFrame, blocks: TimeBlocks) -> pd.DataFrame:
    y, p = rows["outcome"].to_numpy(np.float64), rows["probability"].to_numpy(np.float64)
    found: list[tuple[str, float, float, float]] = []
    if np.unique(blocks.labels).size > 1:
        for ends in decomposition_intervals(y, p, clusters=blocks.labels, resamples=200, seed=0):
            parts = decompose(y, p, rule=ends.rule)
            for part in ("score", "miscalibration", "discrimination", "skill"):
                low, high = getattr(ends, part) or (np.nan, np.nan)
                found.append((ends.rule if part == "score" else f"{ends.rule} {part}", getattr(parts, part), low, high))
    if min(y.sum(), len(y) - y.sum()) >= 2:
        area = auc_interval(y, p, clusters=blocks.labels)
        found.append(("auc", area.auc, area.low, area.high))
    return pd.DataFrame(found, columns=["score", "estimate", "low", "high"])


def _calibration(rows: pd.DataFrame, trained: TrainedModel) -> Section:
    """How often probabilities came true: isotonic blocks as a table, and as a picture over a histogram."""
    cells = pool_ties(rows["outcome"].to_numpy(np.float64), rows["probability"].to_numpy(np.float64))
    curve = reliability_curve(cells)
    figure = reliability_diagram(curve, probability_histogram(cells), title="How often test probabilities came true")
    return Section(
        "Calibration",
        f"Calibrator: {trained.calibrator.name}. Each line of the table is a block of the isotonic fit.",
        items=trained.calibrator_reasons,
        tables=[curve],
        pictures=[Picture(figure, "reliability", "Reliability diagram of the test rows")],
    )


def _slices(evaluation: Evaluation) -> Section:
    sliced = evaluation.scores[
        (evaluation.scores["slice"] != "all") & evaluation.scores["forecaster"].isin([MODEL, BASELINE])
    ]
    if sliced.empty:
        return Section("Slices", "No slices are declared.")
    return Section("Slices", tables=[sliced.sort_values(["slice", "forecaster"], kind="stable")])


def _fairness(declared: System, rows: pd.DataFrame, blocks: TimeBlocks) -> list[Section]:
    """Each declared fairness gate: its groups beside all other rows."""
    found = []
    for gate in declared.gates.fairness:
        table = pd.DataFrame(
            [
                (g.group, g.rows, *((d.estimate, d.low, d.high) if (d := g.difference) else (np.nan,) * 3))
                for g in group_differences(rows, gate, blocks=blocks, seed=0)
            ],
            columns=["group", "rows", "minus_all_others", "low", "high"],
        )
        told = (
            f"{gate.measure}: a group may differ by at most {gate.difference_max:g}, groups below {gate.rows_min} rows "
        )
        found.append(
            Section(f"Fairness: {gate.measure} by {', '.join(gate.groups)}", told + "are not judged.", tables=[table])
        )
    return found or [Section("Fairness", "No groups are declared under gates.fairness, so none were compared.")]


def _decision(system: LoadedSystem) -> list[Section]:
    declared = system.declaration.decide
    if declared is None:
        return []
    told = [f"{name}: {value}" for name, value in declared.params.items()]
    return [
        Section("Decision rule", f"{declared.function} reads {', '.join(declared.inputs) or 'nothing else'}.", told)
    ]


def _hashes(system: LoadedSystem, trained: TrainedModel, facts: Mapping[str, Any]) -> list[str]:
    """SHA-256 of all that makes an answer; the bundle's own hash is over this card as well."""
    feature_set = system.feature_set(trained.name)
    return [
        f"Feature set (contract, SQL, code): {feature_set.hash}",
        f"Training set: {facts.get('training_set_hash')}",
        f"Model: {hashlib.sha256(trained.model_bytes).hexdigest()}",
        f"Calibrator: {hashlib.sha256(canonical_json(trained.calibrator.to_json())).hexdigest()}",
    ]


def _search(trained: TrainedModel) -> list[Section]:
    """What a search of the parameters found; nothing where none was declared."""
    if trained.search is None:
        return []
    best = trained.search.table().sort_values("log_loss").head(20)
    return [Section("Search", items=trained.search.reasons, tables=[best])]


def _facts(declared: System, trained: TrainedModel, facts: Mapping[str, Any]) -> list[str]:
    split = trained.split
    known = (
        f"{len(split.train)} rows asked from {split.first_at:%Y-%m-%d}, outcome known before {split.test_from:%Y-%m-%d}"
    )
    lines = {
        "Owner": declared.owner,
        "Model": declared.models[trained.name].description or trained.name,
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
    return [f"{name}: {value}" for name, value in lines.items()]


def _features(
    system: LoadedSystem, trained: TrainedModel, lineage: Mapping[str, Sequence[tuple[str, str]]]
) -> pd.DataFrame:
    """Contract and lineage of each feature."""
    contracts = system.declaration.features()
    gain = dict(zip(trained.importances["feature"], trained.importances["importance"], strict=True))
    rows = []
    for name in trained.features:
        c = contracts[name]
        low = "" if c.min is None else f"{c.min:g}"
        high = "" if c.max is None else f"{c.max:g}"
        origin = ", ".join(f"{t}.{column}" for t, column in lineage.get(name, ())) or "on-demand"
        some = ", ".join(map(str, c.allowed or ())) or (f"{low}…{high}" if low or high else "any")
        span = some + (", null" if c.nullable else "")
        rows.append((name, c.unit, span, c.missing, gain[name], origin, c.description))
    columns = ["feature", "unit", "allowed", "missing", "share_of_gain", "from", "description"]
    return pd.DataFrame(rows, columns=columns)


def _limits(system: LoadedSystem, trained: TrainedModel) -> list[str]:
    lines = [
        f"Scores hold up to {trained.split.last_at:%Y-%m-%d}; they say nothing of a world that changed since.",
        "Rows of one cluster settle together: effective sample sizes are smaller than row counts.",
    ]
    if trained.start_from is not None:
        lines.append(f"{started_elsewhere(trained.start_from)}")
    # All rows of a segment are of one value of its columns; that is no surprise.
    known = system.declaration.models[trained.name].segment or {}
    lines += [
        f"{name} had one value, or null alone, in all training rows: what another value means was not learned."
        for name in trained.unvaried
        if name not in known
    ]
    contracts = system.declaration.features()
    nullable = [name for name in trained.features if contracts[name].nullable]
    lines += [f"{name} may be null. {contracts[name].description}".rstrip() for name in nullable]
    return lines
