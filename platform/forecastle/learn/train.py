"""From a training set to a fitted model: estimator, calibrator, predictions on rows they never saw.

Belongs here: one declared model on one time split: the order of its fits, its calibrator, its scores on the test rows.
Does not belong here: one fit (`fit.py`), folds and rounds (`cross_fit.py`), judging the scores (`evaluate.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from forecastle.contract.category import NO_CODES, Codes
from forecastle.contract.errors import LearnError, MeasureError
from forecastle.contract.model_check import CENTERED
from forecastle.contract.system import Model, Split
from forecastle.learn.bundle import Golden
from forecastle.learn.cross_fit import RoundsChoice, cross_fit
from forecastle.learn.early_stopping import stopped
from forecastle.learn.feature_matrix import feature_matrix, unvaried_features
from forecastle.learn.fit import Code, Fitted, FloatArray, Rows, fit
from forecastle.learn.importance import importances
from forecastle.learn.pack import with_means
from forecastle.learn.scoring import Scoring
from forecastle.learn.search import SearchResult, search_params
from forecastle.learn.split import TimeSplit, time_split, times_of
from forecastle.measure.calibrators import Calibrator
from forecastle.measure.recalibration import DEFAULT_CANDIDATES, CandidateScore, choose_calibrator, fit_calibrator

GOLDEN_ROWS = 32
PROBED_ROWS = 200


@dataclass(frozen=True)
class TrainedModel:
    """A fitted model and what it says of the test rows.

    `held_out` are raw scores (n,) of the training rows by models that did not see them, in the order of `split.train`.
    `start` is the position among `features` of the probability that the trees start from, if they do. The calibrator
    was fitted on held-out scores of the training rows. `unvaried` are features with one value, or null alone, there.
    """

    name: str
    features: tuple[str, ...]
    start: int | None
    model_bytes: bytes
    rounds: RoundsChoice
    calibrator: Calibrator
    calibrator_reasons: tuple[str, ...]
    calibrator_table: tuple[CandidateScore, ...]
    split: TimeSplit
    test_raw: FloatArray
    test_probability: FloatArray
    golden: Golden
    params: dict[str, Any]
    importances: pd.DataFrame
    held_out: FloatArray
    scoring: Scoring = field(default_factory=Scoring)
    search: SearchResult | None = None
    unvaried: tuple[str, ...] = ()

    @property
    def start_from(self) -> str | None:
        """The feature that the trees start from, if they do."""
        return None if self.start is None else self.features[self.start]


def train_model(
    frame: pd.DataFrame,
    *,
    name: str,
    model: Model,
    features: Sequence[str],
    split: Split,
    cluster: str,
    test_from: datetime | Sequence[datetime] | None = None,
    groups: Sequence[str] = (),
    code: Code | None = None,
    codes: Codes = NO_CODES,
) -> TrainedModel:
    """Fit one declared model.

    Walking forward, each block of the test part is answered by a model of its own; the last one's is kept. A search
    sees what was known before the first block, and its parameters are those of every block.

    Args:
        frame: the training set: features, outcome, predict_at, known_at and `cluster`, one row a label.
        name: the model's name in the declaration.
        model: its declaration.
        features: column names in the order the estimator sees.
        split: the declared time split.
        cluster: column whose rows stay in one fold when rounds and calibrator are chosen.
        test_from: where the test part (each block) begins, instead of where the split's shares put it; a row must lie
            there.
        groups: columns that together name what must not stand on both sides of a split; then folds are of groups.
        code: finds an estimator's function; needed where `model.estimator` names one.
        codes: the numbers of those features that are words.

    Raises:
        LearnError: the split has too few rows or clusters, a feature is missing or infinite, the start is no
            probability, the estimator refuses its parameters or rows, or learns nothing from them without a start.
    """
    parts = time_split(frame, split, test_from=test_from, groups=groups)
    rows = _rows(frame, model, features, cluster=cluster, groups=groups, codes=codes)
    search = search_params(model, rows.take(parts.blocks[0].train), embargo=split.embargo, code=code)
    found = model if search is None else model.model_copy(update={"params": {**model.params, **search.params}})
    return _trained(name, rows, parts, _walk(found, rows, parts, split, code), search)


@dataclass(frozen=True, slots=True)
class _Learned:
    """One fit with its rounds and its calibrator."""

    fitted: Fitted
    rounds: RoundsChoice
    held_out: FloatArray
    calibrator: Calibrator
    reasons: tuple[str, ...]
    table: tuple[CandidateScore, ...]
    importances: pd.DataFrame


@dataclass(frozen=True, slots=True)
class _Walked:
    """The last block's model, and raw scores and probabilities (n,) of all blocks' rows, NaN elsewhere."""

    last: _Learned
    raw: FloatArray
    probability: FloatArray


def _walk(model: Model, rows: Rows, parts: TimeSplit, split: Split, code: Code | None) -> _Walked:
    """Each block answered by a model of what was known before it."""
    test_raw, probability = np.full(len(rows.matrix), np.nan), np.full(len(rows.matrix), np.nan)
    for block in parts.blocks:
        learned = _learn(model, rows.take(block.train), split, code)
        raw = learned.fitted.scores(rows.matrix[block.test])
        test_raw[block.test], probability[block.test] = raw, learned.calibrator.apply(raw)
    return _Walked(learned, test_raw, probability)


def _trained(name: str, rows: Rows, parts: TimeSplit, walked: _Walked, search: SearchResult | None) -> TrainedModel:
    learned, newest = walked.last, parts.blocks[-1].test
    packed = with_means(learned.fitted.packed(), rows.matrix[parts.train])
    return TrainedModel(
        name, rows.features, rows.start, packed.model_bytes, learned.rounds, learned.calibrator, learned.reasons,
        learned.table, parts, walked.raw[parts.test], walked.probability[parts.test],
        golden_rows(rows.matrix[newest], walked.raw[newest], learned.calibrator), learned.fitted.params,
        learned.importances, learned.held_out, packed.scoring, search,
        unvaried_features(rows.features, rows.matrix[parts.train]),
    )  # fmt: skip


def _learn(model: Model, rows: Rows, split: Split, code: Code | None) -> _Learned:
    stop = stopped(model, rows, embargo=split.embargo, code=code)
    if stop is not None:
        model = model.model_copy(update={"params": {**model.params, "n_estimators": stop.rounds}})
    rounds, held_out = cross_fit(model, rows, folds=split.folds, code=code)
    if stop is not None:
        told = f"their log loss on {split.folds} held-out folds of {len(rows.outcomes)} rows is {rounds.log_loss:.6f}"
        rounds = replace(rounds, reasons=(stop.reason, told, *rounds.reasons[1:]))
    fitted = fit(model, rows, rounds=rounds.rounds, code=code)
    shares = importances(fitted, rows, seed=model.seed)
    _require_knowledge(model, fitted, shares, rows)
    return _Learned(fitted, rounds, held_out, *_calibrate(model, rows, held_out, folds=split.folds), shares)


def _rows(
    frame: pd.DataFrame, model: Model, features: Sequence[str], *, cluster: str, groups: Sequence[str], codes: Codes
) -> Rows:
    times = times_of(frame, groups)
    clusters = frame[cluster].to_numpy() if times.groups is None else times.groups
    start = None if model.start_from is None else list(features).index(model.start_from)
    matrix = feature_matrix(frame, features, codes=codes)
    return Rows(tuple(features), matrix, frame["outcome"].to_numpy(np.float64), clusters, start, times)


def _calibrate(
    model: Model, rows: Rows, scores: FloatArray, *, folds: int
) -> tuple[Calibrator, tuple[str, ...], tuple[CandidateScore, ...]]:
    try:
        if model.calibrate != "auto":
            reason = f"calibrator {model.calibrate} is declared"
            return fit_calibrator(model.calibrate, rows.outcomes, scores), (reason,), ()
        # Weights shift the odds by one factor: a calibrator that cannot shift them back is no candidate.
        names = [name for name in DEFAULT_CANDIDATES if model.class_weight is None or name not in CENTERED]
        choice = choose_calibrator(
            rows.outcomes, scores, candidates=names, folds=folds, groups=rows.clusters, seed=model.seed
        )
    except MeasureError as error:
        raise LearnError(f"no calibrator can be fitted on {len(scores)} held-out scores: {error}") from error
    return choice.calibrator, choice.reasons, choice.table


def _require_knowledge(model: Model, fitted: Fitted, importances: pd.DataFrame, rows: Rows) -> None:
    """A model without one split says the base rate to everybody: that is a fault upstream, not a model.

    With a start it says the start, which is a forecast: nothing was found that the start does not know.
    """
    if rows.start is not None or importances["importance"].sum() > 0:
        return
    # Without trees, features may matter by less than their permutation shows: then scores differ all the same.
    if fitted.rounds is None and np.ptp(fitted.scores(rows.matrix[:PROBED_ROWS])) > 0:
        return
    unvaried = unvaried_features(rows.features, rows.matrix)
    told = f"constant or null there: {', '.join(unvaried)}" if unvaried else "no feature is constant"
    raise LearnError(
        f"{model.estimator} found nothing to learn in {len(rows.matrix)} training rows ({told}); "
        "mend the features, bring more rows, or let smaller leaves be made"
    )


def golden_rows(matrix: FloatArray, raw: FloatArray, calibrator: Calibrator) -> Golden:
    """Rows spread over the range of scores, so that a damaged tree or calibrator step cannot hide."""
    order = np.argsort(raw, kind="stable")
    picked = order[np.unique(np.linspace(0, len(order) - 1, GOLDEN_ROWS).round().astype(int))]
    rows = tuple(tuple(None if np.isnan(v) else float(v) for v in row) for row in matrix[picked])
    return Golden(rows, tuple(map(float, raw[picked])), tuple(map(float, calibrator.apply(raw[picked]))))
