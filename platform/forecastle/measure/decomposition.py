"""CORP decomposition of a proper score: score = miscalibration - discrimination + uncertainty.

Belongs here: the decomposition of Brier score and log loss, for all rows, by slices and for several
forecasts, and its bootstrap intervals.
Does not belong here: bands and tests of the reliability curve (`bands`), intervals of plain scores
(`bootstrap`).
Source: Dimitriadis, Gneiting and Jordan 2021, PNAS 118(8), doi:10.1073/pnas.2016191118.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from forecastle.contract.errors import MeasureError, did_you_mean
from forecastle.measure.arrays import (
    FloatArray,
    as_codes,
    as_outcomes,
    as_probabilities,
    same_length,
)
from forecastle.measure.isotonic import Cells, isotonic_fit, pool_groups, pool_ties, quantile_cells
from forecastle.measure.scores import MEAN_SCORE, Rule, normal_quantile, skill

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

RULES: tuple[Rule, ...] = ("brier", "log_loss")
PARTS = ("score", "miscalibration", "discrimination", "uncertainty", "skill")
_INTERVAL_CELLS = 300
_INTERVAL_CLUSTERS = 5000
PART_COLUMNS = (
    "n", "base_rate", "mean_probability", "rule",
    "score", "miscalibration", "discrimination", "uncertainty", "skill",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decomposition:
    """One mean score and its parts, all in the units of the score (nats for log loss).

    `score` = `miscalibration` - `discrimination` + `uncertainty`. Score and miscalibration are infinite
    together when log loss meets a certain forecast that was wrong. `skill` is None when all outcomes agree
    (uncertainty 0).
    """

    rule: Rule
    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float
    skill: float | None
    n: int


@dataclass(frozen=True, slots=True)
class DecompositionIntervals:
    """(low, high) of each part of one rule's decomposition; None where the part is infinite or missing."""

    rule: Rule
    level: float
    resamples: int
    clusters: int
    score: tuple[float, float] | None
    miscalibration: tuple[float, float] | None
    discrimination: tuple[float, float] | None
    uncertainty: tuple[float, float] | None
    skill: tuple[float, float] | None


def decompose(outcomes: Any, probabilities: Any, *, rule: Rule = "brier", weights: Any | None = None) -> Decomposition:
    """CORP decomposition of the mean score of n forecasts.

    Miscalibration is what recalibrating by the isotonic fit would gain, discrimination what that fit gains
    over the constant base rate, uncertainty the score of that constant.

    Raises:
        MeasureError: empty, missing, mismatched input, outcomes other than 0/1, probabilities outside [0, 1].
    """
    return decompose_cells(pool_ties(outcomes, probabilities, weights=weights), rule=rule)


def decompose_cells(cells: Cells, *, rule: Rule = "brier", rates: FloatArray | None = None) -> Decomposition:
    """`decompose` of pooled cells; `rates` (K) is their isotonic fit, when already known."""
    if rule not in MEAN_SCORE:
        raise MeasureError(f"rule: got {rule!r}; {did_you_mean(rule, MEAN_SCORE)}")
    rates = isotonic_fit(cells).rates if rates is None else rates
    mean_score = MEAN_SCORE[rule]
    score = mean_score(cells.probabilities, cells.weights, cells.events)
    recalibrated = mean_score(rates, cells.weights, cells.events)
    uncertainty = mean_score(np.full_like(rates, cells.base_rate), cells.weights, cells.events)
    return Decomposition(
        rule=rule,
        score=score,
        miscalibration=score - recalibrated,
        discrimination=uncertainty - recalibrated,
        uncertainty=uncertainty,
        skill=skill(score, uncertainty),
        n=cells.rows,
    )


def decompose_slices(
    outcomes: Any, probabilities: Any, slices: Any, *, weights: Any | None = None, order: Any | None = None
) -> pd.DataFrame:
    """Both decompositions of every slice: one row for each slice and rule, columns `SLICE_COLUMNS`, slices
    sorted.

    `slices` holds one label for each row (a segment, a month); `order` is the argsort of the probabilities,
    when known.

    Raises:
        MeasureError: as `decompose`, or missing labels.
    """
    y = as_outcomes(outcomes)
    codes, labels = as_codes(slices, name="slice")
    same_length(outcome=y, slice=codes)
    groups = pool_groups(y, probabilities, codes, weights=weights, order=order)
    return _part_table("slice", dict(zip(labels, groups, strict=True)))


def decompose_forecasts(outcomes: Any, forecasts: Mapping[str, Any], *, weights: Any | None = None) -> pd.DataFrame:
    """Both decompositions of several forecasts of the same outcomes: columns `forecast` and `PART_COLUMNS`.

    `forecasts` maps names to n probabilities, or to their `Cells` when already pooled. This is the table behind
    the miscalibration-discrimination plot: candidates, versions, market, baselines.

    Raises:
        MeasureError: as `decompose`, for any forecast.
    """
    pooled = {
        name: p if isinstance(p, Cells) else pool_ties(outcomes, p, weights=weights) for name, p in forecasts.items()
    }
    return _part_table("forecast", pooled)


