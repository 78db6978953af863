"""Cross-fitting: scores of training rows by models that saw no row of their clusters, and how many rounds they favour.

Belongs here: folds of whole clusters, held-out scores at each number of rounds, the choice among those.
Does not belong here: one fit (`fit.py`), calibrators fitted on the scores, the final model (`train.py`).
Hastie, Tibshirani & Friedman 2009, The Elements of Statistical Learning, section 7.10.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from forecastle.contract.errors import LearnError, MeasureError
from forecastle.contract.system import Model
from forecastle.learn.fit import Code, FloatArray, Rows, class_weights, fit, unweighted
from forecastle.measure.arrays import as_codes
from forecastle.measure.calibrators import inside
from forecastle.measure.intervals import clustered_mean
from forecastle.measure.scores import log_loss, log_scores

IntArray = NDArray[np.int64]

# A finer grid would choose among losses that differ by less than their noise.
GRID: Final = 20


@dataclass(frozen=True, slots=True)
class RoundsScore:
    """Log loss (nats a row) of held-out rows at one number of rounds; None for an estimator that has no rounds.

    `excess` is what it is above the lowest, `excess_se` that difference's standard error over clusters.
    """

    rounds: int | None
    log_loss: float
    excess: float
    excess_se: float


@dataclass(frozen=True, slots=True)
class RoundsChoice:
    """How many rounds the final model is given, every number that was scored, fewest first, and the reasons.

    `rounds` is None for an estimator that has none.
    """

    rounds: int | None
    table: tuple[RoundsScore, ...]
    reasons: tuple[str, ...]

    @property
    def log_loss(self) -> float:
        """Held-out log loss at the chosen number."""
        return next(row.log_loss for row in self.table if row.rounds == self.rounds)


def cross_fit(model: Model, rows: Rows, *, folds: int, code: Code | None = None) -> tuple[RoundsChoice, FloatArray]:
    """The number of rounds, and each training row's score (n,) at it by a model fitted on the other folds.

    Where rounds are cross-validated, the fewest within one standard error of the lowest log loss on held-out rows are
    taken, as `choose_calibrator` takes the fewest parameters (Breiman et al. 1984, section 3.4.3): which of the numbers
    near the lowest is lowest changes with the folds, and a tree too few costs less than trees of noise.

    Raises:
        LearnError: there are fewer clusters than folds, the rows outside a fold have one outcome, or a fit fails.
    """
    fold = cluster_folds(rows.clusters, folds=folds, seed=model.seed)
    scores: dict[int | None, FloatArray] = {}
    for number in range(folds):
        held_out = fold == number
        seen = rows.take(~held_out)
        _require_both(seen.outcomes, number, folds)
        fitted = fit(model, seen, code=code)
        for count in tried_rounds(model, most=fitted.rounds):
            part = fitted.scores(rows.matrix[held_out], rounds=count)
            scores.setdefault(count, np.empty(len(fold)))[held_out] = part
    table = _scored(model, rows, scores)
    chosen = next(row for row in table if row.excess <= row.excess_se)
    return RoundsChoice(chosen.rounds, table, _reasons(model, rows, chosen, table, folds=folds)), scores[chosen.rounds]


def cluster_folds(clusters: NDArray[Any], *, folds: int, seed: int) -> IntArray:
    """The fold (n,), 0 to `folds` - 1, of each row: whole clusters, as many rows in each as clusters allow.

    Clusters in seeded order, the largest first, each into the fold of fewest rows (Graham 1969, Bounds on
    multiprocessing timing anomalies, https://doi.org/10.1137/0117039). The order of rows changes no fold.

    Raises:
        LearnError: there are fewer clusters than folds, or a row has none.
    """
    try:
        codes, labels = as_codes(clusters, name="cluster")
    except MeasureError as error:
        raise LearnError(f"training rows cannot be put into folds: {error}") from error
    if len(labels) < folds:
        raise LearnError(
            f"the training rows are of {len(labels)} clusters, which cannot fill {folds} folds: bring rows of more "
            "clusters, lower evaluate.split.folds, or name another evaluate.cluster"
        )
    sizes = np.bincount(codes)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    fold_of = np.empty(len(sizes), dtype=np.int64)
    filled = [(0, number) for number in range(folds)]
    for cluster in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        rows, number = filled[0]
        fold_of[cluster] = number
        heapq.heapreplace(filled, (rows + int(sizes[cluster]), number))
    return np.asarray(fold_of[codes])


def tried_rounds(model: Model, *, most: int | None) -> tuple[int | None, ...]:
    """Numbers of rounds that are scored: `most`, or up to twenty evenly spaced ones that end in it."""
    if most is None or model.rounds == "declared":
        return (most,)
    return tuple(sorted({-(-most * step // GRID) for step in range(1, GRID + 1)}))


def _scored(model: Model, rows: Rows, scores: dict[int | None, FloatArray]) -> tuple[RoundsScore, ...]:
    """Every number of rounds, fewest first, compared with the one of lowest log loss row by row."""
    weights = class_weights(model, rows.outcomes)
    losses = {count: log_scores(rows.outcomes, inside(unweighted(score, weights))) for count, score in scores.items()}
    lowest = min(losses.values(), key=lambda loss: float(loss.mean()))
    found = []
    for count, loss in losses.items():
        excess, error = clustered_mean(loss - lowest, rows.clusters)
        found.append(RoundsScore(count, float(loss.mean()), excess, error))
    return tuple(found)


def _require_both(outcomes: FloatArray, number: int, folds: int) -> None:
    if outcomes.min() == outcomes.max():
        raise LearnError(
            f"without fold {number + 1} of {folds} the training rows have only outcome {outcomes[0]:g}: too few "
            "clusters have the other one; bring a longer history"
        )


def _reasons(
    model: Model, rows: Rows, chosen: RoundsScore, table: tuple[RoundsScore, ...], *, folds: int
) -> tuple[str, ...]:
    where = f"on {folds} held-out folds of {len(rows.outcomes)} rows"
    best = min(table, key=lambda row: row.log_loss)
    if chosen.rounds is None:
        reasons = [f"{model.estimator} has no rounds; its log loss {where} is {chosen.log_loss:.6f}"]
    elif model.rounds == "declared":
        reasons = [f"{chosen.rounds} rounds are declared; their log loss {where} is {chosen.log_loss:.6f}"]
    else:
        lowest = f"{best.rounds} rounds have the lowest log loss, {best.log_loss:.6f}, {where}"
        reasons = [f"{lowest}, of {len(table)} numbers up to {table[-1].rounds}"]
    if chosen.rounds != best.rounds:
        reasons.append(
            f"{chosen.rounds} rounds are fewer and within one standard error of it "
            f"({chosen.excess:+.6f}, standard error {chosen.excess_se:.6f})"
        )
    if rows.start is not None:
        alone = log_loss(rows.outcomes, inside(rows.matrix[:, rows.start]))
        reasons.append(f"trees start from {rows.features[rows.start]}, whose own log loss is {alone:.6f}")
    return tuple(reasons)
