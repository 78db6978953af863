"""Scoring many rows with a bundle: the batch twin of one request, bit for bit.

Belongs here: from rows with features by name to raw scores, probabilities and decisions.
Does not belong here: joining features (`store/`), one request (`serve/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastle.contract.decision import CLOSED, PREDICT_AT
from forecastle.contract.errors import BundleError
from forecastle.contract.on_demand import on_demand_columns
from forecastle.learn.bundle import Bundle
from forecastle.learn.feature_matrix import feature_column
from forecastle.learn.scorer import load_scorer

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Raw scores and calibrated probabilities, each (n,), and the features they stand on, by name; words as numbers.

    Both are NaN where the bundle has no model for the row's segment.
    """

    raw: FloatArray
    probability: FloatArray
    columns: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Decisions:
    """The decision of each row as JSON text (`null` where the system declares no rule), as an answer carries it.

    `is_open` (n,) is false where the rule says that it is too late: such a row is no prediction.
    """

    json: tuple[str, ...]
    is_open: NDArray[np.bool_]


def score_rows(bundle: Bundle, frame: pd.DataFrame) -> Scores:
    """Score rows that hold every view feature of the bundle's feature set by name; column order does not matter.

    On-demand features are computed here by the bundle's own code, never taken from the rows.

    Raises:
        BundleError: a feature the bundle needs is not among the columns.
    """
    feature_set = bundle.feature_set
    from_views = [spec.name for spec in feature_set.features if spec.view is not None]
    missing = [name for name in from_views if name not in frame]
    if missing:
        raise BundleError(
            f"bundle {bundle.hash[:12]} needs features that the rows lack: {', '.join(missing)}; declare them again, "
            "and take out what a champion uses once a model without it was promoted"
        )
    columns = {name: feature_column(frame, name, codes=feature_set.codes) for name in from_views}
    columns.update(on_demand_columns(feature_set, columns))
    matrix = np.column_stack([columns[name] for name in feature_set.model_features])
    raw = load_scorer(bundle).scores(np.ascontiguousarray(matrix))
    answered = ~np.isnan(raw)
    probability = np.full(len(raw), np.nan)
    probability[answered] = bundle.calibrator.apply(raw[answered])
    return Scores(raw, probability, columns)


def score_answerable(bundle: Bundle, frame: pd.DataFrame) -> tuple[pd.DataFrame, Scores]:
    """Rows, numbered anew, that the bundle has a model for, and their scores."""
    scores = score_rows(bundle, frame)
    answered = ~np.isnan(scores.raw)
    columns = {name: values[answered] for name, values in scores.columns.items()}
    rows = frame[answered].reset_index(drop=True)
    return rows, Scores(scores.raw[answered], scores.probability[answered], columns)


def decide_rows(bundle: Bundle, scores: Scores, predict_at: pd.Series) -> Decisions:
    """The bundle's decision rule over scored rows: what one request about each of them would be told.

    Args:
        bundle: carries the rule and its code.
        scores: of the rows, from `score_rows`.
        predict_at: the moment of each row, tz-aware UTC, in the same order.

    Raises:
        DecisionError: the rule fails for a row.
    """
    rule = bundle.decision
    if rule is None:
        return Decisions(("null",) * len(predict_at), np.ones(len(predict_at), dtype=bool))
    inputs = {name: scores.columns[name].tolist() for name in rule.inputs if name != PREDICT_AT}
    moments = [moment.to_pydatetime() for moment in predict_at]
    made = [
        rule.decide(probability, {name: values[row] for name, values in inputs.items()}, predict_at=moments[row])
        for row, probability in enumerate(scores.probability.tolist())
    ]
    texts = tuple(msgspec.json.encode(decision).decode() for decision in made)
    return Decisions(texts, np.array([decision["action"] != CLOSED for decision in made], dtype=bool))
