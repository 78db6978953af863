"""Proper scores and the area under the ROC curve, with the intervals and tests that have closed forms.

Belongs here: Brier score, log loss, skill, elementary scores, AUC by mid-ranks with DeLong variance and
paired test.
Does not belong here: their decomposition (`decomposition`), resampled intervals (`bootstrap`), comparison in
time (`comparison`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from scipy.special import ndtr, ndtri, xlog1py, xlogy

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import (
    FloatArray,
    IntArray,
    as_codes,
    as_finite,
    as_outcomes,
    as_probabilities,
    as_weights,
    same_length,
)
from forecastle.measure.isotonic import Cells, need_unweighted, pool_scores

if TYPE_CHECKING:
    from collections.abc import Callable

Rule: TypeAlias = Literal["brier", "log_loss"]


@dataclass(frozen=True, slots=True)
class AucInterval:
    """AUC with its DeLong variance and a normal interval at `level`, cut to [0, 1].

    `clusters` is how many units the variance rests on, None where rows count one by one.
    """

    auc: float
    variance: float
    low: float
    high: float
    level: float
    positives: int
    negatives: int
    clusters: int | None = None


@dataclass(frozen=True, slots=True)
class AucComparison:
    """Paired DeLong test of `auc` against `other_auc`; `difference` is auc - other_auc with its interval."""

    auc: float
    other_auc: float
    difference: float
    standard_error: float
    low: float
    high: float
    level: float
    z: float
    p_value: float


def brier_scores(outcomes: Any, probabilities: Any) -> FloatArray:
    """Squared errors (y - p)² of n rows (Brier 1950)."""
    y, p = _pair(outcomes, probabilities)
    return (p - y) ** 2


def log_scores(outcomes: Any, probabilities: Any) -> FloatArray:
    """Negative log likelihoods of n rows in nats; infinite where a certain forecast was wrong (Good 1952)."""
    y, p = _pair(outcomes, probabilities)
    scores: FloatArray = -(xlogy(y, p) + xlog1py(1.0 - y, -p)) + 0.0  # + 0.0 turns -0.0 into 0.0
    return scores


def brier_score(outcomes: Any, probabilities: Any, *, weights: Any | None = None) -> float:
    """Weighted mean of `brier_scores`.

    Raises:
        MeasureError: empty, missing, mismatched input, outcomes other than 0/1, probabilities outside [0, 1].
    """
    return _mean(brier_scores(outcomes, probabilities), weights)


def log_loss(outcomes: Any, probabilities: Any, *, weights: Any | None = None) -> float:
    """Weighted mean of `log_scores`; infinite, never clipped, when a certain forecast was wrong.

    Raises:
        MeasureError: as `brier_score`.
    """
    return _mean(log_scores(outcomes, probabilities), weights)


def skill(score: float, reference: float) -> float | None:
    """Share of the reference's score that is removed, (reference - score) / reference; None when reference is
    0.

    Both are negatively oriented (smaller is better); 1 is perfect, 0 as good as the reference, negative is
    worse, -infinity an infinite score.

    Raises:
        MeasureError: a missing score, or a reference that is not finite.
    """
    if not (np.isfinite(reference) and score > -np.inf):
        raise MeasureError(
            f"skill: got score {score} against reference {reference}; a score and a finite reference are "
            "needed; compare with the base rate, which always has one"
        )
    return (reference - score) / reference if reference > 0.0 else None


def elementary_scores(outcomes: Any, probabilities: Any, thresholds: Any, *, weights: Any | None = None) -> FloatArray:
    """Mean elementary score 2|t - y| 1{min(p, y) <= t < max(p, y)} at each of T thresholds t.

    Their integral over t in [0, 1] is the Brier score (Ehm, Gneiting, Jordan and Krüger 2016, JRSS B 78,
    505).

    Raises:
        MeasureError: as `brier_score`, or thresholds outside [0, 1].
    """
    return elementary_scores_of(pool_scores(*_pair(outcomes, probabilities), weights=weights), thresholds)


def elementary_scores_of(cells: Cells, thresholds: Any) -> FloatArray:
    """`elementary_scores` of pooled cells."""
    t = as_probabilities(thresholds, name="threshold")
    at_or_below = np.searchsorted(cells.probabilities, t, side="right")
    events = np.concatenate([[0.0], np.cumsum(cells.events)])
    others = np.concatenate([[0.0], np.cumsum(cells.weights - cells.events)])
    missed = 2.0 * (1.0 - t) * events[at_or_below]
    false_alarms = 2.0 * t * (others[-1] - others[at_or_below])
    mean_scores: FloatArray = (missed + false_alarms) / cells.total
    return mean_scores


def auc(outcomes: Any, scores: Any, *, weights: Any | None = None) -> float:
    """P(score of a positive > score of a negative) + half of P(equal), by mid-ranks; any finite scores.

    Raises:
        MeasureError: empty, missing, mismatched input, or outcomes of one class only.
    """
    cells = pool_scores(outcomes, scores, weights=weights)
    positives, negatives = _class_totals(cells)
    return float(cells.events @ _negatives_below(cells)) / (positives * negatives)


def auc_interval(
    outcomes: Any, scores: Any, *, clusters: Any | None = None, order: Any | None = None, level: float = 0.95
) -> AucInterval:
    """AUC of n scores with DeLong variance and normal interval; at AUC 0 or 1 the interval has no width.

    `clusters` (n labels of what settles together: a day, an entity) widens it as Obuchowski 1997, Biometrics
    53, 567: placements are summed in each cluster, and clusters that hold both outcomes add their covariance;
    with one row a cluster it is DeLong's. `order` is the argsort of the scores, when already known.
    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, 837.

    Raises:
        MeasureError: as `auc`, fewer than two rows of a class, or fewer than two clusters with each class.
    """
    if clusters is None:
        return auc_interval_of(pool_scores(outcomes, scores), level=level)
    y, s = as_outcomes(outcomes), as_finite(scores, name="score")
    codes, labels = as_codes(clusters, name="cluster")
    same_length(outcome=y, score=s, cluster=codes)
    _need_both_classes(int(y.sum()), int(y.size - y.sum()), minimum=2)
    area, variance = _clustered_area(y, s, codes, np.argsort(s) if order is None else order)
    half = normal_quantile(level) * variance**0.5
    low, high = max(0.0, area - half), min(1.0, area + half)
    return AucInterval(area, variance, low, high, level, int(y.sum()), int(y.size - y.sum()), len(labels))


def auc_interval_of(cells: Cells, *, level: float = 0.95) -> AucInterval:
    """`auc_interval` of pooled, unweighted cells."""
    need_unweighted(cells, what="AUC interval")
    positives, negatives = _class_totals(cells, minimum=2)
    non_events = cells.weights - cells.events
    placed_positive = _negatives_below(cells) / negatives
    placed_negative = (positives - np.cumsum(cells.events) + 0.5 * cells.events) / positives
    area = float(cells.events @ placed_positive) / positives
    variance = float(cells.events @ (placed_positive - area) ** 2) / (positives * (positives - 1.0))
    variance += float(non_events @ (placed_negative - area) ** 2) / (negatives * (negatives - 1.0))
    half = normal_quantile(level) * variance**0.5
    low, high = max(0.0, area - half), min(1.0, area + half)
    return AucInterval(area, variance, low, high, level, int(positives), int(negatives))


def compare_auc(outcomes: Any, scores: Any, other_scores: Any, *, level: float = 0.95) -> AucComparison:
    """Two-sided test that two scores of the same n rows have one AUC (DeLong 1988).

    When the difference has no variance, z is 0 for equal areas (p 1) and infinite otherwise (p 0).

    Raises:
        MeasureError: as `auc_interval`, for either score.
    """
    y = as_outcomes(outcomes)
    first, second = as_finite(scores, name="score"), as_finite(other_scores, name="other score")
    same_length(outcome=y, score=first, other_score=second)
    _need_both_classes(int(y.sum()), int(y.size - y.sum()), minimum=2)
    positive_1, negative_1 = _placements(y == 1.0, first)
    positive_2, negative_2 = _placements(y == 1.0, second)
    gap = float(positive_1.mean() - positive_2.mean())
    variance = float(np.var(positive_1 - positive_2, ddof=1)) / positive_1.size
    variance += float(np.var(negative_1 - negative_2, ddof=1)) / negative_1.size
    error = variance**0.5
    z = gap / error if error > 0.0 else float(np.sign(gap)) * np.inf if gap else 0.0
    half = normal_quantile(level) * error
    return AucComparison(
        auc=float(positive_1.mean()),
        other_auc=float(positive_2.mean()),
        difference=gap,
        standard_error=error,
        low=gap - half,
        high=gap + half,
        level=level,
        z=z,
        p_value=2.0 * float(ndtr(-abs(z))),
    )


def normal_quantile(level: float) -> float:
    """The z with P(|Z| <= z) = level.

    Raises:
        MeasureError: a level outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise MeasureError(f"level: got {level:g}; allowed is a number between 0 and 1; 0.95 is usual")
    return float(ndtri(0.5 + 0.5 * level))


