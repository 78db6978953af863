"""From chosen models to one: the ensemble's file, its calibrator on held-out rows, its answers on the test rows.

Belongs here: several bundles as one trained model, which is then judged and recorded like any other.
Does not belong here: choosing them (`choose.py`), answering (`ensemble.py`), recording (`build.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastle.contract.errors import LearnError, MeasureError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.matrix import segment_columns
from forecastle.contract.matrix_check import ENSEMBLE_NAME
from forecastle.contract.system import Model
from forecastle.learn.build import LearnedModel, cluster_column, judge_model, segment_mask
from forecastle.learn.bundle import Bundle
from forecastle.learn.choose import Choice, Member, segment_text
from forecastle.learn.cross_fit import RoundsChoice, RoundsScore
from forecastle.learn.ensemble import ensemble_bytes, open_ensemble
from forecastle.learn.feature_matrix import feature_matrix, unvaried_features
from forecastle.learn.scoring import ENSEMBLE, Scoring
from forecastle.learn.split import TimeSplit, time_split
from forecastle.learn.train import TrainedModel, golden_rows
from forecastle.measure.calibrators import inside
from forecastle.measure.recalibration import CalibratorChoice, choose_calibrator
from forecastle.measure.scores import log_loss

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Ingredient:
    """A chosen model with all that the ensemble needs of it."""

    member: Member
    bundle: Bundle
    held_out: pd.DataFrame
    importances: pd.DataFrame


def asks_for_ensemble(system: LoadedSystem) -> bool:
    """Whether the candidate of a system may be made of several models."""
    declared = system.declaration
    return declared.promote.choose == "ensemble" or any(model.segment for model in declared.models.values())


def combine(
    system: LoadedSystem, choice: Choice, ingredients: Sequence[Ingredient], frame: pd.DataFrame
) -> tuple[LoadedSystem, LearnedModel]:
    """Make one model of several and judge it on the test rows.

    Args:
        system: the declaration that chose them.
        choice: the members and why.
        ingredients: one for each member, in the choice's order.
        frame: the training set that all of them were trained on.

    Returns:
        The system with the ensemble as one of its models, and the ensemble trained and judged.

    Raises:
        LearnError: no calibrator can be fitted, or no test row has a member.
        BundleError: a member is a pickle.
    """
    features = _features(system, ingredients)
    described = _described(system, choice, features)
    trained = _trained(described, choice, ingredients, frame, features)
    return described, judge_model(described, trained, frame)


def _trained(
    system: LoadedSystem,
    choice: Choice,
    ingredients: Sequence[Ingredient],
    frame: pd.DataFrame,
    features: tuple[str, ...],
) -> TrainedModel:
    """The ensemble as a trained model: its file, its calibrator on held-out rows, its answers on the test rows."""
    content = ensemble_bytes([(i.member.model, i.member.segment, i.bundle) for i in ingredients])
    codes = system.feature_set(ENSEMBLE_NAME).codes
    matrix = feature_matrix(frame, features, codes=codes)
    split, held_out = _train_part(system, ingredients, frame)
    scorer = open_ensemble(content, features=features, codes=codes)
    split, test_raw = _answered(split, scorer.scores(matrix[split.test]))
    calibrated = _calibrated(system, frame, split, held_out)
    loss = log_loss(frame["outcome"].to_numpy(np.float64)[split.train], inside(held_out))
    return TrainedModel(
        name=ENSEMBLE_NAME,
        features=features,
        start=None,
        model_bytes=content,
        rounds=RoundsChoice(1, (RoundsScore(1, loss, 0.0, 0.0),), choice.reasons),
        calibrator=calibrated.calibrator,
        calibrator_reasons=calibrated.reasons,
        calibrator_table=calibrated.table,
        split=split,
        test_raw=test_raw,
        test_probability=calibrated.calibrator.apply(test_raw),
        golden=golden_rows(matrix[split.test], test_raw, calibrated.calibrator),
        params={"choose": system.declaration.promote.choose, "members": [i.member.model for i in ingredients]},
        importances=_importances(ingredients, features),
        held_out=held_out,
        scoring=Scoring(kind=ENSEMBLE, requires=_requires(ingredients)),
        unvaried=unvaried_features(features, matrix[split.train]),
    )


def _features(system: LoadedSystem, ingredients: Sequence[Ingredient]) -> tuple[str, ...]:
    """Every feature that a member sees or a segment is told by, in the order of the declaration."""
    seen = {name for i in ingredients for name in i.bundle.feature_set.model_features}
    seen |= set(segment_columns([system.declaration.models[i.member.model] for i in ingredients]))
    return tuple(name for name in system.declaration.features() if name in seen)


def _described(system: LoadedSystem, choice: Choice, features: Sequence[str]) -> LoadedSystem:
    """The system with the ensemble among its models, so that card, contract and record are made as for any other."""
    told = "; ".join(
        f"{segment}: {', '.join(m.model for m in choice.members if segment_text(m.segment) == segment)}"
        for segment in dict.fromkeys(segment_text(member.segment) for member in choice.members)
    )
    model = Model.model_construct(
        estimator="forecastle.ensemble",
        features=list(features),
        description=f"The mean of the calibrated probabilities of its members ({told}).",
    )
    models = {**system.declaration.models, ENSEMBLE_NAME: model}
    return replace(system, declaration=system.declaration.model_copy(update={"models": models}))


def _train_part(
    system: LoadedSystem, ingredients: Sequence[Ingredient], frame: pd.DataFrame
) -> tuple[TimeSplit, FloatArray]:
    """The rows on which every member of a row was held out, and the mean of what they said there."""
    split = time_split(frame, system.declaration.evaluate.split)
    total, count = np.zeros(len(frame)), np.zeros(len(frame))
    segments = [i.member.segment for i in ingredients if i.member.segment is not None]
    divided = np.zeros(len(frame), dtype=bool)
    for segment in segments:
        divided |= segment_mask(frame, segment)
    for ingredient in ingredients:
        rows = ingredient.held_out["row"].to_numpy()
        own = ~divided[rows] if ingredient.member.segment is None else np.ones(len(rows), dtype=bool)
        total[rows[own]] += ingredient.held_out["probability"].to_numpy(np.float64)[own]
        count[rows[own]] += 1
    train = np.flatnonzero(count > 0)
    return replace(split, train=train, purged=len(frame) - len(train) - len(split.test)), total[train] / count[train]


def _answered(split: TimeSplit, test_raw: FloatArray) -> tuple[TimeSplit, FloatArray]:
    """Only the test rows that have a member, with what the ensemble says of them."""
    answered = ~np.isnan(test_raw)
    if not answered.any():
        raise LearnError("no test row is of a segment that has a model; train a model of all rows beside the segments")
    return replace(split, test=split.test[answered]), test_raw[answered]


def _calibrated(system: LoadedSystem, frame: pd.DataFrame, split: TimeSplit, held_out: FloatArray) -> CalibratorChoice:
    """A mean of calibrated probabilities is too timid where members differ: the ensemble is calibrated as one."""
    outcomes = frame["outcome"].to_numpy(np.float64)[split.train]
    clusters = frame[cluster_column(system)].to_numpy()[split.train]
    try:
        return choose_calibrator(outcomes, held_out, groups=clusters, seed=0)
    except MeasureError as error:
        raise LearnError(f"the ensemble cannot be calibrated on {len(held_out)} held-out rows: {error}") from error


def _importances(ingredients: Sequence[Ingredient], features: Sequence[str]) -> pd.DataFrame:
    """The members' shares, averaged; a feature that a member does not see has none there."""
    total = pd.Series(0.0, index=list(features))
    for ingredient in ingredients:
        told = ingredient.importances.set_index("feature")["importance"]
        total = total.add(told.reindex(total.index, fill_value=0.0))
    table = pd.DataFrame({"feature": list(features), "importance": (total / len(ingredients)).to_numpy()})
    return table.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)


def _requires(ingredients: Sequence[Ingredient]) -> Mapping[str, str]:
    """What a process needs to open every member."""
    return {name: version for i in ingredients for name, version in i.bundle.scoring.requires.items()}
