"""Is a strategy's backtest better than the luck of having tried many?

Belongs here: the probabilistic and the deflated Sharpe ratio, and the probability of backtest overfitting.
Does not belong here: profit curves, stakes and odds (`market.py`); counting the trials (the registry knows
them). Returns and Sharpe ratios are per period (bet, day), never annualised; so are the variances of Sharpe
ratios.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import FloatArray, as_finite, as_numbers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

EULER_GAMMA = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class SharpeTest:
    """A strategy's Sharpe ratio per period against a benchmark one.

    `probability` is that of a true ratio above the `benchmark`, given `n` periods and their skewness and
    kurtosis (3 for normal returns). A deflated test has the ratio that the best of `trials` useless
    strategies reaches as its benchmark.
    """

    sharpe: float
    benchmark: float
    probability: float
    n: int
    skewness: float
    kurtosis: float
    trials: int


@dataclass(frozen=True, slots=True, eq=False)
class Overfitting:
    """Combinatorially symmetric cross-validation over all ways to halve the history.

    `probability` is the share of splits in which the strategy that was best in one half ranks in the lower
    half of the other. One entry a split: `logits` of its relative rank, `in_sample` and `out_of_sample`
    Sharpe ratios.
    """

    probability: float
    loss_probability: float
    logits: FloatArray
    in_sample: FloatArray
    out_of_sample: FloatArray
    strategies: int
    reasons: tuple[str, ...]


def sharpe_test(returns: ArrayLike, *, benchmark: float = 0.0) -> SharpeTest:
    """Probabilistic Sharpe ratio of the returns of n periods (1-d).

    Bailey & Lopez de Prado 2012, Journal of Risk 15(2).

    Raises:
        MeasureError: unclean input, fewer than three periods, or returns that never vary.
    """
    sharpe, skewness, kurtosis, n = _moments(returns)
    probability = probabilistic_sharpe(sharpe, n, benchmark=benchmark, skewness=skewness, kurtosis=kurtosis)
    return SharpeTest(sharpe, benchmark, probability, n, skewness, kurtosis, trials=1)


def deflated_sharpe_test(returns: ArrayLike, trial_sharpes: ArrayLike) -> SharpeTest:
    """Deflated Sharpe ratio: the returns of the chosen strategy against the best of all trials by luck.

    `trial_sharpes` holds the ratio per period of every strategy that was tried, the chosen one included.
    Bailey & Lopez de Prado 2014, Journal of Portfolio Management 40(5).

    Raises:
        MeasureError: as `sharpe_test`, or fewer than two trials.
    """
    trials = as_finite(trial_sharpes, name="trial_sharpes")
    if trials.size < 2:
        raise MeasureError(f"deflation needs at least 2 trials, got {trials.size}: use sharpe_test for a single one")
    benchmark = expected_best_sharpe(trials.size, variance=float(trials.var(ddof=1)))
    sharpe, skewness, kurtosis, n = _moments(returns)
    probability = probabilistic_sharpe(sharpe, n, benchmark=benchmark, skewness=skewness, kurtosis=kurtosis)
    return SharpeTest(sharpe, benchmark, probability, n, skewness, kurtosis, trials=trials.size)


def probabilistic_sharpe(
    sharpe: float, n: int, *, benchmark: float = 0.0, skewness: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Φ((SR − SR*) √(n − 1) / √(1 − skewness·SR + (kurtosis − 1)/4·SR²)), all per period.

    Raises:
        MeasureError: fewer than two periods, or moments that no returns have.
    """
    variance = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if not n >= 2 or not variance > 0 or not math.isfinite(benchmark):
        raise MeasureError(
            f"a Sharpe ratio needs at least 2 periods and possible moments, got n {n}, "
            f"benchmark {benchmark}, skewness {skewness}, kurtosis {kurtosis}: "
            "kurtosis is at least 1 + skewness² (3 for normal returns)"
        )
    return float(special.ndtr((sharpe - benchmark) * math.sqrt(n - 1) / math.sqrt(variance)))