def _mean_brier(forecast: FloatArray, weights: FloatArray, events: FloatArray) -> float:
    squares = (weights - events) * forecast**2 + events * (1.0 - forecast) ** 2
    return float(squares.sum() / weights.sum())


def _mean_log_loss(forecast: FloatArray, weights: FloatArray, events: FloatArray) -> float:
    likelihoods = xlogy(events, forecast) + xlog1py(weights - events, -forecast)
    return float(-likelihoods.sum() / weights.sum()) + 0.0


MEAN_SCORE: dict[Rule, Callable[[FloatArray, FloatArray, FloatArray], float]] = {
    "brier": _mean_brier,
    "log_loss": _mean_log_loss,
}


def _pair(outcomes: Any, probabilities: Any) -> tuple[FloatArray, FloatArray]:
    y, p = as_outcomes(outcomes), as_probabilities(probabilities)
    same_length(outcome=y, probability=p)
    return y, p


def _mean(scores: FloatArray, weights: Any | None) -> float:
    if weights is None:
        return float(scores.mean())
    w = as_weights(weights, n=scores.size)
    counted = w > 0.0  # 0 × infinity is not a number, and a row of no weight must not make the mean one
    return float(w[counted] @ scores[counted] / w.sum())


def _class_totals(cells: Cells, *, minimum: int = 1) -> tuple[float, float]:
    positives = float(cells.events.sum())
    negatives = float((cells.weights - cells.events).sum())
    _need_both_classes(positives, negatives, minimum=0 if cells.is_weighted else minimum)
    return positives, negatives


