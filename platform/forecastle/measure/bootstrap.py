"""Bootstrap intervals for scores, by rows, clusters or blocks of time.

Belongs here: resampling counts, weighted sums of resamples by one matrix product, and the intervals made of
them.
Does not belong here: closed-form intervals of counts (`intervals.py`), DeLong (`scores.py`), anytime-valid
sequences (`comparison.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import (
    FloatArray,
    IntArray,
    as_codes,
    as_finite,
    as_numbers,
    as_option,
    as_outcomes,
    as_probabilities,
    as_weights,
    same_length,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike

Method = Literal["percentile", "pivotal"]
SCORES = ("brier", "log_loss", "auc", "ece")
# Counts are drawn in chunks of about this many numbers: 8 MB stay near the processor's caches.
CHUNK_SIZE = 1_000_000
# Beyond this many units the intervals of sums are resampled in random groups of them.
UNITS_MAX, GROUPED_UNITS = 50_000, 5_000
# More undefined resamples than this share (an AUC without both outcomes) make an interval meaningless.
UNDEFINED_MAX_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate from `n` rows with its bootstrap interval; `clusters` is None where rows were drawn."""

    estimate: float
    low: float
    high: float
    level: float
    method: str
    n: int
    clusters: int | None


def resample_counts(
    units: int,
    *,
    resamples: int,
    seed: int | np.random.Generator,
    block_length: int = 1,
    chunk: int | None = None,
) -> Iterator[FloatArray]:
    """How often each unit occurs in each resample: arrays (chunk, units) that add up to `resamples` rows.

    `chunk` bounds how many resamples are held at once; the counts do not depend on it.

    Units are drawn with replacement (multinomial counts); with `block_length` above 1 in runs of that many
    consecutive units that wrap round at the end (circular blocks: Politis & Romano 1992), for units in time
    order.

    Raises:
        MeasureError: fewer than two units or resamples, or a block longer than half of the units.
    """
    if units < 2 or resamples < 2:
        raise MeasureError(
            f"a bootstrap needs at least 2 units and 2 resamples, got {units} and {resamples}: "
            "one cluster tells nothing about the next; use smaller clusters or more data"
        )
    if not 1 <= block_length <= max(units // 2, 1):
        raise MeasureError(f"block_length must lie between 1 and {units} units / 2, got {block_length}")
    rng = np.random.default_rng(seed)
    draws = -(-units // block_length)
    chunk = chunk or max(1, CHUNK_SIZE // units)
    for done in range(0, resamples, chunk):
        rows = min(chunk, resamples - done)
        drawn = rng.integers(0, units, (rows, draws)) + np.arange(rows)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        yield (counts if block_length == 1 else _cover(counts, block_length)).astype(np.float64)


def sums_interval(
    columns: ArrayLike,
    statistic: Callable[[FloatArray], FloatArray],
    *,
    clusters: ArrayLike | None = None,
    block_length: int = 1,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int | np.random.Generator,
    method: Method = "percentile",
) -> Interval:
    """Interval for a statistic that is a function of column sums: means, ratios, binned calibration errors.

    `columns` is (n, k); `statistic` takes (m, k) sums to m values. Clusters (one label a row) are resampled
    whole; blocks run over the rows, or over the clusters in the order of their labels (days, say). More than
    50,000 units are first put together at random into 5,000, which keeps the variance of sums and costs a
    thousandth.

    Raises:
        MeasureError: unclean input, fewer than two clusters, or a statistic that resamples leave undefined.
    """
    table = as_numbers(columns, name="columns")
    if table.ndim != 2 or table.size == 0:
        raise MeasureError(f"columns must be a table (rows, sums) with at least one row, got shape {table.shape}")
    codes = _codes(clusters, table.shape[0])
    totals = table if codes is None else _sums_by_code(table, codes)
    estimate, units = float(statistic(table.sum(axis=0)[None, :])[0]), totals.shape[0]
    rng = np.random.default_rng(seed)
    if block_length == 1 and units > UNITS_MAX:
        totals = _sums_by_code(totals, rng.permutation(units) % GROUPED_UNITS)
    replicates = np.concatenate(
        [
            statistic(counts @ totals)
            for counts in resample_counts(totals.shape[0], resamples=resamples, seed=rng, block_length=block_length)
        ]
    )
    resampled = None if codes is None else units
    return interval_of(estimate, replicates, level=level, method=method, n=table.shape[0], clusters=resampled)


def mean_interval(
    values: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    block_length: int = 1,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int | np.random.Generator,
) -> Interval:
    """Interval for the (weighted) mean of n values, such as losses or paired differences of losses.

    Cluster bootstrap: Davison & Hinkley 1997, section 3.8. Options as in `sums_interval`.

    Raises:
        MeasureError: unclean input or fewer than two clusters.
    """
    x = as_finite(values, name="values")
    w = as_weights(weights, n=x.size)
    return sums_interval(
        np.column_stack([w * x, w]),
        lambda sums: _ratio(sums[:, 0], sums[:, 1]),
        clusters=clusters,
        block_length=block_length,
        resamples=resamples,
        level=level,
        seed=seed,
    )


def score_intervals(
    outcomes: ArrayLike,
    probabilities: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    block_length: int = 1,
    bins: int = 15,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int | np.random.Generator,
) -> dict[str, Interval]:
    """Intervals of `brier`, `log_loss`, `auc` and `ece` from the same resamples.

    `ece` has `bins` equal-mass bins, ties together, that stay where the full sample put them; its plug-in
    value is biased upwards, and again in every resample, so its interval is the pivotal one (2·estimate −
    quantiles, at least 0). An infinite log loss stays infinite. Resamples without both outcomes have no AUC
    and are left out.

    Raises:
        MeasureError: unclean input, one outcome only, fewer than two clusters.
    """
    y, p, codes = _sorted_by_probability(outcomes, probabilities, clusters, block_length)
    starts = np.flatnonzero(np.diff(p, prepend=-1.0))
    table = _score_table(y, p, starts, bins=bins)
    totals = table if codes is None else _sums_by_code(table, codes)
    chunks = resample_counts(
        totals.shape[0],
        resamples=resamples,
        seed=seed,
        block_length=block_length,
        chunk=max(1, CHUNK_SIZE // y.size),
    )
    # The first row, all ones, is the sample itself.
    parts = [_scores(table.sum(axis=0)[None, :], _weighted_auc(np.ones((1, y.size)), y, starts))]
    for counts in chunks:
        rows = counts if codes is None else counts[:, codes]
        parts.append(_scores(counts @ totals, _weighted_auc(rows, y, starts)))
    units = None if clusters is None else totals.shape[0]
    return _named_intervals(np.concatenate(parts, axis=1), level=level, n=y.size, clusters=units)


def interval_of(
    estimate: float,
    replicates: FloatArray,
    *,
    level: float,
    n: int,
    clusters: int | None,
    method: Method = "percentile",
    floor: float = -np.inf,
) -> Interval:
    """Interval from bootstrap replicates (1-d) of an estimate; NaN replicates are undefined and left out.

    `percentile` takes their quantiles, `pivotal` mirrors them at the estimate (Davison & Hinkley 1997,
    5.2–5.3); neither end falls below `floor`.

    Raises:
        MeasureError: no replicates, more than 5 % of them undefined, or level outside (0, 1).
    """
    if not 0 < level < 1:
        raise MeasureError(f"level must lie strictly between 0 and 1 (0.95 for 95 %), got {level}")
    as_option(floor, name="floor", low=-np.inf, high=np.inf)
    if np.ndim(replicates) != 1 or np.size(replicates) == 0 or np.asarray(replicates).dtype.kind != "f":
        raise MeasureError(f"replicates must be numbers of shape (resamples,), got shape {np.shape(replicates)}")
    defined = replicates[~np.isnan(replicates)]
    if defined.size < (1 - UNDEFINED_MAX_RATIO) * replicates.size or np.isnan(estimate):
        raise MeasureError(
            f"the statistic is undefined in {replicates.size - defined.size} of {replicates.size} resamples: "
            "a sample this small or one-sided carries no interval; use a longer window or fewer segments"
        )
    # No interpolation: beside an infinite replicate it would give NaN.
    ends = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    low, high = ends if method == "percentile" else (2 * estimate - ends[1], 2 * estimate - ends[0])
    return Interval(estimate, max(float(low), floor), max(float(high), floor), level, method, n, clusters)


def _cover(starts: IntArray, length: int) -> IntArray:
    wrapped = np.concatenate([starts[:, starts.shape[1] - length + 1 :], starts], axis=1)
    running = np.cumsum(wrapped, axis=1)
    covered = running[:, length - 1 :].copy()
    covered[:, 1:] -= running[:, :-length]
    return covered


def _codes(clusters: ArrayLike | None, n: int) -> IntArray | None:
    if clusters is None:
        return None
    codes, _ = as_codes(clusters, name="clusters")
    if codes.size != n:
        raise MeasureError(f"clusters: got {codes.size} labels for {n} rows; give one label for each row")
    return codes


def _sums_by_code(table: FloatArray, codes: IntArray) -> FloatArray:
    units = int(codes.max()) + 1
    return np.column_stack([np.bincount(codes, weights=column, minlength=units) for column in table.T])


def _sorted_by_probability(
    outcomes: ArrayLike, probabilities: ArrayLike, clusters: ArrayLike | None, block_length: int
) -> tuple[FloatArray, FloatArray, IntArray | None]:
    y, p = as_outcomes(outcomes), as_probabilities(probabilities)
    codes = _codes(clusters, same_length(outcomes=y, probabilities=p))
    if y.min() == y.max():
        raise MeasureError(f"both outcomes are needed for an AUC, got only {y[0]:g}: use a longer window")
    if codes is None and block_length > 1:
        codes = np.arange(y.size)  # blocks run over time, which sorting would lose
    order = np.argsort(p, kind="stable")
    return y[order], p[order], None if codes is None else codes[order]


def _score_table(y: FloatArray, p: FloatArray, starts: IntArray, *, bins: int) -> FloatArray:
    """Columns whose sums make the scores: rows, Brier, finite and infinite log losses, bin residuals."""
    if bins < 1:
        raise MeasureError(f"bins must be at least 1, got {bins}")
    with np.errstate(divide="ignore"):
        loss = -np.log(np.where(y == 1.0, p, 1.0 - p))
    infinite = np.isinf(loss)
    residuals = np.zeros((y.size, bins))
    first_of_tie = np.repeat(starts, np.diff(starts, append=y.size))
    residuals[np.arange(y.size), first_of_tie * bins // y.size] = y - p
    return np.column_stack([np.ones_like(p), (p - y) ** 2, np.where(infinite, 0.0, loss), infinite, residuals])


def _named_intervals(rows: FloatArray, *, level: float, n: int, clusters: int | None) -> dict[str, Interval]:
    """An interval for each row of `SCORES`: the estimate first, then its replicates."""
    intervals = {}
    for name, values in zip(SCORES, rows, strict=True):
        method: Method = "pivotal" if name == "ece" else "percentile"
        intervals[name] = interval_of(
            float(values[0]), values[1:], level=level, n=n, clusters=clusters, method=method, floor=0.0
        )
    return intervals


def _scores(sums: FloatArray, auc: FloatArray) -> FloatArray:
    """The four rows of `SCORES`, a column for each resample."""
    rows = sums[:, 0]
    log_loss = np.where(sums[:, 3] > 0, np.inf, sums[:, 2] / rows)
    return np.stack([sums[:, 1] / rows, log_loss, auc, np.abs(sums[:, 4:]).sum(axis=1) / rows])


def _weighted_auc(weights: FloatArray, y: FloatArray, starts: IntArray) -> FloatArray:
    """AUC of each row of weights, outcomes sorted by score; ties, which begin at `starts`, count a half."""
    positive = weights * y
    negative = weights - positive
    has_ties = starts.size < y.size
    if has_ties:
        positive = np.add.reduceat(positive, starts, axis=1)
        negative = np.add.reduceat(negative, starts, axis=1)
    below = np.cumsum(negative, axis=1)
    wins = np.einsum("ij,ij->i", positive, below)
    if has_ties:
        wins -= 0.5 * np.einsum("ij,ij->i", positive, negative)
    return _ratio(wins, positive.sum(axis=1) * below[:, -1])


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)
