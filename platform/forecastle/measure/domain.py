"""Can a classifier tell the current rows from the training rows: drift of all features together.

Belongs here: the domain classifier, its area under the curve with evidence, the features that gave it away,
and the density ratios it implies.
Does not belong here: features one by one (`drift.py`), which tell more about a small shift of a single one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_option
from forecastle.measure.scores import auc, normal_quantile

if TYPE_CHECKING:
    from forecastle.measure.arrays import FloatArray, IntArray

IMPORTANCE_COLUMNS = ("feature", "gain_share")


@dataclass(frozen=True, slots=True, eq=False)
class DomainDrift:
    """Out-of-fold AUC of "is this row current?": 0.5 when nobody can tell.

    `z` compares it with the null of Mann and Whitney, se = sqrt((n + m + 1) / (12 n m)); `low` and `high` use
    that se too. `is_alarm` needs an AUC above 0.5 + `tolerance` and a one-sided p of at most `alpha`.
    `importances` (columns `IMPORTANCE_COLUMNS`) has the share of split gain by feature, largest first.
    """

    auc: float
    low: float
    high: float
    z: float
    p_value: float
    n_reference: int
    n_current: int
    importances: pd.DataFrame
    is_alarm: bool
    reason: str


def domain_drift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    folds: int = 2,
    trees: int = 30,
    tolerance: float = 0.05,
    alpha: float = 0.01,
    seed: int,
) -> DomainDrift:
    """Train a small LightGBM to tell rows of `current` from rows of `reference`, scored out of fold.

    Only the columns of `reference` are used, by name; text columns are categories, nulls are values. It finds
    what no single feature shows (correlations that change), and misses small shifts of one feature among
    many.

    Raises:
        MeasureError: a column of the reference is missing, or a frame has fewer than 10 rows a fold.
    """
    from scipy import special

    as_option(tolerance, name="tolerance", high=0.5)
    as_option(alpha, name="alpha")
    rows, is_current = _joined(reference, current, folds)
    scores, fold, gain = _out_of_fold(rows, is_current, folds=folds, trees=trees, seed=seed)
    # Scores of different folds come from different models and are not comparable.
    area = float(np.mean([auc(is_current[fold == k], scores[fold == k]) for k in range(folds)]))
    n, m = len(reference), len(current)
    error = float(np.sqrt((n + m + 1) / (12 * n * m)))
    z = (area - 0.5) / error
    p_value, half = float(special.ndtr(-z)), normal_quantile(0.95) * error
    total = gain.sum()
    shares = pd.DataFrame({"feature": list(rows.columns), "gain_share": gain / total if total else gain})
    shares = shares.sort_values("gain_share", ascending=False, kind="stable", ignore_index=True)
    is_alarm = area - 0.5 > tolerance and p_value <= alpha
    top = ", ".join(shares["feature"].head(3))
    reason = f"AUC {area:.3f} (z {z:.1f}), most by {top}" if is_alarm else f"AUC {area:.3f}: within tolerance"
    return DomainDrift(area, area - half, area + half, z, p_value, n, m, shares, is_alarm, reason)


def density_ratios(
    reference: pd.DataFrame, current: pd.DataFrame, *, folds: int = 2, trees: int = 30, largest: float = 50.0, seed: int
) -> FloatArray:
    """How much likelier each of the n reference rows is among the current rows: weights with mean 1, shape (n,).

    Odds of the domain classifier, out of fold, times n / m, cut at `largest` (one row must not stand for the
    rest) and scaled to mean 1 (Sugiyama, Suzuki & Kanamori 2012, section 4). Rows and columns as in
    `domain_drift`.

    Raises:
        MeasureError: as `domain_drift`, or `largest` not above 1.
    """
    if not largest > 1.0:
        raise MeasureError(f"largest: got {largest}; more than 1 is allowed; 50 keeps most of the shift")
    rows, is_current = _joined(reference, current, folds)
    log_odds, _, _ = _out_of_fold(rows, is_current, folds=folds, trees=trees, seed=seed)
    ratios = np.exp(np.minimum(log_odds[: len(reference)], 50.0)) * len(reference) / len(current)
    cut = np.minimum(ratios, largest)
    return np.asarray(cut / cut.mean(), dtype=np.float64)


def _joined(reference: pd.DataFrame, current: pd.DataFrame, folds: int) -> tuple[pd.DataFrame, FloatArray]:
    missing = [str(name) for name in reference.columns if name not in current.columns]
    if missing:
        raise MeasureError(f"current rows lack the columns {', '.join(missing)}; pass the same features")
    smallest = min(len(reference), len(current))
    if folds < 2 or smallest < 10 * folds or reference.columns.empty:
        raise MeasureError(
            f"got {smallest} rows in the smaller frame, {len(reference.columns)} columns and {folds} folds; "
            "10 rows a fold, a column and 2 folds are needed; use a longer window"
        )
    rows = pd.concat([reference, current[list(reference.columns)]], ignore_index=True)
    text = [name for name in rows.columns if not pd.api.types.is_numeric_dtype(rows[name])]
    rows = rows.astype(dict.fromkeys(text, "category"))
    is_current = np.zeros(len(rows))
    is_current[len(reference) :] = 1.0
    return rows, is_current


def _out_of_fold(
    rows: pd.DataFrame, is_current: FloatArray, *, folds: int, trees: int, seed: int
) -> tuple[FloatArray, IntArray, FloatArray]:
    import lightgbm

    rng = np.random.default_rng(seed)
    fold = np.empty(is_current.size, dtype=np.int64)
    for side in (0.0, 1.0):
        members = rng.permutation(np.flatnonzero(is_current == side))
        fold[members] = np.arange(members.size) % folds
    scores, gain = np.empty(is_current.size), np.zeros(rows.shape[1])
    for k in range(folds):
        out = fold == k
        model: Any = lightgbm.LGBMClassifier(
            n_estimators=trees, num_leaves=15, min_child_samples=20, importance_type="gain",
            random_state=seed + k, n_jobs=1, deterministic=True, force_row_wise=True, verbosity=-1,
        )  # fmt: skip
        model.fit(rows[~out], is_current[~out].astype(np.int64))
        scores[out] = model.predict_proba(rows[out], raw_score=True)
        gain += model.feature_importances_
    return scores, fold, gain
