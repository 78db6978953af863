"""One model, whole: train, evaluate, card, bundle, MLflow run and registered version.

Belongs here: the order of those steps for one declared model and one training set.
Does not belong here: any of the steps themselves, promotion (`promote.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from forecastle.contract.errors import LearnError
from forecastle.contract.feature_set import FeatureSet
from forecastle.contract.load import LoadedSystem
from forecastle.contract.matrix import Segment
from forecastle.learn.bundle import BundleParts, write_bundle
from forecastle.learn.card import ModelCard, model_card, started_elsewhere
from forecastle.learn.evaluate import Evaluation, evaluate_model
from forecastle.learn.scoring import LIGHTGBM
from forecastle.learn.split import time_split
from forecastle.learn.tracking import BUNDLE, DESCRIPTION, Tracking
from forecastle.learn.train import TrainedModel, train_model
from forecastle.measure.reference import reference

VERSION_ATTEMPTS: Final = 20
"""How often a registered number may be taken by somebody else before a build gives up."""


@dataclass(frozen=True, slots=True)
class TrainingSetIdentity:
    """Which rows a model was trained on: the table version, the hash of its rows, what was known, the file.

    `snapshot_hash` is over its specification too, and over what was known.
    """

    version: int
    content_hash: str
    knowledge_until: datetime
    path: Path
    snapshot_hash: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """Where a model is recorded and what the record says of its making.

    Args:
        identity: which training set it learned from.
        tracking: MLflow.
        bundles: folder of the system's bundles.
        trained_at: this moment.
        dagster_run_id: the run that asked, for lineage.
    """

    identity: TrainingSetIdentity
    tracking: Tracking
    bundles: Path
    trained_at: datetime
    dagster_run_id: str


@dataclass(frozen=True)
class LearnedModel:
    """A trained model, what it is worth on its test rows, and what each feature looked like in training."""

    trained: TrainedModel
    evaluation: Evaluation
    references: Mapping[str, Any]


@dataclass(frozen=True)
class BuiltModel:
    """What one build left behind."""

    name: str
    bundle: str
    model_version: str
    mlflow_run_id: str
    trained: TrainedModel
    evaluation: Evaluation
    card: ModelCard


def build_model(system: LoadedSystem, name: str, frame: pd.DataFrame, recording: Recording) -> BuiltModel:
    """Train one declared model on the training set's rows and record it.

    Raises:
        LearnError: the rows cannot give a model; bundles and registered versions stay as they were.
    """
    return record_model(system, learn_model(system, name, frame), frame, recording)


def learn_model(system: LoadedSystem, name: str, frame: pd.DataFrame) -> LearnedModel:
    """Train and judge one model on the rows of its segment; nothing is written, so another process may do it.

    Raises:
        LearnError: the rows cannot give a model.
    """
    rows = model_rows(system, name, frame)
    # Models of a segment are judged from the same instant on as all others.
    test_from = None if rows is frame else time_split(frame, system.declaration.evaluate.split).cuts
    trained = train_declared(system, name, rows, test_from=test_from)
    return judge_model(system, trained, rows)


def train_declared(
    system: LoadedSystem, name: str, frame: pd.DataFrame, *, test_from: datetime | Sequence[datetime] | None
) -> TrainedModel:
    """Train one declared model by the system's split, clusters and groups; `test_from` as of `train_model`.

    Raises:
        LearnError: the rows cannot give a model.
    """
    declared, feature_set = system.declaration, system.feature_set(name)
    return train_model(
        frame,
        name=name,
        model=declared.models[name],
        features=feature_set.model_features,
        split=declared.evaluate.split,
        cluster=cluster_column(system),
        test_from=test_from,
        groups=group_columns(system),
        code=system.function,
        codes=feature_set.codes,
    )


def judge_model(system: LoadedSystem, trained: TrainedModel, rows: pd.DataFrame) -> LearnedModel:
    """A trained model with what it is worth on its test rows; `rows` are those that it was trained from."""
    evaluation = evaluate_test(system, rows.iloc[trained.split.test], trained.test_probability, champion=None)
    references = _references(rows.iloc[trained.split.train], system, trained.features)
    return LearnedModel(trained, evaluation, references)


def record_model(system: LoadedSystem, learned: LearnedModel, frame: pd.DataFrame, recording: Recording) -> BuiltModel:
    """Leave a model that was trained from `frame` as a bundle, an MLflow run and a registered version.

    Raises:
        LearnError: a step failed; bundles and registered versions stay as they were.
    """
    trained, evaluation, name = learned.trained, learned.evaluation, learned.trained.name
    frame = model_rows(system, name, frame)
    facts = _facts(system, trained, recording)
    tags = _tags(system, facts, start_from=trained.start_from)
    with recording.tracking.run(system.name, name=name, tags=tags) as run:
        facts["mlflow_run_id"] = run.run_id
        card = model_card(
            system, trained, evaluation,
            test=frame.iloc[trained.split.test].reset_index(drop=True), cluster=cluster_column(system),
            facts=facts, lineage=feature_lineage(system),
        )  # fmt: skip
        feature_set = system.feature_set(name)
        model_uri = _log(trained, evaluation, frame, recording, feature_set=feature_set)
        parts = _parts(system, trained, card=card, references=learned.references, facts=facts)
        version, bundle = _register(parts, recording, model_uri=model_uri, tags=tags)
    return BuiltModel(name, bundle, version, run.run_id, trained, evaluation, card)


def model_rows(system: LoadedSystem, name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that a model is about: those of its segment, numbered anew, or `frame` itself.

    Raises:
        LearnError: the segment has no row.
    """
    segment = system.declaration.models[name].segment
    if segment is None:
        return frame
    rows = frame[segment_mask(frame, segment)].reset_index(drop=True)
    if rows.empty:
        told = ", ".join(f"{column} = {value}" for column, value in segment.items())
        raise LearnError(f"the training set has no row of the segment {told}; leave its value out of the matrix")
    return rows


