"""Do groups of people get different decisions: rates by group and by intersection, with counts and intervals.

Belongs here: group rates and AUC, intersections, disparity tests that allow for chance, shrunken estimates.
Does not belong here: calibration by group (`segments.py`), attention in ranked lists (`exposure.py`),
remedies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecastle.contract.errors import MeasureError, did_you_mean
from forecastle.measure.arrays import as_codes, as_finite, as_option, as_outcomes, same_length
from forecastle.measure.distance import chi2_p_value
from forecastle.measure.intervals import two_proportions, wilson
from forecastle.measure.multiple import benjamini_hochberg
from forecastle.measure.scores import auc_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from forecastle.measure.arrays import FloatArray

RATE_COLUMNS = ("group", "metric", "count", "n", "rate", "low", "high", "is_small")
RATE_METRICS = ("selection_rate", "base_rate", "true_positive_rate", "false_positive_rate", "precision")
DISPARITY_COLUMNS = (
    "group", "count", "n", "rate", "low", "high", "shrunken_rate",
    "difference", "difference_low", "difference_high", "p_value", "q_value",
    "is_small", "is_flagged", "reason",
)  # fmt: skip
AUC_COLUMNS = ("group", "positives", "negatives", "auc", "low", "high", "is_small")


@dataclass(frozen=True, slots=True, eq=False)
class Disparity:
    """How far the groups of one metric lie apart, and how much of that chance alone explains.

    `groups` has one row a group (`DISPARITY_COLUMNS`); `difference` is the group minus all other rows.
    `omnibus_p_value` tests that all rates, small groups included, are equal. The other numbers are over
    groups that are not small (over all when fewer than two are left): `gap` is the largest minus the smallest
    rate, `ratio` the smallest over the largest (the "four-fifths rule" wants 0.8); both grow with the number
    of groups when nothing differs, so they never flag. `naive_variance` is the variance of the rates between
    groups, `variance` the same less its sampling part (Lum, Zhang & Bower, FAccT 2022): about 0, of either
    sign, without disparity.
    """

    metric: str
    overall_rate: float
    omnibus_p_value: float
    gap: float
    ratio: float
    naive_variance: float
    variance: float
    small_groups: int
    groups: pd.DataFrame

    @property
    def reasons(self) -> tuple[str, ...]:
        """One line for each flagged group: `group: reason`."""
        flagged = self.groups[self.groups["is_flagged"]]
        return tuple(f"{name}: {why}" for name, why in zip(flagged["group"], flagged["reason"], strict=True))


def intersections(groups: Mapping[str, Any]) -> NDArray[np.object_]:
    """One label a row for the combination of several groupings: `female × 25-34`, in the order of `groups`.

    Raises:
        MeasureError: no grouping, missing labels, or different lengths.
    """
    if not groups:
        raise MeasureError("got no groupings; give at least one name with a label for each row")
    coded = {name: as_codes(labels, name=name) for name, labels in groups.items()}
    same_length(**{name: codes for name, (codes, _) in coded.items()})
    parts = [np.array([str(label) for label in labels], dtype=object)[codes] for codes, labels in coded.values()]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined + " × " + part
    return joined


def group_rates(
    outcomes: Any, decisions: Any, groups: Any, *, level: float = 0.95, minimum_rows: int = 100
) -> pd.DataFrame:
    """Rates of n decisions (1 = selected) by group: one row a group and metric, columns `RATE_COLUMNS`.

    `n` is the denominator of the metric (for the true positive rate the positives), `low` and `high` its
    Wilson interval at `level`; `is_small` says that n is below `minimum_rows` and the row is no ground for a
    judgement. A rate without rows is NaN between 0 and 1.

    Raises:
        MeasureError: empty, missing or mismatched input, values other than 0 and 1, a row without a group.
    """
    y, chosen = as_outcomes(outcomes), as_outcomes(decisions, name="decision")
    codes, labels = as_codes(groups, name="group")
    same_length(outcome=y, decision=chosen, group=codes)
    # Four cells a group: neither, selected only, positive only, both.
    cells = np.bincount(codes * 4 + (2 * y + chosen).astype(np.int64), minlength=4 * len(labels)).reshape(-1, 4)
    neither, false_positive, missed, hit = cells.T
    counted = {
        "selection_rate": (false_positive + hit, cells.sum(axis=1)),
        "base_rate": (missed + hit, cells.sum(axis=1)),
        "true_positive_rate": (hit, missed + hit),
        "false_positive_rate": (false_positive, neither + false_positive),
        "precision": (hit, false_positive + hit),
    }
    names = [str(label) for label in labels]
    tables = [_rate_rows(names, metric, *counted[metric], level) for metric in RATE_METRICS]
    table = pd.concat(tables, ignore_index=True)
    return table.assign(is_small=table["n"] < minimum_rows)


def group_auc(outcomes: Any, scores: Any, groups: Any, *, level: float = 0.95, minimum_rows: int = 100) -> pd.DataFrame:
    """AUC by group with DeLong interval, one row a group, columns `AUC_COLUMNS`.

    `is_small`: fewer than `minimum_rows` rows. A group with fewer than two rows of either class has no AUC
    (NaN).

    Raises:
        MeasureError: empty, missing or mismatched input, outcomes other than 0 and 1, a row without a group.
    """
    y, ranking = as_outcomes(outcomes), as_finite(scores, name="score")
    codes, labels = as_codes(groups, name="group")
    same_length(outcome=y, score=ranking, group=codes)
    rows: list[tuple[Any, ...]] = []
    bounds = np.cumsum(np.bincount(codes))[:-1]
    for label, part in zip(labels, np.split(np.argsort(codes, kind="stable"), bounds), strict=True):
        positives = int(y[part].sum())
        negatives = part.size - positives
        numbers = (np.nan, 0.0, 1.0)
        if min(positives, negatives) >= 2:
            found = auc_interval(y[part], ranking[part], level=level)
            numbers = (found.auc, found.low, found.high)
        rows.append((str(label), positives, negatives, *numbers, part.size < minimum_rows))
    return pd.DataFrame(rows, columns=list(AUC_COLUMNS))


def disparity(
    rates: pd.DataFrame, *, metric: str, tolerance: float = 0.05, alpha: float = 0.05, level: float = 0.95
) -> Disparity:
    """Test one metric of `group_rates` for differences between groups that are both real and large.

    A group is flagged when it differs from all other rows by more than `tolerance` (absolute) and its
    Benjamini-Hochberg q over the groups that are not small is at most `alpha`. `shrunken_rate` pulls a rate
    towards the overall one, the more the smaller the group (beta-binomial, moments of the corrected
    variance).

    Raises:
        MeasureError: a metric that the table does not hold, or fewer than two groups with rows.
    """
    as_option(tolerance, name="tolerance")
    as_option(alpha, name="alpha")
    own = rates[(rates["metric"] == metric) & (rates["n"] > 0)].reset_index(drop=True)
    if len(own) < 2:
        hint = did_you_mean(metric, rates["metric"].unique())
        raise MeasureError(f"metric {metric!r} has {len(own)} groups with rows; two are needed; {hint}")
    count, n = own["count"].to_numpy(np.float64), own["n"].to_numpy(np.float64)
    rate = count / n
    overall = float(count.sum() / n.sum())
    judged = ~own["is_small"].to_numpy(bool)
    compared = judged if judged.sum() > 1 else np.ones_like(judged)
    naive, corrected = _between_variance(rate[compared], n[compared])
    table = _against_the_rest(own, judged, tolerance, alpha, level)
    table["shrunken_rate"] = _shrunken(count, n, overall, corrected)
    return Disparity(
        metric=metric,
        overall_rate=overall,
        omnibus_p_value=chi2_p_value(count, n - count) if 0 < overall < 1 else 1.0,
        gap=float(np.ptp(rate[compared])),
        ratio=float(rate[compared].min() / rate[compared].max()) if rate[compared].max() > 0 else 1.0,
        naive_variance=naive,
        variance=corrected,
        small_groups=int((~judged).sum()),
        groups=table[list(DISPARITY_COLUMNS)],
    )


def _rate_rows(names: list[str], metric: str, count: Any, n: Any, level: float) -> pd.DataFrame:
    low, high = wilson(count, n, level=level)
    rate = np.divide(count, n, out=np.full(len(names), np.nan), where=n > 0)
    values = (names, metric, count, n, rate, low, high)
    return pd.DataFrame(dict(zip(RATE_COLUMNS[:-1], values, strict=True)))


def _between_variance(rate: FloatArray, n: FloatArray) -> tuple[float, float]:
    """Variance between groups, naive and less the mean sampling variance; groups of one row left out."""
    usable = n > 1
    if usable.sum() < 2:
        return 0.0, 0.0
    x, rows = rate[usable], n[usable]
    naive = float(np.var(x, ddof=1))
    return naive, naive - float(np.mean(x * (1 - x) / (rows - 1)))


def _shrunken(count: FloatArray, n: FloatArray, overall: float, variance: float) -> FloatArray:
    if variance <= 0 or not 0 < overall < 1:
        return np.full(n.size, overall)
    strength = max(overall * (1 - overall) / variance - 1, 0.0)
    return (count + strength * overall) / (n + strength)


def _against_the_rest(
    own: pd.DataFrame, judged: NDArray[np.bool_], tolerance: float, alpha: float, level: float
) -> pd.DataFrame:
    count, n = own["count"].to_numpy(), own["n"].to_numpy()
    found = two_proportions(count, n, count.sum() - count, n.sum() - n, level=level)
    p_values, q_values = np.full(len(own), np.nan), np.full(len(own), np.nan)
    p_values[judged] = found.p_value[judged]
    q_values[judged] = benjamini_hochberg(found.p_value[judged])
    flagged = judged & (np.abs(found.difference) > tolerance) & (np.nan_to_num(q_values, nan=1.0) <= alpha)
    reasons = [
        _reason(rows, difference, q, tolerance, alpha)
        for rows, difference, q in zip(n.tolist(), found.difference.tolist(), q_values.tolist(), strict=True)
    ]
    return own.assign(
        difference=found.difference,
        difference_low=found.low,
        difference_high=found.high,
        p_value=p_values,
        q_value=q_values,
        is_flagged=flagged,
        reason=reasons,
    )


def _reason(n: int, difference: float, q_value: float, tolerance: float, alpha: float) -> str:
    if np.isnan(q_value):
        return f"only {n} rows: too small to judge alone"
    if abs(difference) <= tolerance:
        return "within tolerance"
    side = "above" if difference > 0 else "below"
    seen = f"{abs(difference):.3f} {side} all others (tolerance {tolerance:g}, q {q_value:.2g}, n {n})"
    return seen if q_value <= alpha else f"{seen}; chance explains it"