def expected_best_sharpe(trials: int, *, variance: float) -> float:
    """Sharpe ratio that the best of `trials` strategies without skill is expected to show.

    √V·[(1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))] with V the `variance` of the trials' ratios (Bailey & Lopez
    de Prado 2014, equation 1). One trial: 0.

    Raises:
        MeasureError: no trials or a negative variance.
    """
    if not trials >= 1 or not 0 <= variance < math.inf:
        raise MeasureError(f"trials must be at least 1 and variance at least 0, got {trials} and {variance}")
    if trials == 1:
        return 0.0
    # ndtri(1 − x) = −ndtri(x), which keeps its digits for many trials.
    best = -(1 - EULER_GAMMA) * special.ndtri(1 / trials) - EULER_GAMMA * special.ndtri(1 / (trials * math.e))
    return float(math.sqrt(variance) * best)


def overfitting_probability(returns: ArrayLike, *, blocks: int = 16) -> Overfitting:
    """Probability of backtest overfitting of a table of returns (periods, strategies), periods in time order.

    The history is cut into `blocks` (an even number) of equal length, the oldest periods that do not fit are
    left out, and every half of the blocks is played against the other half: 12,870 ways for 16 blocks.
    Bailey, Borwein, Lopez de Prado & Zhu 2017, Journal of Computational Finance 20(4). A strategy that never
    varies has ratio 0.

    Raises:
        MeasureError: no finite table of two or more strategies, or blocks odd in number or too short.
    """
    table = as_numbers(returns, name="returns")
    if table.ndim != 2 or table.shape[1] < 2:
        raise MeasureError(f"returns must be a table (periods, at least 2 strategies), got shape {table.shape}")
    if blocks % 2 or not 2 <= blocks <= 20 or table.shape[0] < 2 * blocks:
        raise MeasureError(
            f"blocks must be even, at most 20, with 2 periods each, got {blocks} for {table.shape[0]} periods"
        )
    inside, outside = _split_sharpes(table, blocks)
    splits, strategies = inside.shape
    rows, best = np.arange(splits), inside.argmax(axis=1)
    picked = outside[rows, best]
    ties = (outside == picked[:, None]).sum(axis=1) - 1
    rank = ((outside < picked[:, None]).sum(axis=1) + ties / 2 + 1) / (strategies + 1)
    logits = np.log(rank / (1 - rank))
    probability, loss = float(np.mean(logits <= 0)), float(np.mean(picked < 0))
    reasons = (
        f"best of {strategies} in sample, lower half out of sample: {probability:.1%} of {splits} splits",
        f"best in sample, a loss out of sample: {loss:.1%}",
    )
    return Overfitting(probability, loss, logits, inside[rows, best], picked, strategies, reasons)


def _split_sharpes(table: FloatArray, blocks: int) -> tuple[FloatArray, FloatArray]:
    """Sharpe ratios (splits, strategies) in the chosen half of the blocks and in the other."""
    length = table.shape[0] // blocks
    cut = table[-length * blocks :].reshape(blocks, length, -1)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    half = np.zeros((len(chosen), blocks))
    half[np.arange(len(chosen))[:, None], chosen] = 1.0
    n = length * blocks // 2
    other = 1 - half
    return _sharpe_of_sums(half @ sums, half @ squares, n), _sharpe_of_sums(other @ sums, other @ squares, n)


def _moments(returns: ArrayLike) -> tuple[float, float, float, int]:
    """Sharpe ratio, skewness, kurtosis and number of periods."""
    x = as_finite(returns, name="returns")
    if x.size < 3 or np.ptp(x) == 0:
        raise MeasureError(f"a Sharpe ratio needs at least 3 periods that vary, got {x.size}")
    centred = x - x.mean()
    spread = float(np.sqrt(np.mean(centred**2)))
    skewness, kurtosis = (float(np.mean((centred / spread) ** power)) for power in (3, 4))
    return float(x.mean() / x.std(ddof=1)), skewness, kurtosis, x.size


def _sharpe_of_sums(sums: FloatArray, squares: FloatArray, n: int) -> FloatArray:
    mean = sums / n
    variance = (squares - n * mean**2) / (n - 1)
    varies = variance > 1e-12 * squares / n
    return np.divide(mean, np.sqrt(np.where(varies, variance, 1.0)), out=np.zeros_like(mean), where=varies)