def segment_mask(frame: pd.DataFrame, segment: Segment) -> np.ndarray:
    """Which rows (n,) are of a segment; null is of none."""
    mask = np.ones(len(frame), dtype=bool)
    for column, value in segment.items():
        if isinstance(value, str):
            mask &= (frame[column] == value).fillna(value=False).to_numpy(bool)
        else:
            mask &= frame[column].to_numpy(np.float64, na_value=np.nan) == float(value)
    return mask


def test_rows(frame: pd.DataFrame, built: BuiltModel) -> pd.DataFrame:
    """The test rows with the model's raw score and probability, and which bundle said so.

    `frame` is what the model was trained from, as `model_rows` gives it.
    """
    rows = frame.iloc[built.trained.split.test].reset_index(drop=True)
    return rows.assign(
        raw_score=built.trained.test_raw,
        probability=built.trained.test_probability,
        bundle=built.bundle,
        model_version=built.model_version,
    )


def evaluate_test(
    system: LoadedSystem,
    test: pd.DataFrame,
    probability: np.ndarray,
    *,
    champion: np.ndarray | None,
    champion_from: datetime | None = None,
) -> Evaluation:
    """Evaluate probabilities of test rows by the system's declaration, see `evaluate_model`."""
    return evaluate_model(
        test,
        probability,
        declared=system.declaration.evaluate,
        cluster=cluster_column(system),
        champion=champion,
        champion_from=champion_from,
        seed=0,
    )


def cluster_column(system: LoadedSystem) -> str:
    """The column whose rows settle together: declared, else the first key of the entity."""
    return system.declaration.evaluate.cluster or next(iter(system.declaration.entity_of_label().keys))


def group_columns(system: LoadedSystem) -> tuple[str, ...]:
    """The columns that name a row's group, which must not stand on both sides of a split; none where undeclared."""
    group = system.declaration.evaluate.split.group
    if group is None:
        return ()
    return tuple(system.declaration.entity_of_label().keys) if group == "entity" else (group,)


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


