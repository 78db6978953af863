"""How much each feature matters to a fitted model, as shares that add up to one.

Belongs here: LightGBM's and XGBoost's own gain, permutation for all others.
Does not belong here: what a feature adds to one answer (`scorer.py`), pictures (`draw/importance.py`).
Permutation: Breiman 2001, Random Forests, section 10, https://doi.org/10.1023/A:1010933404324, on the log loss.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastle.learn.fit import Fitted, Rows
from forecastle.measure.calibrators import inside
from forecastle.measure.scores import log_loss

FloatArray = NDArray[np.float64]
ROWS_MAX: Final = 1_000


def importances(fitted: Fitted, rows: Rows, *, seed: int) -> pd.DataFrame:
    """Columns feature and importance (a share), the greatest first; all zero where no feature matters.

    Args:
        fitted: the model.
        rows: its training rows.
        seed: of the permutations and of the rows they are tried on, at most `ROWS_MAX`.
    """
    each = _of_columns(fitted)
    if each is None:
        each = _permuted(fitted, rows, seed=seed)
    elif fitted.preprocess is not None:
        of_features = np.zeros(len(rows.features))
        for step, value in zip(fitted.preprocess.steps, each, strict=True):
            of_features[step.source] += value
        each = of_features
    table = pd.DataFrame({"feature": list(rows.features), "importance": each / (each.sum() or 1.0)})
    return table.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)


def _of_columns(fitted: Fitted) -> FloatArray | None:
    """What the estimator itself says of its columns; None where it says nothing of that kind."""
    estimator, name = fitted.estimator, type(fitted.estimator).__name__
    if name == "LGBMClassifier":
        return np.asarray(estimator.booster_.feature_importance(importance_type="gain"), dtype=np.float64)
    if name == "XGBClassifier":
        gain = estimator.get_booster().get_score(importance_type="total_gain")
        return np.array([gain.get(f"f{column}", 0.0) for column in range(estimator.n_features_in_)], dtype=np.float64)
    return None


def _permuted(fitted: Fitted, rows: Rows, *, seed: int) -> FloatArray:
    """What mixing a feature's values between rows costs in log loss; below zero counts as nothing."""
    random = np.random.default_rng(seed)
    picked = np.sort(random.permutation(len(rows.matrix))[:ROWS_MAX])
    matrix, outcomes, scorer = rows.matrix[picked], rows.outcomes[picked], fitted.scorer()
    before = log_loss(outcomes, inside(scorer.scores(matrix)))
    found = np.zeros(matrix.shape[1])
    for column in range(matrix.shape[1]):
        mixed = matrix.copy()
        mixed[:, column] = random.permutation(mixed[:, column])
        found[column] = max(0.0, log_loss(outcomes, inside(scorer.scores(mixed))) - before)
    return found
