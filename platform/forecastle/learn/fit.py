"""One fit: an estimator on rows, from the log-odds of a start where one is declared.

Belongs here: the rows as the estimator sees them, building and fitting it, the scores of what was fitted.
Does not belong here: which rows (`split.py`), folds and rounds (`cross_fit.py`), calibrators (`train.py`).
Start: https://lightgbm.readthedocs.io/en/stable/Advanced-Topics.html (init score, which the model text does not hold).
"""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Model
from forecastle.learn.native_booster import NativeBooster
from forecastle.measure.calibrators import log_odds

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as an estimator sees them: `matrix` (n, k) in the order of `features`, `outcomes` and `clusters` (n,).

    `start` is the column of the probability that the trees start from, if they do.
    """

    features: tuple[str, ...]
    matrix: FloatArray
    outcomes: FloatArray
    clusters: NDArray[Any]
    start: int | None

    def take(self, rows: NDArray[Any]) -> Rows:
        """Only these rows (positions or a mask)."""
        return replace(self, matrix=self.matrix[rows], outcomes=self.outcomes[rows], clusters=self.clusters[rows])


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted LightGBM booster, every parameter of its estimator, and the column it starts from."""

    booster: Any
    params: dict[str, Any]
    start: int | None

    def model_bytes(self, *, rounds: int | None = None) -> bytes:
        """The model's text, of the first `rounds` only where that is given."""
        return bytes(self.booster.model_to_string(num_iteration=rounds).encode())

    def scores(self, matrix: FloatArray, *, rounds: int | None = None) -> FloatArray:
        """Scores (n,) as the service computes them from the text."""
        text = self.model_bytes(rounds=rounds)
        native = NativeBooster(text, expected_sha256=hashlib.sha256(text).hexdigest(), start=self.start)
        return native.predict(matrix)


def fit(model: Model, rows: Rows, *, rounds: int | None = None) -> Fitted:
    """Fit the declared estimator, with `rounds` instead of its own number where that is given.

    Raises:
        LearnError: the start is no probability in some row; the estimator refuses its parameters or rows.
    """
    module, _, class_name = model.estimator.rpartition(".")
    changed = {} if rounds is None else {"n_estimators": rounds}
    started = {} if rows.start is None else {"init_score": log_odds(_probabilities(rows, rows.start))}
    try:
        estimator_class = getattr(importlib.import_module(module), class_name)
        estimator = estimator_class(**{"random_state": model.seed, **model.params, **changed})
        frame = pd.DataFrame(rows.matrix, columns=list(rows.features))
        estimator.fit(frame, rows.outcomes.astype(np.int64), **started)
    except Exception as error:  # an estimator may raise anything
        raise LearnError(f"{model.estimator} cannot be fitted: {type(error).__name__}: {error}") from error
    params = {name: value for name, value in estimator.get_params().items() if value is not None}
    return Fitted(estimator.booster_, params, rows.start)


def _probabilities(rows: Rows, start: int) -> FloatArray:
    """The start's column; log-odds would hide a value outside [0, 1] by holding it inside."""
    column = rows.matrix[:, start]
    wrong = column[~((column >= 0) & (column <= 1))]
    if wrong.size:
        raise LearnError(
            f"start_from {rows.features[start]!r} is {wrong[0]:g} in {wrong.size} rows; trees start from values "
            "between 0 and 1: mend the feature's SQL or function"
        )
    return column