def _need_both_classes(positives: float, negatives: float, *, minimum: int) -> None:
    if min(positives, negatives) < minimum or not (positives > 0.0 and negatives > 0.0):
        raise MeasureError(
            f"AUC: got {positives:g} positive and {negatives:g} negative outcomes; "
            f"at least {max(minimum, 1)} of each are needed; "
            "widen the window, or leave AUC out where one class is absent"
        )


def _negatives_below(cells: Cells) -> FloatArray:
    non_events = cells.weights - cells.events
    return np.cumsum(non_events) - 0.5 * non_events


def _clustered_area(y: FloatArray, scores: FloatArray, codes: IntArray, order: Any) -> tuple[float, float]:
    """AUC and Obuchowski's variance, `order` being the argsort of the scores."""
    y, codes = y[order], codes[order]
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    sizes = np.diff(starts, append=y.size)
    positive, negative = np.add.reduceat(y, starts), np.add.reduceat(1.0 - y, starts)
    m, n = positive.sum(), negative.sum()
    below = np.repeat(np.cumsum(negative) - 0.5 * negative, sizes) / n
    above = np.repeat(m - np.cumsum(positive) + 0.5 * positive, sizes) / m
    area = float(y @ below) / m
    first = np.bincount(codes, weights=y * (below - area))
    second = np.bincount(codes, weights=(1.0 - y) * (above - area))
    with_positive = np.count_nonzero(np.bincount(codes, weights=y))
    with_negative = np.count_nonzero(np.bincount(codes, weights=1.0 - y))
    if min(with_positive, with_negative) < 2:
        raise MeasureError(
            f"AUC: got {with_positive} clusters with and {with_negative} without events among {first.size}; at "
            "least two of each are needed; use smaller clusters or a longer window"
        )
    variance = with_positive / (with_positive - 1) * float(first @ first) / m**2
    variance += with_negative / (with_negative - 1) * float(second @ second) / n**2
    variance += 2.0 * first.size / (first.size - 1) * float(first @ second) / (m * n)
    return area, max(variance, 0.0)


def _placements(is_positive: Any, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Shares of negatives below each positive, and of positives above each negative."""
    positive, negative = scores[is_positive], scores[~is_positive]
    return _share_below(positive, negative), 1.0 - _share_below(negative, positive)


def _share_below(values: FloatArray, sample: FloatArray) -> FloatArray:
    ordered = np.sort(sample)
    below = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return 0.5 * below / ordered.size
