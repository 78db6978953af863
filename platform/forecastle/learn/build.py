"""One model, whole: train, evaluate, card, bundle, MLflow run and registered version.

Belongs here: the order of those steps for one declared model and one training set.
Does not belong here: any of the steps themselves, promotion (`promote.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forecastle.contract.load import LoadedSystem
from forecastle.learn.bundle import BundleParts, write_bundle
from forecastle.learn.card import model_card, started_elsewhere
from forecastle.learn.evaluate import Evaluation, evaluate_model
from forecastle.learn.tracking import DESCRIPTION, Tracking
from forecastle.learn.train import TrainedModel, feature_matrix, train_model
from forecastle.measure.reference import reference


@dataclass(frozen=True, slots=True)
class TrainingSetIdentity:
    """Which rows a model was trained on: the table version, the hash of its rows, what was known, the file."""

    version: int
    content_hash: str
    knowledge_until: datetime
    path: Path


@dataclass(frozen=True)
class BuiltModel:
    """What one build left behind."""

    name: str
    bundle: str
    model_version: str
    mlflow_run_id: str
    trained: TrainedModel
    evaluation: Evaluation
    card: str


def build_model(
    system: LoadedSystem,
    name: str,
    frame: pd.DataFrame,
    *,
    identity: TrainingSetIdentity,
    tracking: Tracking,
    bundles: Path,
    trained_at: datetime,
    dagster_run_id: str,
) -> BuiltModel:
    """Train one declared model and leave it as a bundle, an MLflow run and a registered version.

    Args:
        system: the loaded declaration.
        name: the model's name in it.
        frame: the training set's rows.
        identity: which training set that is.
        tracking: MLflow.
        bundles: folder of the system's bundles.
        trained_at: this moment.
        dagster_run_id: the run that asked, for lineage.

    Raises:
        LearnError: the rows cannot give a model; bundles and registered versions stay as they were.
    """
    trained = _train(system, name, frame)
    evaluation = evaluate_test(system, frame.iloc[trained.split.test], trained.test_probability, champion=None)
    references = _references(frame.iloc[trained.split.train], system, trained.features)
    facts = _facts(system, trained, identity)
    facts |= {"trained_at": trained_at.isoformat(), "dagster_run_id": dagster_run_id}
    tags = _tags(system, facts, start_from=trained.start_from)
    with tracking.run(system.name, name=name, tags=tags) as run:
        facts["mlflow_run_id"] = run.run_id
        card = model_card(system, trained, evaluation, facts=facts, lineage=feature_lineage(system))
        model_uri = _log(trained, evaluation, frame, identity=identity, tracking=tracking)
        parts = _parts(system, trained, card=card, references=references, facts=facts)
        version, bundle = _register(parts, model_uri=model_uri, tags=tags, tracking=tracking, bundles=bundles)
    return BuiltModel(name, bundle, version, run.run_id, trained, evaluation, card)


def test_rows(frame: pd.DataFrame, built: BuiltModel) -> pd.DataFrame:
    """The test rows with the model's raw score and probability, and which bundle said so."""
    rows = frame.iloc[built.trained.split.test].reset_index(drop=True)
    return rows.assign(
        raw_score=built.trained.test_raw,
        probability=built.trained.test_probability,
        bundle=built.bundle,
        model_version=built.model_version,
    )


def evaluate_test(
    system: LoadedSystem, test: pd.DataFrame, probability: np.ndarray, *, champion: np.ndarray | None
) -> Evaluation:
    """Evaluate probabilities of test rows by the system's declaration."""
    return evaluate_model(
        test,
        probability,
        declared=system.declaration.evaluate,
        cluster=cluster_column(system),
        champion=champion,
        seed=0,
    )


def cluster_column(system: LoadedSystem) -> str:
    """The column whose rows settle together: declared, else the first key of the entity."""
    return system.declaration.evaluate.cluster or next(iter(system.declaration.entity_of_label().keys))


def feature_lineage(system: LoadedSystem) -> dict[str, tuple[tuple[str, str], ...]]:
    """Raw columns (source, column) of every feature, through SQL and on-demand inputs."""
    declared = system.declaration
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for view in declared.feature_views.values():
        columns = system.lineage(view.sql)
        found.update({name: columns[name] for name in view.features})
    for group in declared.on_demand.values():
        origin = tuple(sorted({pair for name in group.inputs for pair in found[name]}))
        found.update(dict.fromkeys(group.features, origin))
    return found


