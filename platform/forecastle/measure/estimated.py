"""Performance before labels arrive: what calibrated probabilities say about their own scores.

Belongs here: confidence-based performance estimation (CBPE), for one batch and by chunk of time, and its
probabilistic adaptive form (PAPE) that calibrates for the current mix of rows first.
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
from forecastle.measure.arrays import as_codes, as_finite, as_option, as_outcomes, as_probabilities, same_length
from forecastle.measure.bootstrap import Interval

if TYPE_CHECKING:
    from forecastle.measure.arrays import FloatArray

CAVEAT = (
    "estimated from probabilities alone: right while they are calibrated, even when the mix of rows moves; "
    "blind to a changed relation between features and outcome"
)
SHIFTED_CAVEAT = (
    "estimated without outcomes after calibrating for the current mix of rows: right while features and outcome "
    "keep their relation and every kind of current row was met in the reference"
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
    as_option(threshold, name="threshold")
    p = as_probabilities(probabilities)
    decided = p >= threshold if decisions is None else as_outcomes(decisions, name="decision") == 1
    ranking = p if scores is None else as_finite(scores, name="score")
    same_length(probability=p, decision=decided, score=ranking)
    return _estimated(p, p, decided, ranking, level=level, caveat=CAVEAT)


def estimate_shifted_performance(
    reference_outcomes: Any,
    reference_probabilities: Any,
    density_ratios: Any,
    probabilities: Any,
    *,
    decisions: Any | None = None,
    threshold: float = 0.5,
    level: float = 0.95,
) -> EstimatedPerformance:
    """`estimate_performance` of n current probabilities after calibrating them for the current mix of rows.

    The m reference rows (held-out, with outcomes) count by their `density_ratios` (`domain.density_ratios` of
    features, never of probabilities alone) in a weighted isotonic fit, and current rows are mapped through it:
    PAPE, Białek, Kuberski, Perrakis & Bifet, arXiv 2401.08348. It sees what moved between rows of one
    probability, which CBPE cannot; both are blind to a changed relation of features and outcome. Decisions and
    ranking stay those of the probabilities served; Brier score and log loss are those of the served
    probabilities too, over the expected outcomes (infinite log loss for a served 0 or 1 that is not certain).

    Raises:
        MeasureError: empty, missing or mismatched input, negative ratios, probabilities outside [0, 1].
    """
    from forecastle.measure.isotonic import pool_ties
    from forecastle.measure.recalibration import isotonic_calibrator

    as_option(threshold, name="threshold")
    served = as_probabilities(probabilities)
    cells = pool_ties(
        reference_outcomes, reference_probabilities, weights=as_finite(density_ratios, name="density ratio")
    )
    expected = isotonic_calibrator(cells).apply(served)
    decided = served >= threshold if decisions is None else as_outcomes(decisions, name="decision") == 1
    same_length(probability=served, decision=decided)
    return _estimated(expected, served, decided, served, level=level, caveat=SHIFTED_CAVEAT)


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


def _estimated(
    p: FloatArray, served: FloatArray, decided: Any, ranking: FloatArray, *, level: float, caveat: str
) -> EstimatedPerformance:
    """Scores of `served` probabilities when outcomes are independent with probabilities `p`."""
    spread = p * (1 - p)
    brier = p * (1 - served) ** 2 + (1 - p) * served**2
    entropy = -special.xlogy(p, served) - special.xlog1py(1 - p, -served)
    # The logit is infinite where the forecast is certain; where the outcome is too, nothing varies.
    inside = (served > 0) & (served < 1)
    slope = np.where(inside, special.logit(np.where(inside, served, 0.5)), np.where(spread > 0, np.inf, 0.0))
    variances = np.where(spread > 0, spread * slope**2, 0.0)
    return EstimatedPerformance(
        n=p.size,
        accuracy=_mean_interval(np.where(decided, p, 1 - p), spread, level),
        brier=_mean_interval(brier, spread * (1 - 2 * served) ** 2, level),
        log_loss=_mean_interval(entropy, variances, level),
        auc=_auc_interval(p, ranking, level),
        caveat=caveat,
    )


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
    if not np.isfinite(estimate):  # a certain forecast that is expected to be wrong once
        return Interval(estimate, estimate, estimate, level, "delta", n, None)
    half = float(special.ndtri(0.5 + level / 2)) * error
    return Interval(estimate, estimate - half, estimate + half, level, "delta", n, None)
