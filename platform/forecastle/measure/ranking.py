"""How good ranked lists are: Hit@k, Recall@k and NDCG@k for each user, and their means with intervals.

Belongs here: relevance metrics of ranked candidates, vectorised over users, ties handled by expectation.
Does not belong here: attention by group (`exposure.py`), producing rankings, off-policy values (`policy.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_codes, as_finite, same_length
from forecastle.measure.scores import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forecastle.measure.arrays import FloatArray, IntArray

USER_COLUMNS = ("user", "k", "candidates", "relevant", "hit", "recall", "ndcg")
RANKING_COLUMNS = ("metric", "k", "users", "estimate", "low", "high")
METRICS = ("hit", "recall", "ndcg")


def rank_users(users: Any, scores: Any, gains: Any, *, k: Sequence[int]) -> pd.DataFrame:
    """Metrics of each user's ranking: one row a user and k, columns `USER_COLUMNS`.

    Each of the n rows is one candidate of one user: `scores` rank it (higher first), `gains` say how relevant
    it is (0 is not; NDCG uses gains as they are, so pass 2^grade - 1 for exponential gains). Equal scores
    count as every order of them equally likely, and each metric is its expectation (McSherry & Najork, ECIR
    2008). hit = P(a relevant candidate in the first k); recall = relevant in the first k over all relevant;
    ndcg = DCG@k over the best possible DCG@k with discount 1 / log2(1 + position) (Järvelin & Kekäläinen
    2002). Users without a relevant candidate have NaN: nothing could have been found.

    Raises:
        MeasureError: empty, missing or mismatched input, a negative gain, or k below 1.
    """
    codes, labels = as_codes(users, name="user")
    ranking, gain = as_finite(scores, name="score"), as_finite(gains, name="gain")
    same_length(user=codes, score=ranking, gain=gain)
    if gain.min() < 0 or not k or min(k) < 1:
        raise MeasureError(f"got smallest gain {gain.min():g} and k {list(k)}; gains are >= 0 and every k >= 1")
    sizes = np.bincount(codes)
    relevant = np.bincount(codes, weights=gain > 0).astype(np.float64)
    discount = np.concatenate(([0.0], np.cumsum(1 / np.log2(np.arange(2, int(sizes.max()) + 2)))))
    ties = _Ties(codes, ranking, gain, sizes)
    best = _Ties(codes, gain, gain, sizes)
    tables = []
    for depth in k:
        ideal = best.discounted_gain(depth, discount)
        columns = {
            "user": labels,
            "k": depth,
            "candidates": sizes,
            "relevant": relevant.astype(np.int64),
            "hit": np.where(relevant > 0, ties.hit(depth), np.nan),
            "recall": _ratio(ties.found(depth), relevant),
            "ndcg": _ratio(ties.discounted_gain(depth, discount), ideal),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def ranking_table(per_user: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Means over users of the table of `rank_users`: one row a metric and k, columns `RANKING_COLUMNS`.

    Users without a relevant candidate are left out; the interval is mean ± z sd / sqrt(users), users being
    the independent unit. One user alone has no interval (NaN).

    Raises:
        MeasureError: no user has a relevant candidate.
    """
    usable = per_user[per_user["relevant"] > 0]
    if usable.empty:
        raise MeasureError("no user has a relevant candidate; widen the candidates or the window of outcomes")
    z = normal_quantile(level)
    rows = []
    for depth, part in usable.groupby("k", sort=True):
        for metric in METRICS:
            values = part[metric].to_numpy()
            half = z * float(np.std(values, ddof=1)) / np.sqrt(values.size) if values.size > 1 else np.nan
            mean = float(values.mean())
            rows.append((metric, depth, values.size, mean, mean - half, mean + half))
    return pd.DataFrame(rows, columns=list(RANKING_COLUMNS))


class _Ties:
    """Blocks of equal score within a user, in ranked order; without ties every candidate is its own block."""

    def __init__(self, codes: IntArray, ranking: FloatArray, gain: FloatArray, sizes: IntArray) -> None:
        order = np.lexsort((-ranking, codes))
        user, score = codes[order], ranking[order]
        starts = np.flatnonzero(np.append(True, (np.diff(user) != 0) | (np.diff(score) != 0)))
        self.user = user[starts]
        self.blocks = np.flatnonzero(np.diff(self.user, prepend=-1))
        self.first = starts - (np.cumsum(sizes) - sizes)[self.user]
        self.size = np.diff(np.append(starts, user.size))
        self.gain = np.add.reduceat(gain[order], starts)
        self.relevant = np.add.reduceat((gain[order] > 0).astype(np.float64), starts)

    def discounted_gain(self, k: int, discount: FloatArray) -> FloatArray:
        """Expected DCG@k of each user: a block spreads its gain evenly over its positions."""
        top = min(k, discount.size - 1)
        first, last = np.minimum(self.first, top), np.minimum(self.first + self.size, top)
        return self._by_user(self.gain / self.size * (discount[last] - discount[first]))

    def found(self, k: int) -> FloatArray:
        """Expected number of relevant candidates among the first k of each user."""
        return self._by_user(self.relevant * self._slots(k) / self.size)

    def hit(self, k: int) -> FloatArray:
        """P(at least one relevant candidate among the first k) of each user: no block may draw one."""
        slots, others = self._slots(k), self.size - self.relevant
        possible = others >= slots
        chance = special.gammaln(others + 1) - special.gammaln(np.maximum(others - slots, 0) + 1)
        chance += special.gammaln(self.size - slots + 1) - special.gammaln(self.size + 1)
        miss = np.exp(self._by_user(np.where(possible, chance, 0.0)))
        certain = self._by_user(np.where(possible, 0.0, 1.0)) > 0
        return np.where(certain, 1.0, 1 - np.minimum(miss, 1.0))

    def _by_user(self, values: FloatArray) -> FloatArray:
        sums: FloatArray = np.add.reduceat(values, self.blocks)
        return sums

    def _slots(self, k: int) -> IntArray:
        slots: IntArray = np.clip(k - self.first, 0, self.size)
        return slots


def _ratio(value: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(value, whole, out=np.full_like(value, np.nan), where=whole > 0)
