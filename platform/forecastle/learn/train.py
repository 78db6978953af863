"""From a training set to a fitted model: estimator, calibrator, predictions on rows they never saw.

Belongs here: one declared model on one time split: the order of its fits, its calibrator, its scores on the test rows.
Does not belong here: one fit (`fit.py`), folds and rounds (`cross_fit.py`), judging the scores (`evaluate.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from forecastle.contract.errors import LearnError, MeasureError
from forecastle.contract.system import Model, Split
from forecastle.learn.bundle import Golden
from forecastle.learn.cross_fit import RoundsChoice, cross_fit
from forecastle.learn.fit import FloatArray, Rows, fit
from forecastle.learn.scoring import Scoring
from forecastle.learn.split import TimeSplit, time_split
from forecastle.measure.calibrators import Calibrator
from forecastle.measure.recalibration import CandidateScore, choose_calibrator, fit_calibrator

GOLDEN_ROWS = 32


@dataclass(frozen=True)
class TrainedModel:
    """A fitted model and what it says of the test rows.

    `held_out` are raw scores (n,) of the training rows by models that did not see them, in the order of `split.train`.
    `start` is the position among `features` of the probability that the trees start from, if they do. The calibrator
    was fitted on held-out scores of the training rows.
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
    test_from: datetime | None = None,
) -> TrainedModel:
    """Fit one declared model.

    Args:
        frame: the training set: features, outcome, predict_at, known_at and `cluster`, one row a label.
        name: the model's name in the declaration.
        model: its declaration.
        features: column names in the order the estimator sees.
        split: the declared time split.
        cluster: column whose rows stay in one fold when rounds and calibrator are chosen.
        test_from: where the test part begins, instead of where the split's shares put it; a row must lie there.

    Raises:
        LearnError: the split has too few rows or clusters, a feature is missing or infinite, the start is no
            probability, the estimator refuses its parameters or rows, or learns nothing from them without a start.
    """
    parts = time_split(frame, split, test_from=test_from)
    matrix = feature_matrix(frame, features)
    outcomes, clusters = frame["outcome"].to_numpy(np.float64), frame[cluster].to_numpy()
    start = None if model.start_from is None else list(features).index(model.start_from)
    rows = Rows(tuple(features), matrix, outcomes, clusters, start).take(parts.train)
    rounds, held_out = cross_fit(model, rows, folds=split.folds)
    fitted = fit(model, rows, rounds=rounds.rounds)
    importances = _importances(fitted.booster, features)
    _require_knowledge(model, importances, rows)
    calibrator, reasons, table = _calibrate(model, rows, held_out, folds=split.folds)
    test_raw = fitted.scores(matrix[parts.test])
    golden = golden_rows(matrix[parts.test], test_raw, calibrator)
    return TrainedModel(
        name, rows.features, start, fitted.model_bytes(), rounds, calibrator, reasons, table, parts,
        test_raw, calibrator.apply(test_raw), golden, fitted.params, importances, held_out,
    )  # fmt: skip


def feature_matrix(frame: pd.DataFrame, features: Sequence[str]) -> FloatArray:
    """Features by name as a C-ordered float64 matrix (n, k); null is NaN.

    Raises:
        LearnError: a feature is not a column, or a value is infinite.
    """
    lacking = [name for name in features if name not in frame]
    if lacking:
        raise LearnError(f"the training set has no column {', '.join(lacking)}; materialise it again")
    matrix = np.ascontiguousarray(frame.loc[:, list(features)].to_numpy(np.float64, na_value=np.nan))
    infinite = [name for name, some in zip(features, np.isinf(matrix).any(axis=0), strict=True) if some]
    if infinite:
        raise LearnError(f"{', '.join(infinite)} has infinite values; mend the feature's SQL or function")
    return matrix


def _calibrate(
    model: Model, rows: Rows, scores: FloatArray, *, folds: int
) -> tuple[Calibrator, tuple[str, ...], tuple[CandidateScore, ...]]:
    try:
        if model.calibrate != "auto":
            reason = f"calibrator {model.calibrate} is declared"
            return fit_calibrator(model.calibrate, rows.outcomes, scores), (reason,), ()
        choice = choose_calibrator(rows.outcomes, scores, folds=folds, groups=rows.clusters, seed=model.seed)
    except MeasureError as error:
        raise LearnError(f"no calibrator can be fitted on {len(scores)} held-out scores: {error}") from error
    return choice.calibrator, choice.reasons, choice.table


def _require_knowledge(model: Model, importances: pd.DataFrame, rows: Rows) -> None:
    """A model without one split says the base rate to everybody: that is a fault upstream, not a model.

    With a start it says the start, which is a forecast: nothing was found that the start does not know.
    """
    if rows.start is not None or importances["importance"].sum() > 0:
        return
    constant = [n for n, column in zip(rows.features, rows.matrix.T, strict=True) if len(np.unique(column)) == 1]
    told = f"constant or null there: {', '.join(constant)}" if constant else "no feature is constant"
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


def _importances(booster: Any, features: Sequence[str]) -> pd.DataFrame:
    gain = np.asarray(booster.feature_importance(importance_type="gain"), dtype=np.float64)
    total = gain.sum() or 1.0
    table = pd.DataFrame({"feature": list(features), "importance": gain / total})
    return table.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)
