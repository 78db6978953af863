"""Is what arrived today like what arrived before: daily counts of a table judged by its own history.

Belongs here: expectations and tests of volumes, null rates, outlier rates and jumps by a unit's factor; reasons.
Does not belong here: counting rows (`store/quality.py`), drift from a training reference (`drift.py`).

A rate alarms when it is above what its history lets expect by more than a tolerance, above the worst of that history by
as much, and a binomial test says that this is no chance (one-sided, level `alpha`). Rows of one day are not
independent draws, so the test counts them as that many fewer as days differ more than chance lets them: quasi-binomial
dispersion, McCullagh & Nelder 1989, 4.5. Rows of a wrong unit among right ones move no quantile and no PSI, but
their values lie beyond the extremes or jump by exactly that factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

import numpy as np
import pandas as pd
from scipy.stats import binom

__all__ = ["QUALITY_COLUMNS", "QualityLimits", "judge_quality"]

QUALITY_COLUMNS: Final = (
    "table", "column", "measure", "day", "rows", "found", "value", "expected", "worst_before", "p_value", "alarm",
    "reason",
)  # fmt: skip
Measure = Literal["volume", "null_rate", "outlier_rate", "unit_jump_rate"]

_WEEK: Final = 7
_SENTENCES: Final = {
    "null_rate": "is null in {value:.1%} of {rows:,} rows; {expected:.2%} is usual, {worst:.2%} was the worst",
    "outlier_rate": (
        "lies beyond its usual extremes in {value:.1%} of {rows:,} rows; {expected:.2%} is usual, {worst:.2%} was the"
        " worst: another unit in a part of the rows?"
    ),
    "unit_jump_rate": (
        "jumps by a factor of another unit in {value:.1%} of {rows:,} rows; {expected:.2%} is usual, {worst:.2%} was"
        " the worst: another unit in a part of the rows?"
    ),
}


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """When a day is worth somebody's time.

    `null_rate`, `outlier_rate`, `unit_jump_rate`: excess over the expectation that nobody would act on. A volume
    alarms below `volume_low` of the least of the days it is compared with where that is `volume_sd` standard deviations
    below what is usual, or above `volume_high` times the most.
    Fewer than `rows_min` rows have no rate; fewer than `days_min` days are no history for it, nor `weeks_min` for
    volumes.
    """

    null_rate: float = 0.02
    outlier_rate: float = 0.01
    unit_jump_rate: float = 0.02
    volume_low: float = 0.5
    volume_high: float = 5.0
    volume_sd: float = 5.0
    rows_min: int = 20
    days_min: int = 14
    weeks_min: int = 6
    alpha: float = 1e-5


def judge_quality(profile: pd.DataFrame, *, today: date, limits: QualityLimits | None = None) -> pd.DataFrame:
    """Judge the newest day of each series of a daily profile.

    `profile` has the columns table, column ("" for volumes), measure, day (UTC date of knowledge time), rows and
    found (of them null, outlying, jumping; for a volume the rows), one row a series and day, days without rows left
    out. Rates are judged on their newest day, which may not be over, and on their newest week; volumes on the day
    before `today`. Returns one row a series with `QUALITY_COLUMNS`.
    """
    allowed = limits or QualityLimits()
    judged = []
    for name, series in profile.groupby(["table", "column", "measure"], sort=True):
        table, column, measure = map(str, name)
        days = series.sort_values("day")
        if measure == "volume":
            found = _volume(days, yesterday=today - timedelta(days=1), limits=allowed)
        else:
            found = _rate(days, measure, tolerance=getattr(allowed, measure), limits=allowed)
        if found is not None:
            judged.append({"table": table, "column": column, "measure": measure, **found})
    return pd.DataFrame(judged, columns=list(QUALITY_COLUMNS))


def _rate(days: pd.DataFrame, measure: str, *, tolerance: float, limits: QualityLimits) -> dict[str, object] | None:
    """The newest day, or the newest week where that is the clearer case: a few rows a day say little of one day."""
    if int(days["rows"].sum()) == 0:
        return None
    found = [_window(days, measure, width, tolerance=tolerance, limits=limits) for width in (1, _WEEK)]
    judged = [row for row in found if row is not None]
    return min(judged, key=lambda row: (not row["alarm"], row["p_value"])) if judged else None


def _window(
    days: pd.DataFrame, measure: str, width: int, *, tolerance: float, limits: QualityLimits
) -> dict[str, object] | None:
    sums = days[["rows", "found"]].rolling(width, min_periods=1).sum()
    rows, found = (int(sums[column].iloc[-1]) for column in ("rows", "found"))
    if rows < limits.rows_min:
        return None
    value, newest, before = found / rows, days["day"].iloc[-1], days.iloc[:-width]
    if len(before) < limits.days_min:
        return _row(newest, rows, found, value, reason="too little history to judge by")
    expected = float(before["found"].sum() / max(before["rows"].sum(), 1))
    windows = sums.iloc[:-width]
    windows = windows[windows["rows"] >= limits.rows_min]
    worst = float((windows["found"] / windows["rows"]).max()) if len(windows) else 0.0
    # One more row than was seen: a history without a single one is no proof that there is none.
    chance = (before["found"].sum() + 1) / (before["rows"].sum() + 1)
    spread = _dispersion(before, width, expected)
    p_value = float(binom.sf(math.ceil(found / spread) - 1, math.ceil(rows / spread), min(chance, 1.0)))
    alarm = p_value <= limits.alpha and value - expected > tolerance and value - worst > tolerance
    sentence = _SENTENCES[measure].format(value=value, rows=rows, expected=expected, worst=worst)
    return _row(
        newest, rows, found, value, expected=expected, worst=worst, p_value=p_value, alarm=alarm,
        reason=sentence if alarm else "as usual",
    )  # fmt: skip


def _dispersion(before: pd.DataFrame, width: int, expected: float) -> float:
    """Pearson's X² of the windows before, side by side, over their number less one; at least 1."""
    whole = before.iloc[len(before) % width :]
    sums = whole[["rows", "found"]].groupby(np.arange(len(whole)) // width).sum()
    sums = sums[sums["rows"] > 0]
    if len(sums) < 2 or not 0 < expected < 1:
        return 1.0
    squares = (sums["found"] - sums["rows"] * expected) ** 2 / (sums["rows"] * expected * (1 - expected))
    return max(float(squares.sum()) / (len(sums) - 1), 1.0)


def _volume(days: pd.DataFrame, *, yesterday: date, limits: QualityLimits) -> dict[str, object] | None:
    by_day = {day: int(rows) for day, rows in zip(days["day"], days["rows"], strict=True)}
    first = min(by_day)
    if (yesterday - first).days < limits.weeks_min * _WEEK:
        return None
    rows = by_day.get(yesterday, 0)
    weeks = range(1, (yesterday - first).days // _WEEK + 1)
    compared = [by_day.get(yesterday - timedelta(days=_WEEK * week), 0) for week in weeks]
    least, most = min(compared), max(by_day.get(first + timedelta(days=d), 0) for d in range((yesterday - first).days))
    expected = float(pd.Series(compared).median())
    spread = max(float(np.std(compared, ddof=1)), math.sqrt(max(expected, 1.0)))
    low = least >= limits.rows_min and rows < limits.volume_low * least and expected - rows > limits.volume_sd * spread
    high = rows > limits.volume_high * max(most, limits.rows_min)
    reason = "as usual"
    if low:
        reason = f"only {rows:,} rows came; {expected:,.0f} are usual on this weekday, {least:,} were the fewest"
    elif high:
        reason = f"{rows:,} rows came; {expected:,.0f} are usual on this weekday, {most:,} were the most on any day"
    return _row(
        yesterday, rows, rows, float(rows), expected=expected, worst=float(least), alarm=low or high, reason=reason
    )


def _row(
    day: date,
    rows: int,
    found: int,
    value: float,
    *,
    expected: float = float("nan"),
    worst: float = float("nan"),
    p_value: float = float("nan"),
    alarm: bool = False,
    reason: str,
) -> dict[str, object]:
    return {
        "day": day, "rows": rows, "found": found, "value": value, "expected": expected, "worst_before": worst,
        "p_value": p_value, "alarm": alarm, "reason": reason,
    }  # fmt: skip