def _facts(system: LoadedSystem, trained: TrainedModel, recording: Recording) -> dict[str, Any]:
    """What the bundle says of its own origin."""
    identity = recording.identity
    return {
        "model": trained.name,
        "estimator": system.declaration.models[trained.name].estimator,
        "feature_set": system.feature_set(trained.name).hash,
        "training_set_hash": identity.content_hash,
        "training_set_snapshot": identity.snapshot_hash or identity.content_hash,
        "training_set_version": identity.version,
        "knowledge_until": identity.knowledge_until.isoformat(),
        "test_from": trained.split.test_from.isoformat(),
        "trained_at": recording.trained_at.isoformat(),
        "dagster_run_id": recording.dagster_run_id,
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
    system: LoadedSystem,
    trained: TrainedModel,
    *,
    card: ModelCard,
    references: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> BundleParts:
    return BundleParts(
        feature_set=system.feature_set(trained.name),
        model_bytes=trained.model_bytes,
        start_from=trained.start_from,
        calibrator=trained.calibrator,
        reference=references,
        golden=trained.golden,
        card=card.markdown,
        card_page=card.html,
        facts=facts,
        decision=system.decision_rule(),
        views=system.push_views(),
        scoring=trained.scoring,
    )


def _log(
    trained: TrainedModel,
    evaluation: Evaluation,
    frame: pd.DataFrame,
    recording: Recording,
    *,
    feature_set: FeatureSet,
) -> str:
    """Everything of the run but its files; returns where MLflow finds the model."""
    identity, tracking = recording.identity, recording.tracking
    tracking.log_training(
        frame[[*trained.features, "outcome"]],
        name="training_set",
        digest=identity.snapshot_hash or identity.content_hash,
        source=identity.path.as_uri(),
        params={
            **trained.params,
            "calibrator": trained.calibrator.name,
            "rounds": trained.rounds.rounds,
            "start_from": trained.start_from,
        },
        metrics={**evaluation.metrics(), "held_out.log_loss": trained.rounds.log_loss},
    )
    if trained.search is not None:
        tracking.log_search(trained.search)
    plain = trained.scoring.kind == LIGHTGBM and trained.scoring.preprocess is None
    return tracking.log_model(feature_set, booster=trained.scoring.file if plain else None)


def _register(parts: BundleParts, recording: Recording, *, model_uri: str, tags: Mapping[str, str]) -> tuple[str, str]:
    """Version and bundle of a model; when one step fails, the steps before it are taken back.

    The bundle, which names its version, is whole before that version is registered: a process that is killed leaves at
    most a bundle that nothing names. Where another process took the number, both are taken back and the next is tried.
    """
    tracking, bundles = recording.tracking, recording.bundles
    system, run_id = parts.feature_set.system, str(parts.facts["mlflow_run_id"])
    expected = tracking.next_version(system)
    for _ in range(VERSION_ATTEMPTS):
        with ExitStack() as undo:
            bundle = write_bundle(bundles, replace(parts, facts={**parts.facts, "model_version": expected}))
            undo.callback(shutil.rmtree, bundles / bundle)
            version = tracking.register(system, run_id=run_id, model_uri=model_uri, tags=tags)
            undo.callback(tracking.withdraw, system, version=version)
            if version == expected:
                tracking.log_files(bundles / bundle, under=BUNDLE)
                tracking.tag(run_id, {"bundle": bundle, "model_version": version})
                undo.pop_all()
                return version, bundle
        expected = str(int(version) + 1)
    raise LearnError(f"MLflow gave {system} another version than the next one {VERSION_ATTEMPTS} times; train again")


def _references(train: pd.DataFrame, system: LoadedSystem, features: tuple[str, ...]) -> Mapping[str, Any]:
    """What each feature looked like in training."""
    contracts = system.declaration.features()
    return {name: reference(train[name], unit=contracts[name].unit or "", points=1_000).to_json() for name in features}
