"""Comparing two forecasters on the same cases: is the challenger better, and may we look again tomorrow?

Belongs here: paired score differences, the fixed-sample test of their mean and the joint read-out with
reasons.
Does not belong here: the sequences themselves (`confidence_sequence.py`), resampling (`bootstrap.py`), and
the gates that turn a comparison into a promotion (`promote/`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import FloatArray, as_finite, as_outcomes, as_probabilities, same_length
from forecastle.measure.bootstrap import Interval, mean_interval
from forecastle.measure.confidence_sequence import ConfidenceSequence, confidence_sequence

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Score = Literal["brier", "log"]
Kernel = Literal["bartlett", "rectangular"]
Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True, slots=True, eq=False)
class ScoreDifferences:
    """score(champion) − score(challenger) of each case, above 0 where the challenger is better.

    `width` bounds them a priori: all lie in [-width/2, width/2]. `SequenceState` goes on
    one by one.
    """

    values: FloatArray
    width: float


@dataclass(frozen=True, slots=True)
class MeanTest:
    """Test that a mean is 0 on a sample of fixed size; `p_value` is two-sided, [`low`, `high`] at `level`."""

    mean: float
    standard_error: float
    statistic: float
    p_value: float
    low: float
    high: float
    level: float
    n: int
    method: str


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Challenger against champion on `n` cases; every number is about the mean score difference.

    `low` and `high` hold at every look (confidence sequence), `test` and `bootstrap` only at a sample size
    fixed beforehand. `e_better` and `e_worse` are e-values for "the challenger is better" and "worse". The
    verdict is the confidence sequence's.
    """

    score: str
    n: int
    mean: float
    low: float
    high: float
    level: float
    e_better: float
    e_worse: float
    test: MeanTest
    bootstrap: Interval
    verdict: Verdict
    reasons: tuple[str, ...]


def score_differences(
    outcomes: ArrayLike,
    champion: ArrayLike,
    challenger: ArrayLike,
    *,
    score: Score = "brier",
    limits: tuple[float, float] = (0.0, 1.0),
) -> ScoreDifferences:
    """Paired score differences of two forecasters: 1-d outcomes (0 or 1) and probabilities of the same cases.

    `limits` is the range that both keep by contract; a narrower one tightens every bound that follows. The
    log score is unbounded on [0, 1] and needs limits inside it.

    Raises:
        MeasureError: unclean input, a probability outside the limits, or limits that bound no score.
    """
    y, p, q = as_outcomes(outcomes), as_probabilities(champion), as_probabilities(challenger)
    same_length(outcomes=y, champion=p, challenger=q)
    low, high = _checked_limits(limits, score)
    least, most = min(p.min(), q.min()), max(p.max(), q.max())
    if least < low or most > high:
        raise MeasureError(
            f"probabilities must keep the limits {limits}, got {least:g} to {most:g}: "
            "clip both by contract, or widen the limits"
        )
    # Distance from the outcome: 0 is a perfect forecast.
    d_champion, d_challenger = np.abs(y - p), np.abs(y - q)
    ends = np.array([low, high]), np.array([1 - low, 1 - high])
    if score == "log":
        values = np.log1p(-d_challenger) - np.log1p(-d_champion)
        reach = max(abs(float(np.diff(np.log(end))[0])) for end in ends)
    else:
        values = d_champion**2 - d_challenger**2
        reach = max(abs(float(np.diff(end**2)[0])) for end in ends)
    return ScoreDifferences(values, 2 * reach)


def paired_test(
    differences: ArrayLike, *, horizon: int = 1, kernel: Kernel = "bartlett", level: float = 0.95
) -> MeanTest:
    """Test that paired differences, in time order, have mean 0; horizon 1 is the paired t test.

    Diebold & Mariano 1995 with autocovariances up to `horizon` − 1 (outcomes known that many steps later) and
    the small-sample correction of Harvey, Leybourne & Newbold 1997; t with n − 1 degrees of freedom. The
    rectangular kernel can give a variance below 0: then Bartlett's is used and `method` says so. Differences
    that never vary have statistic 0 (all 0) or infinity.

    Raises:
        MeasureError: unclean input, fewer than two differences, or a horizon not in 1 … n − 1.
    """
    d = as_finite(differences, name="differences")
    n = d.size
    if n < 2 or not 1 <= horizon < n:
        raise MeasureError(f"horizon must lie between 1 and n - 1, got {horizon} with n = {n}: collect more cases")
    if kernel not in ("bartlett", "rectangular") or not 0 < level < 1:
        raise MeasureError(f"kernel is 'bartlett' or 'rectangular', level in (0, 1); got {kernel!r}, {level}")
    mean = float(d.mean())
    variance = _long_run_variance(d - mean, horizon, kernel)
    if variance < 0:
        kernel = "bartlett"
        variance = _long_run_variance(d - mean, horizon, kernel)
    correction = math.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    error = math.sqrt(variance / n) / correction
    statistic = mean / error if error > 0 else math.copysign(math.inf, mean) if mean else 0.0
    half = float(special.stdtrit(n - 1, 0.5 + level / 2)) * error
    method = "paired t" if horizon == 1 else f"Diebold-Mariano, {kernel}, horizon {horizon}"
    p_value = 2 * float(special.stdtr(n - 1, -abs(statistic)))
    return MeanTest(mean, error, statistic, p_value, mean - half, mean + half, level, n, method)