def decomposition_intervals(
    outcomes: Any,
    probabilities: Any,
    *,
    clusters: Any | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    cells: Cells | None = None,
    seed: int,
) -> tuple[DecompositionIntervals, ...]:
    """Bootstrap intervals of both decompositions, one record for each of `RULES`.

    Whole `clusters` (n labels: a day, an entity) are resampled, rows when None; more than 5,000 clusters are
    first put together at random into 5,000. Forecasts are merged into at most 300 quantile cells. The
    intervals are "basic" (Davison and Hinkley 1997, 5.2): refitting overstates miscalibration once more in
    every resample, which a percentile interval would keep. They are widened, where
    needed, to hold the estimate. `cells` are the pooled rows, when already known.

    Raises:
        MeasureError: as `decompose`, fewer than two clusters, fewer than 100 resamples, or a level outside
        (0, 1).
    """
    _check_resampling(resamples, level)
    y, p = as_outcomes(outcomes), as_probabilities(probabilities)
    same_length(outcome=y, probability=p)
    exact = pool_ties(y, p) if cells is None else cells
    merged = quantile_cells(exact, count=_INTERVAL_CELLS)
    generator = np.random.default_rng(seed)
    counts, units = _cluster_counts(merged, y, p, clusters, generator)
    tables = _resampled(counts, resamples, generator, by_row=clusters is None)
    drawn = np.array([_parts(merged.probabilities, table) for table in tables])
    centre = np.array(_parts(merged.probabilities, np.asarray(counts.sum(axis=0))))
    found = [
        _basic_intervals(decompose_cells(exact, rule=rule), centre[i], drawn[:, i], level)
        for i, rule in enumerate(RULES)
    ]
    return tuple(
        DecompositionIntervals(rule, level, resamples, units, **intervals)
        for rule, intervals in zip(RULES, found, strict=True)
    )


def _check_resampling(resamples: int, level: float) -> None:
    normal_quantile(level)
    if resamples < 100:
        raise MeasureError(f"resamples: got {resamples}; at least 100 are allowed; 1000 suit a 95 % interval")


def _part_table(key: str, groups: Mapping[Any, Cells]) -> pd.DataFrame:
    import pandas as pd

    rows = [row for label, cells in groups.items() for row in _part_rows(label, cells)]
    return pd.DataFrame(rows, columns=[key, *PART_COLUMNS])


def _part_rows(label: Any, cells: Cells) -> list[tuple[Any, ...]]:
    rates = isotonic_fit(cells).rates
    parts = [decompose_cells(cells, rule=rule, rates=rates) for rule in RULES]
    return [
        (
            label, cells.rows, cells.base_rate, cells.mean_probability, d.rule,
            d.score, d.miscalibration, d.discrimination, d.uncertainty, d.skill,
        )
        for d in parts
    ]  # fmt: skip


def _cluster_counts(
    cells: Cells, y: FloatArray, p: FloatArray, clusters: Any | None, generator: np.random.Generator
) -> tuple[Any, int]:
    """Sparse (clusters, 2 K) numbers of non-events and events by cell, and the number of units."""
    size = cells.probabilities.size
    if clusters is None:
        whole = np.concatenate([cells.weights - cells.events, cells.events])
        return sparse.csr_array(whole[None, :]), cells.rows
    codes, labels = as_codes(clusters, name="cluster")
    same_length(outcome=y, cluster=codes)
    if len(labels) < 2:
        raise MeasureError("clusters: got one cluster; at least two are needed; leave clusters out to resample rows")
    count = min(len(labels), _INTERVAL_CLUSTERS)
    group = generator.permutation(len(labels)) % count
    edges = 0.5 * (cells.probabilities[1:] + cells.probabilities[:-1])
    column = np.searchsorted(edges, p) + size * y.astype(np.int64)
    counts = sparse.csr_array((np.ones(y.size), (group[codes], column)), shape=(count, 2 * size))
    return counts, len(labels)


def _resampled(counts: Any, resamples: int, generator: np.random.Generator, *, by_row: bool) -> Iterator[FloatArray]:
    """Cell counts (2 K) of each resample, drawn in chunks that bound the memory."""
    if by_row:
        total = counts.toarray()[0]
        yield from generator.multinomial(int(total.sum()), total / total.sum(), size=resamples).astype(np.float64)
        return
    clusters = counts.shape[0]
    chunk = max(1, 2_000_000 // clusters)
    for done in range(0, resamples, chunk):
        times = generator.multinomial(clusters, np.full(clusters, 1.0 / clusters), size=min(chunk, resamples - done))
        yield from times.astype(np.float64) @ counts


def _parts(probabilities: FloatArray, table: FloatArray) -> list[list[float]]:
    """The parts of both decompositions, missing skill as NaN, of (2 K) non-events and events in K cells."""
    weights = table[: probabilities.size] + table[probabilities.size :]
    seen = weights > 0.0
    events = table[probabilities.size :][seen]
    cells = Cells(probabilities[seen], weights[seen], events, weights[seen], int(weights.sum()), is_weighted=False)
    rates = isotonic_fit(cells).rates
    parts = [decompose_cells(cells, rule=rule, rates=rates) for rule in RULES]
    return [[np.nan if (value := getattr(d, name)) is None else value for name in PARTS] for d in parts]


def _basic_intervals(
    exact: Decomposition, centre: FloatArray, drawn: FloatArray, level: float
) -> dict[str, tuple[float, float] | None]:
    """Intervals by part from `centre` (parts) and `drawn` (resamples, parts); None where not finite."""
    found: dict[str, tuple[float, float] | None] = {}
    for i, name in enumerate(PARTS):
        estimate, finite = getattr(exact, name), drawn[np.isfinite(drawn[:, i]), i]
        if estimate is None or not np.isfinite([estimate, centre[i]]).all() or finite.size == 0:
            found[name] = None
            continue
        low, high = np.quantile(finite, [0.5 - 0.5 * level, 0.5 + 0.5 * level])
        floor = -np.inf if name == "skill" else 0.0
        middle = float(centre[i])
        low_end, high_end = 2.0 * middle - float(high), estimate + middle - float(low)
        found[name] = (max(floor, min(low_end, estimate)), max(high_end, estimate))
    return found
