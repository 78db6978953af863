"""From a training set to a fitted model: estimator, calibrator, predictions on rows they never saw.

Belongs here: fitting one declared model on one time split, and its scores on the test rows.
Does not belong here: judging the scores (`evaluate.py`, `gates.py`), MLflow (`tracking.py`), writing (`bundle.py`).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastle.contract.errors import LearnError, MeasureError
from forecastle.contract.system import Model, Split
from forecastle.learn.bundle import Golden
from forecastle.learn.split import TimeSplit, time_split
from forecastle.measure.calibrators import Calibrator
from forecastle.measure.recalibration import CandidateScore, choose_calibrator, fit_calibrator

FloatArray = NDArray[np.float64]

GOLDEN_ROWS = 32


@dataclass(frozen=True)
class TrainedModel:
    """A fitted model and what it says of the test rows."""

    name: str
    features: tuple[str, ...]
    model_bytes: bytes
    calibrator: Calibrator
    calibrator_reasons: tuple[str, ...]
    calibrator_table: tuple[CandidateScore, ...]
    split: TimeSplit
    test_raw: FloatArray
    test_probability: FloatArray
    golden: Golden
    params: dict[str, Any]
    importances: pd.DataFrame


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
        cluster: column whose rows stay in one fold when the calibrator is chosen.
        test_from: where the test part begins, instead of where the split's shares put it; a row must lie there.

    Raises:
        LearnError: the split has too few rows, a feature is missing or infinite, the estimator refuses its
            parameters or rows, or learns nothing from them.
    """
    parts = time_split(frame, split, test_from=test_from)
    matrix = feature_matrix(frame, features)
    outcomes = frame["outcome"].to_numpy(np.float64)
    booster, params = _fit(model, matrix[parts.train], outcomes[parts.train], features)
    importances = _importances(booster, features)
    _require_knowledge(model, importances, matrix[parts.train], features)
    groups = frame[cluster].to_numpy()[parts.calibrate]
    scores = _scores(booster, matrix[parts.calibrate])
    calibrator, reasons, table = _calibrate(model, outcomes[parts.calibrate], scores, groups)
    test_raw = _scores(booster, matrix[parts.test])
    golden = _golden(matrix[parts.test], test_raw, calibrator)
    return TrainedModel(
        name, tuple(features), booster.model_to_string().encode(), calibrator, reasons, table, parts,
        test_raw, calibrator.apply(test_raw), golden, params, importances,
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


def _fit(model: Model, matrix: FloatArray, outcomes: FloatArray, features: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    module, _, class_name = model.estimator.rpartition(".")
    try:
        estimator_class = getattr(importlib.import_module(module), class_name)
        estimator = estimator_class(**{"random_state": model.seed, **model.params})
        estimator.fit(pd.DataFrame(matrix, columns=list(features)), outcomes.astype(np.int64))
    except Exception as error:  # an estimator may raise anything
        raise LearnError(f"{model.estimator} cannot be fitted: {type(error).__name__}: {error}") from error
    return estimator.booster_, {k: v for k, v in estimator.get_params().items() if v is not None}


def _scores(booster: Any, matrix: FloatArray) -> FloatArray:
    return np.asarray(booster.predict(matrix), dtype=np.float64)


def _calibrate(
    model: Model, outcomes: FloatArray, scores: FloatArray, groups: NDArray[Any]
) -> tuple[Calibrator, tuple[str, ...], tuple[CandidateScore, ...]]:
    try:
        if model.calibrate != "auto":
            reason = f"calibrator {model.calibrate} is declared"
            return fit_calibrator(model.calibrate, outcomes, scores), (reason,), ()
        choice = choose_calibrator(outcomes, scores, groups=groups, seed=model.seed)
    except MeasureError as error:
        raise LearnError(f"no calibrator can be fitted on {len(outcomes)} calibration rows: {error}") from error
    return choice.calibrator, choice.reasons, choice.table


def _require_knowledge(model: Model, importances: pd.DataFrame, matrix: FloatArray, features: Sequence[str]) -> None:
    """A model without one split says the base rate to everybody: that is a fault upstream, not a model."""
    if importances["importance"].sum() > 0:
        return
    constant = [n for n, column in zip(features, matrix.T, strict=True) if len(np.unique(column)) == 1]
    told = f"constant or null there: {', '.join(constant)}" if constant else "no feature is constant"
    raise LearnError(
        f"{model.estimator} found nothing to learn in {len(matrix)} training rows ({told}); "
        "mend the features, bring more rows, or let smaller leaves be made"
    )


def _golden(matrix: FloatArray, raw: FloatArray, calibrator: Calibrator) -> Golden:
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