def compare_forecasts(
    outcomes: ArrayLike,
    champion: ArrayLike,
    challenger: ArrayLike,
    *,
    score: Score = "brier",
    limits: tuple[float, float] = (0.0, 1.0),
    clusters: ArrayLike | None = None,
    horizon: int = 1,
    level: float = 0.95,
    v_opt: float = 100.0,
    seed: int,
) -> PairedComparison:
    """Everything known about challenger against champion, cases in the order in which their outcomes arrived.

    An outcome is known `horizon` cases after its forecast (1: before the next): the test allows for it and
    the sequence is interleaved. `clusters` (day, game) are resampled whole in the bootstrap.

    Raises:
        MeasureError: as `score_differences` and `paired_test`.
    """
    d = score_differences(outcomes, champion, challenger, score=score, limits=limits)
    test = paired_test(d.values, horizon=horizon, level=level)
    sequence = confidence_sequence(d.values, width=d.width, level=level, v_opt=v_opt, horizon=horizon)
    bounds, e_values = _last(sequence)
    bootstrap = mean_interval(d.values, clusters=clusters, level=level, seed=seed)
    return PairedComparison(
        score=score,
        n=test.n,
        mean=test.mean,
        low=bounds[0],
        high=bounds[1],
        level=level,
        e_better=e_values[0],
        e_worse=e_values[1],
        test=test,
        bootstrap=bootstrap,
        verdict=_verdict(bounds),
        reasons=_reasons(score, test, bounds, e_values, bootstrap),
    )


def _checked_limits(limits: tuple[float, float], score: Score) -> tuple[float, float]:
    if score not in ("brier", "log"):
        raise MeasureError(f"score must be 'brier' or 'log', got {score!r}")
    low, high = limits
    if not 0.0 <= low < high <= 1.0 or (score == "log" and not 0.0 < low < high < 1.0):
        raise MeasureError(
            f"limits must be increasing within [0, 1], and inside (0, 1) for the log score, got {limits}: "
            "clip both forecasters by contract, to (0.001, 0.999) say"
        )
    return low, high


def _reasons(
    score: Score, test: MeanTest, bounds: tuple[float, float], e_values: list[float], bootstrap: Interval
) -> tuple[str, ...]:
    (low, high), (e_better, e_worse) = bounds, e_values
    return (
        f"mean {score} difference {test.mean:+.6f} over {test.n} cases (positive: challenger better)",
        f"anytime-valid {test.level:.0%} bounds [{low:+.6f}, {high:+.6f}]: {_verdict(bounds)}",
        f"e-value {e_better:.4g} for better, {e_worse:.4g} for worse; {1 / (1 - test.level):.0f} is evidence",
        f"{test.method}: p {test.p_value:.4g}; bootstrap [{bootstrap.low:+.6f}, {bootstrap.high:+.6f}]",
    )


def _last(sequence: ConfidenceSequence) -> tuple[tuple[float, float], list[float]]:
    log_e = sequence.log_e_positive[-1], sequence.log_e_negative[-1]
    # Beyond e^700 the evidence is the same and a float has no room.
    return (float(sequence.low[-1]), float(sequence.high[-1])), np.exp(np.minimum(log_e, 700.0)).tolist()


def _verdict(bounds: tuple[float, float]) -> Verdict:
    return "better" if bounds[0] > 0 else "worse" if bounds[1] < 0 else "undecided"


def _long_run_variance(centred: FloatArray, horizon: int, kernel: Kernel) -> float:
    lags = np.arange(1, horizon)
    covariances = np.array([centred[:-lag] @ centred[lag:] for lag in lags]) / centred.size
    weights = 1 - lags / horizon if kernel == "bartlett" else np.ones(lags.size)
    return float(centred @ centred / centred.size + 2 * np.sum(weights * covariances))