def _train(system: LoadedSystem, name: str, frame: pd.DataFrame) -> TrainedModel:
    declared = system.declaration
    return train_model(
        frame,
        name=name,
        model=declared.models[name],
        features=system.feature_set(name).model_features,
        split=declared.evaluate.split,
        cluster=cluster_column(system),
    )


def _facts(system: LoadedSystem, trained: TrainedModel, identity: TrainingSetIdentity) -> dict[str, Any]:
    """What the bundle says of its own origin."""
    return {
        "model": trained.name,
        "estimator": system.declaration.models[trained.name].estimator,
        "feature_set": system.feature_set(trained.name).hash,
        "training_set_hash": identity.content_hash,
        "training_set_version": identity.version,
        "knowledge_until": identity.knowledge_until.isoformat(),
        "test_from": trained.split.test_from.isoformat(),
    }


def _tags(system: LoadedSystem, facts: Mapping[str, Any], *, start_from: str | None) -> dict[str, str]:
    """What MLflow's run and registered version can be found by, and what its logged model leaves out."""
    told = {} if start_from is None else {"start_from": start_from, DESCRIPTION: started_elsewhere(start_from)}
    return {
        **told,
        "system": system.name,
        "feature_set": facts["feature_set"],
        "training_set": facts["training_set_hash"],
        "training_set_version": str(facts["training_set_version"]),
        "dagster_run_id": facts["dagster_run_id"],
    }


def _parts(
    system: LoadedSystem, trained: TrainedModel, *, card: str, references: Mapping[str, Any], facts: Mapping[str, Any]
) -> BundleParts:
    return BundleParts(
        feature_set=system.feature_set(trained.name),
        model_bytes=trained.model_bytes,
        start_from=trained.start_from,
        calibrator=trained.calibrator,
        reference=references,
        golden=trained.golden,
        card=card,
        facts=facts,
        decision=system.decision_rule(),
        views=system.push_views(),
    )


def _log(
    trained: TrainedModel,
    evaluation: Evaluation,
    frame: pd.DataFrame,
    *,
    identity: TrainingSetIdentity,
    tracking: Tracking,
) -> str:
    """Everything of the run but its files; returns the logged model's URI."""
    tracking.log_training(
        frame[[*trained.features, "outcome"]],
        name="training_set",
        digest=identity.content_hash,
        source=identity.path.as_uri(),
        params={
            **trained.params,
            "calibrator": trained.calibrator.name,
            "rounds": trained.rounds.rounds,
            "start_from": trained.start_from,
        },
        metrics={**evaluation.metrics(), "held_out.log_loss": trained.rounds.log_loss},
    )
    rows = feature_matrix(frame.iloc[trained.split.test[:5]], trained.features)
    example = pd.DataFrame(rows, columns=list(trained.features))
    return tracking.log_model(trained.model_bytes, example=example)


def _register(
    parts: BundleParts, *, model_uri: str, tags: Mapping[str, str], tracking: Tracking, bundles: Path
) -> tuple[str, str]:
    """Version and bundle of a model; when one step fails, the steps before it are taken back."""
    system, run_id = parts.feature_set.system, str(parts.facts["mlflow_run_id"])
    with ExitStack() as undo:
        version = tracking.register(system, run_id=run_id, model_uri=model_uri, tags=tags)
        undo.callback(tracking.withdraw, system, version=version)
        bundle = write_bundle(bundles, replace(parts, facts={**parts.facts, "model_version": version}))
        undo.callback(shutil.rmtree, bundles / bundle)
        tracking.log_files(bundles / bundle, under="bundle")
        tracking.tag(run_id, {"bundle": bundle, "model_version": version})
        undo.pop_all()
    return version, bundle


def _references(train: pd.DataFrame, system: LoadedSystem, features: tuple[str, ...]) -> Mapping[str, Any]:
    """What each feature looked like in training."""
    contracts = system.declaration.features()
    return {name: reference(train[name], unit=contracts[name].unit or "", points=1_000).to_json() for name in features}
