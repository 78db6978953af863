"""Performance before labels arrive: what calibrated probabilities say about their own scores.

Belongs here: confidence-based performance estimation (CBPE), for one batch and by chunk of time.
Does not belong here: scores with outcomes (`scores.py`), making probabilities calibrated
(`recalibration.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_codes, as_finite, as_outcomes, as_probabilities, same_length
from forecastle.measure.bootstrap import Interval

if TYPE_CHECKING:
    from forecastle.measure.arrays import FloatArray

CAVEAT = (
    "estimated from probabilities alone: right while they are calibrated, even when the mix of rows moves; "
    "blind to a changed relation between features and outcome"
)
CHUNK_COLUMNS = ("chunk", "n", "metric", "estimate", "low", "high")


@dataclass(frozen=True, slots=True)
class EstimatedPerformance:
    """What the scores of `n` calibrated predictions will be once their outcomes are known.

    Each interval holds the realised score with its level: it carries the chance in the outcomes, not an error
    of the probabilities. `auc` is None when all scores are equal or less than half an outcome of a class is
    expected. `caveat` goes into every report.
    """

    n: int
    accuracy: Interval
    brier: Interval
    log_loss: Interval
    auc: Interval | None
    caveat: str = CAVEAT


def estimate_performance(
    probabilities: Any,
    *,
    decisions: Any | None = None,
    scores: Any | None = None,
    threshold: float = 0.5,
    level: float = 0.95,
) -> EstimatedPerformance:
    """Expected accuracy, Brier score, log loss and AUC of n calibrated probabilities, without outcomes.

    `decisions` (0/1) were taken, by default p >= threshold; `scores` rank the rows, by default the
    probabilities. E[accuracy] = mean of p where decided 1, else 1 - p; E[Brier] = mean p(1-p); E[log loss] =
    mean entropy; AUC over expected positives and negatives (Bialek et al., arXiv 2407.08649). Variances: of
    the sum of independent outcomes, for the AUC by the delta method.

    Raises:
        MeasureError: empty, missing or mismatched input, probabilities outside [0, 1], decisions other than
            0/1.
    """
    p = as_probabilities(probabilities)
    decided = p >= threshold if decisions is None else as_outcomes(decisions, name="decision") == 1
    ranking = p if scores is None else as_finite(scores, name="score")
    same_length(probability=p, decision=decided, score=ranking)
    spread = p * (1 - p)
    # The logit is infinite where the outcome is certain, and there nothing varies.
    slope = np.where(spread > 0, special.logit(np.where(spread > 0, p, 0.5)), 0.0)
    return EstimatedPerformance(
        n=p.size,
        accuracy=_mean_interval(np.where(decided, p, 1 - p), spread, level),
        brier=_mean_interval(spread, spread * (1 - 2 * p) ** 2, level),
        log_loss=_mean_interval(special.entr(p) + special.entr(1 - p), spread * slope**2, level),
        auc=_auc_interval(p, ranking, level),
    )


def estimate_by_chunk(
    probabilities: Any,
    chunks: Any,
    *,
    decisions: Any | None = None,
    scores: Any | None = None,
    threshold: float = 0.5,
    level: float = 0.95,
) -> pd.DataFrame:
    """One row a chunk (day, week, …) and metric, in chunk order, columns `CHUNK_COLUMNS`.

    A chunk without an AUC has no row for it. Arguments as `estimate_performance`, `chunks` has one label a
    row.

    Raises:
        MeasureError: as `estimate_performance`, or a missing chunk label.
    """
    p = as_probabilities(probabilities)
    codes, labels = as_codes(chunks, name="chunk")
    extra = {"decisions": decisions, "scores": scores}
    arrays = {name: np.asarray(values) for name, values in extra.items() if values is not None}
    same_length(probability=p, chunk=codes, **arrays)
    order = np.argsort(codes, kind="stable")
    rows: list[tuple[Any, ...]] = []
    for label, part in zip(labels, np.split(order, np.cumsum(np.bincount(codes))[:-1]), strict=True):
        cut = {name: values[part] for name, values in arrays.items()}
        found = estimate_performance(p[part], threshold=threshold, level=level, **cut)
        rows += [(label, found.n, name, i.estimate, i.low, i.high) for name, i in _intervals(found)]
    return pd.DataFrame(rows, columns=list(CHUNK_COLUMNS))


def _intervals(found: EstimatedPerformance) -> list[tuple[str, Interval]]:
    pairs = [(field.name, getattr(found, field.name)) for field in fields(found)]
    return [(name, value) for name, value in pairs if isinstance(value, Interval)]


def _mean_interval(expected: FloatArray, variances: FloatArray, level: float) -> Interval:
    return _interval(float(expected.mean()), float(np.sqrt(variances.sum())) / expected.size, level, expected.size)


def _auc_interval(p: FloatArray, ranking: FloatArray, level: float) -> Interval | None:
    _, cell = np.unique(ranking, return_inverse=True)
    events, others = np.bincount(cell, weights=p), np.bincount(cell, weights=1 - p)
    positives, negatives = events.sum(), others.sum()
    if events.size < 2 or min(positives, negatives) < 0.5:
        return None
    negatives_below = np.cumsum(others) - others / 2
    positives_above = positives - np.cumsum(events) + events / 2
    area = float(events @ negatives_below) / (positives * negatives)
    gradient = (negatives_below - positives_above) / (positives * negatives)
    gradient += area / negatives - area / positives
    error = float(np.sqrt(np.sum(p * (1 - p) * gradient[cell] ** 2)))
    return _interval(area, error, level, p.size)


def _interval(estimate: float, error: float, level: float, n: int) -> Interval:
    if not 0 < level < 1:
        raise MeasureError(f"level must lie strictly between 0 and 1 (0.95 for 95 %), got {level}")
    half = float(special.ndtri(0.5 + level / 2)) * error
    return Interval(estimate, estimate - half, estimate + half, level, "delta", n, None)
