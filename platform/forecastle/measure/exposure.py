"""Who gets the attention of ranked lists: exposure by group against merit, and re-ranking to a minimum share.

Belongs here: position-discounted exposure, its equity with intervals, min-exposure re-ranking and what it
costs.
Does not belong here: relevance metrics (`ranking.py`), rates of decisions (`fairness.py`).
Source: Singh & Joachims, "Fairness of exposure in rankings", KDD 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_codes, as_finite, as_numbers, as_outcomes, same_length
from forecastle.measure.bootstrap import interval_of, resample_counts

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from numpy.typing import NDArray

    from forecastle.measure.arrays import FloatArray, IntArray

EQUITY_COLUMNS = ("group", "measure", "n", "estimate", "low", "high")
SHARE_COLUMNS = ("group", "minimum_share", "share_before", "share_after", "lists_short")
_MEASURES = {
    "exposure": ("exposure", "shown"),
    "utility": ("utility", "shown"),
    "click_rate": ("clicks", "shown"),
    "exposure_per_utility": ("exposure", "utility"),
    "clicks_per_utility": ("clicks", "utility"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Reranked:
    """New top-k lists that keep a minimum share of exposure for groups.

    `order` is (lists, k) positions into each list's candidates. `utility_kept_ratio` is the discounted
    utility of the new lists over that of the best ones: 1 minus the price. `shares` has one row a group
    (`SHARE_COLUMNS`); `lists_short` counts lists that ran out of the group's candidates.
    """

    order: IntArray
    utility_kept_ratio: float
    shares: pd.DataFrame


def position_weight(positions: Any) -> FloatArray:
    """Attention that a position gets, 1 / log2(1 + position); positions start at 1.

    Raises:
        MeasureError: a position below 1.
    """
    place = as_finite(positions, name="position")
    if place.min() < 1:
        raise MeasureError(f"position: got {place.min():g}; the first position is 1; add 1 to positions from 0")
    weight: FloatArray = 1 / np.log2(1 + place)
    return weight


def exposure_equity(
    positions: Any,
    groups: Any,
    *,
    utility: Any | None = None,
    clicks: Any | None = None,
    clusters: Any | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int,
) -> pd.DataFrame:
    """Exposure of groups of items over n shown ones: a row a group and measure, columns `EQUITY_COLUMNS`.

    `exposure` is the mean position weight; with `utility` (merit, >= 0) `exposure_per_utility` is what
    disparate treatment compares between groups; with `clicks` (0/1) too, `clicks_per_utility` is what
    disparate impact compares. Intervals: bootstrap over `clusters` (users or sessions resampled whole), else
    over rows. A measure without utility is NaN.

    Raises:
        MeasureError: empty, missing or mismatched input, positions below 1, negative utility.
    """
    columns = _shown_columns(positions, utility, clicks)
    codes, labels = as_codes(groups, name="group")
    units = np.arange(codes.size) if clusters is None else as_codes(clusters, name="cluster")[0]
    same_length(group=codes, cluster=units, **columns)
    names, totals = _totals(columns, codes, len(labels), units)
    draws = resample_counts(len(totals), resamples=resamples, seed=seed)
    replicates = np.concatenate([counts @ totals for counts in draws])
    spread = {name: (totals[:, i].sum(), replicates[:, i]) for i, name in enumerate(names)}
    rows: list[tuple[Any, ...]] = []
    for group, label in enumerate(labels):
        n = int(spread[group, "shown"][0])
        for measure, (top, bottom) in _MEASURES.items():
            if top in columns and bottom in columns:
                found = _ratio_interval(spread[group, top], spread[group, bottom], level)
                rows.append((str(label), measure, n, *found))
    return pd.DataFrame(rows, columns=list(EQUITY_COLUMNS))


def rerank(utilities: Any, groups: Any, *, minimum_share: Mapping[Hashable, float], k: int) -> Reranked:
    """Top-k lists of highest utility in which groups get at least their share of the exposure.

    `utilities` is (lists, candidates), at least 0; `groups` has one label a candidate, shape (candidates,) or
    as `utilities`. Down each list the best candidate is taken, unless a group would fall below its share of
    the exposure handed out so far: then the best of the group furthest behind. For one group the share
    therefore holds at every position; for several it holds to within one position. A group without candidates
    left is passed over.

    Raises:
        MeasureError: wrong shapes, negative or missing utilities, k outside 1..candidates, shares outside
            [0, 1] or summing above 1, or a group that has no candidate anywhere.
    """
    merit = _utilities(utilities, k)
    codes, names, shares = _minimum_shares(groups, minimum_share, merit.shape)
    weights = position_weight(np.arange(1, k + 1))
    best = np.argsort(-merit, axis=1, kind="stable")[:, :k]
    order, short = _greedy(merit, codes, shares, weights)
    before, after = (_shares(np.take_along_axis(codes, top, axis=1), weights, len(names)) for top in (best, order))
    kept, most = (float((np.take_along_axis(merit, top, axis=1) @ weights).sum()) for top in (order, best))
    table = pd.DataFrame(dict(zip(SHARE_COLUMNS, (names, shares, before, after, short), strict=True)))
    return Reranked(order=order, utility_kept_ratio=kept / most if most > 0 else 1.0, shares=table)


def _utilities(utilities: Any, k: int) -> FloatArray:
    merit = as_numbers(utilities, name="utilities")
    if merit.ndim != 2 or merit.size == 0 or merit.min() < 0:
        raise MeasureError(
            f"utilities: got shape {merit.shape}; finite values >= 0 of shape (lists, candidates) are allowed"
        )
    if not 1 <= k <= merit.shape[1]:
        raise MeasureError(f"k must lie in 1..{merit.shape[1]} (candidates in a list), got {k}")
    return merit


def _shown_columns(positions: Any, utility: Any | None, clicks: Any | None) -> dict[str, FloatArray]:
    columns = {"exposure": position_weight(positions)}
    columns["shown"] = np.ones_like(columns["exposure"])
    if utility is not None:
        columns["utility"] = as_finite(utility, name="utility")
        if columns["utility"].min() < 0:
            raise MeasureError("utility: got a negative value; merit is at least 0; pass a probability or a gain")
    if clicks is not None:
        columns["clicks"] = as_outcomes(clicks, name="click")
    return columns


def _totals(
    columns: Mapping[str, FloatArray], codes: IntArray, groups: int, units: IntArray
) -> tuple[list[tuple[int, str]], FloatArray]:
    """Sums by resampled unit of each column in each group, (units, groups x columns), and their names."""
    cells, width = units * groups + codes, (int(units.max()) + 1) * groups
    sums = [np.bincount(cells, weights=values, minlength=width).reshape(-1, groups) for values in columns.values()]
    names = [(group, name) for name in columns for group in range(groups)]
    return names, np.concatenate(sums, axis=1)


def _ratio_interval(
    top: tuple[float, FloatArray], bottom: tuple[float, FloatArray], level: float
) -> tuple[float, float, float]:
    if bottom[0] <= 0:
        return (np.nan, np.nan, np.nan)
    defined = bottom[1] > 0
    ratios = top[1][defined] / bottom[1][defined]
    found = interval_of(top[0] / bottom[0], ratios, level=level, n=ratios.size, clusters=None)
    return found.estimate, found.low, found.high


def _minimum_shares(
    groups: Any, minimum_share: Mapping[Hashable, float], shape: tuple[int, ...]
) -> tuple[IntArray, list[str], FloatArray]:
    labels = np.asarray(groups)
    if labels.shape not in (shape, shape[1:]):
        raise MeasureError(f"groups: got shape {labels.shape}, allowed {shape} or {shape[1:]}; label every candidate")
    codes, known = as_codes(np.broadcast_to(labels, shape).ravel(), name="group")
    unknown = [label for label in minimum_share if label not in known]
    wanted = list(minimum_share.values())
    if unknown or not wanted or min(wanted) < 0 or not sum(wanted) <= 1 + 1e-12:
        raise MeasureError(
            f"minimum_share: got {dict(minimum_share)}; shares >= 0 that sum to at most 1 are allowed, "
            f"for groups among {list(known)}"
        )
    shares = np.array([float(minimum_share.get(label, 0.0)) for label in known])
    return codes.reshape(shape), [str(label) for label in known], shares


def _greedy(merit: FloatArray, codes: IntArray, shares: FloatArray, weights: FloatArray) -> tuple[IntArray, IntArray]:
    """Positions (lists, k), and for each group the lists that lacked a candidate when it was due."""
    left, rows = merit.copy(), np.arange(merit.shape[0])
    members = codes[:, None, :] == np.arange(shares.size)[None, :, None]
    given = np.zeros((merit.shape[0], shares.size))
    order = np.empty((merit.shape[0], weights.size), dtype=np.int64)
    ran_out = np.zeros(given.shape, dtype=bool)
    for place, handed_out in enumerate(np.cumsum(weights)):
        of_group = np.where(members, left[:, None, :], -np.inf)
        is_due = shares * handed_out - given > 1e-12
        is_available = of_group.max(axis=2) >= 0
        ran_out |= is_due & ~is_available
        behind = np.where(is_due & is_available, shares * handed_out - given, -np.inf)
        neediest = behind.argmax(axis=1)
        forced = of_group[rows, neediest].argmax(axis=1)
        chosen = np.where(np.isfinite(behind[rows, neediest]), forced, left.argmax(axis=1))
        order[:, place] = chosen
        given[rows, codes[rows, chosen]] += weights[place]
        left[rows, chosen] = -np.inf
    return order, ran_out.sum(axis=0)


def _shares(codes: NDArray[np.int64], weights: FloatArray, groups: int) -> FloatArray:
    handed_out = np.bincount(codes.ravel(), weights=np.broadcast_to(weights, codes.shape).ravel(), minlength=groups)
    return np.asarray(handed_out / handed_out.sum(), dtype=np.float64)
