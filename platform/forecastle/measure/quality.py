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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

import numpy as np
import pandas as pd
from scipy.stats import binom

__all__ = ["BAND_COLUMNS", "QUALITY_COLUMNS", "QualityLimits", "judge_quality", "quality_bands"]

QUALITY_COLUMNS: Final = (
    "table", "column", "measure", "day", "rows", "found", "value", "expected", "worst_before", "p_value", "alarm",
    "reason",
)  # fmt: skip
BAND_COLUMNS: Final = (
    "table", "column", "measure", "day", "rows", "value", "expected", "low", "high", "verdict",
)  # fmt: skip
_DTYPES: Final = {
    **dict.fromkeys(("table", "column", "measure", "reason", "verdict"), "str"),
    **dict.fromkeys(("rows", "found"), "int64"),
    "day": "date32[day][pyarrow]",
    "alarm": "bool",
}
Measure = Literal["volume", "null_rate", "outlier_rate", "unit_jump_rate"]
Counts = np.ndarray[tuple[int], np.dtype[np.int64]]

_WEEK: Final = 7
# Wrong units are compared with days this long before: a fault that lasts must not become its own measure.
_SETTLED: Final = timedelta(weeks=4)
# Half of a standard normal lies within this of its mean (https://en.wikipedia.org/wiki/Median_absolute_deviation).
_NORMAL_QUARTILE: Final = 0.674_489_75
_SENTENCES: Final = {
    "null_rate": "is null in {value:.1%} of {rows:,} rows; {expected:.2%} is usual, {worst:.2%} was the worst",
    "outlier_rate": (
        "lies beyond its usual extremes in {value:.1%} of {rows:,} rows, those of one entity and day taken as one;"
        " {expected:.2%} is usual, {worst:.2%} was the worst: another unit in a part of the rows?"
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
    (the widest of: same weekdays, counts of single rows, weekly changes of any weekday by their median) below what is
    usual, or above `volume_high` times the most.
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
    out. Rates are judged on their newest day and on their newest week; volumes on the day before `today`.

    `today` is not over, and what comes in the morning need not be like what comes by night: where the profile also has
    rows_so_far and found_so_far, what each day had counted by this time of day, today is compared with those. Returns
    one row a series with `QUALITY_COLUMNS`.
    """
    allowed = limits or QualityLimits()
    judged = []
    for name, series in profile.groupby(["table", "column", "measure"], sort=True):
        table, column, measure = map(str, name)
        days = series.sort_values("day")
        if measure == "volume":
            found = _volume(days, yesterday=today - timedelta(days=1), limits=allowed)
        else:
            found = _rate(days, measure, today=today, limits=allowed)
        if found is not None:
            judged.append({"table": table, "column": column, "measure": measure, **found})
    return pd.DataFrame(judged, columns=list(QUALITY_COLUMNS)) if judged else _no_rows(QUALITY_COLUMNS)


def quality_bands(profile: pd.DataFrame, judged: pd.DataFrame, *, limits: QualityLimits | None = None) -> pd.DataFrame:
    """Every day of every series of a daily profile beside the band that the days before it let expect.

    Returns `BAND_COLUMNS`, one row a series and day, sorted: `value` is a rate, or the rows of a volume; `low` and
    `high` bound what is as usual (NaN without enough history). `verdict`: `as usual`, `outside` the band, `no history`,
    or `alarm` where `judge_quality` says so of its day: a rate outside its band may still be chance.
    """
    allowed, parts = limits or QualityLimits(), []
    for name, series in profile.groupby(["table", "column", "measure"], sort=True):
        table, column, measure = map(str, name)
        days = series.sort_values("day", ignore_index=True)
        made = _volume_bands(days, allowed) if measure == "volume" else _rate_bands(days, measure, allowed)
        parts.append(made.assign(table=table, column=column, measure=measure))
    if not parts:
        return _no_rows(BAND_COLUMNS)
    found = pd.concat(parts, ignore_index=True)
    inside = (found["value"] >= found["low"]) & (found["value"] <= found["high"])
    found["verdict"] = np.where(found["high"].isna(), "no history", np.where(inside, "as usual", "outside"))
    series_and_day = ["table", "column", "measure", "day"]
    alarms = pd.MultiIndex.from_frame(judged.loc[judged["alarm"].astype(bool), series_and_day])
    found.loc[pd.MultiIndex.from_frame(found[series_and_day]).isin(alarms), "verdict"] = "alarm"
    return found[list(BAND_COLUMNS)]


def _no_rows(columns: Sequence[str]) -> pd.DataFrame:
    """A table without rows whose columns have the types that rows would give them, so that it can be stored."""
    return pd.DataFrame({name: pd.Series(dtype=_DTYPES.get(name, "float64")) for name in columns})


def _rate_bands(days: pd.DataFrame, measure: str, limits: QualityLimits) -> pd.DataFrame:
    rows, found = days["rows"].to_numpy(np.float64), days["found"].to_numpy(np.float64)
    value = np.divide(found, rows, out=np.full(len(rows), np.nan), where=rows > 0)
    before_rows, before_found = np.cumsum(rows) - rows, np.cumsum(found) - found
    expected = np.divide(before_found, before_rows, out=np.full(len(rows), np.nan), where=before_rows > 0)
    counted = np.where(rows >= limits.rows_min, value, 0.0)
    worst = np.concatenate([[0.0], np.maximum.accumulate(counted)[:-1]])
    high = np.maximum(expected, worst) + getattr(limits, measure)
    known = (np.arange(len(rows)) >= limits.days_min) & (rows >= limits.rows_min)
    band = {"low": np.where(known, 0.0, np.nan), "high": np.where(known, high, np.nan)}
    return pd.DataFrame({"day": days["day"], "rows": days["rows"], "value": value, "expected": expected, **band})


def _volume_bands(days: pd.DataFrame, limits: QualityLimits) -> pd.DataFrame:
    by_day = {day: int(rows) for day, rows in zip(days["day"], days["rows"], strict=True)}
    first, last = min(by_day), max(by_day)
    made = []
    for day in _days(first, last + timedelta(days=1)):
        usual = _usual_volume(by_day, day, limits)
        expected, low, high = (np.nan,) * 3 if usual is None else (usual[0], usual[3], usual[4])
        made.append((day, by_day.get(day, 0), float(by_day.get(day, 0)), expected, low, high))
    return pd.DataFrame(made, columns=["day", "rows", "value", "expected", "low", "high"])


def _rate(days: pd.DataFrame, measure: str, *, today: date, limits: QualityLimits) -> dict[str, object] | None:
    """The newest day, or the newest week where that is the clearer case: a few rows a day say little of one day."""
    if int(days["rows"].sum()) == 0:
        return None
    looks = [(days, 1), (days, _WEEK)]
    if "rows_so_far" in days and days["day"].iloc[-1] == today:
        looks[0] = (days.assign(rows=days["rows_so_far"], found=days["found_so_far"]), 1)
    found = [_window(counted, measure, width, limits=limits) for counted, width in looks]
    judged = [row for row in found if row is not None]
    return min(judged, key=lambda row: (not row["alarm"], row["p_value"])) if judged else None


def _window(days: pd.DataFrame, measure: str, width: int, *, limits: QualityLimits) -> dict[str, object] | None:
    now, before = days.iloc[-width:], _history(days, measure, width, limits=limits)
    rows, found = int(now["rows"].sum()), int(now["found"].sum())
    if rows < limits.rows_min:
        return None
    value, newest = found / rows, days["day"].iloc[-1]
    rows_before, found_before = (before[column].to_numpy(np.int64) for column in ("rows", "found"))
    if len(rows_before) < limits.days_min:
        return _row(newest, rows, found, value, reason="too little history to judge by")
    all_rows, all_found = int(rows_before.sum()), int(found_before.sum())
    expected = all_found / max(all_rows, 1)
    worst = _worst_rate(rows_before, found_before, width, rows_min=limits.rows_min)
    # One more row than was seen: a history without a single one is no proof that there is none.
    chance = (all_found + 1) / (all_rows + 1)
    spread = _dispersion(rows_before, found_before, width, expected)
    p_value = float(binom.sf(math.ceil(found / spread) - 1, math.ceil(rows / spread), min(chance, 1.0)))
    tolerance = getattr(limits, measure)
    alarm = p_value <= limits.alpha and value - expected > tolerance and value - worst > tolerance
    sentence = _SENTENCES[measure].format(value=value, rows=rows, expected=expected, worst=worst)
    return _row(
        newest, rows, found, value, expected=expected, worst=worst, p_value=p_value, alarm=alarm,
        reason=sentence if alarm else "as usual",
    )  # fmt: skip


def _history(days: pd.DataFrame, measure: str, width: int, *, limits: QualityLimits) -> pd.DataFrame:
    """The days that a window is compared with: those before it, of wrong units the settled ones where they suffice."""
    before = days.iloc[:-width]
    settled = before[before["day"] <= days["day"].iloc[-1] - _SETTLED]
    return settled if measure == "unit_jump_rate" and len(settled) >= limits.days_min else before


def _worst_rate(rows: Counts, found: Counts, width: int, *, rows_min: int) -> float:
    """The highest rate of any `width` days in a row (fewer at the beginning) with enough rows."""
    window = np.ones(width, dtype=np.int64)
    rows, found = (np.convolve(counts, window)[: len(counts)] for counts in (rows, found))
    enough = rows >= rows_min
    return float((found[enough] / rows[enough]).max()) if enough.any() else 0.0


def _dispersion(rows: Counts, found: Counts, width: int, expected: float) -> float:
    """Pearson's X² of the windows before, side by side, over their number less one; at least 1."""
    whole = len(rows) % width
    rows, found = (counts[whole:].reshape(-1, width).sum(axis=1) for counts in (rows, found))
    found, rows = found[rows > 0], rows[rows > 0]
    if len(rows) < 2 or not 0 < expected < 1:
        return 1.0
    squares = (found - rows * expected) ** 2 / (rows * expected * (1 - expected))
    return max(float(squares.sum()) / (len(rows) - 1), 1.0)


def _volume(days: pd.DataFrame, *, yesterday: date, limits: QualityLimits) -> dict[str, object] | None:
    by_day = {day: int(rows) for day, rows in zip(days["day"], days["rows"], strict=True)}
    usual = _usual_volume(by_day, yesterday, limits)
    if usual is None:
        return None
    rows, (expected, least, most, low, high) = by_day.get(yesterday, 0), usual
    reason = "as usual"
    if rows < low:
        reason = f"only {rows:,} rows came; {expected:,.0f} are usual on this weekday, {least:,} were the fewest"
    elif rows > high:
        reason = f"{rows:,} rows came; {expected:,.0f} are usual on this weekday, {most:,} were the most on any day"
    return _row(
        yesterday, rows, rows, float(rows), expected=expected, worst=float(least), alarm=not low <= rows <= high,
        reason=reason,
    )  # fmt: skip


def _usual_volume(
    by_day: Mapping[date, int], day: date, limits: QualityLimits
) -> tuple[float, int, int, float, float] | None:
    """Median and least of the same weekday before, most of any day, and between which volumes a day is as usual."""
    first = min(by_day)
    if (day - first).days < limits.weeks_min * _WEEK:
        return None
    weeks = range(1, (day - first).days // _WEEK + 1)
    compared = [by_day.get(day - timedelta(days=_WEEK * week), 0) for week in weeks]
    least, most = min(compared), max(by_day.get(at, 0) for at in _days(first, day))
    expected = float(pd.Series(compared).median())
    # Rows that come in pairs vary by more than their root: every weekday tells how far a day is from a week before.
    changes = [by_day.get(at, 0) - by_day.get(at - timedelta(days=_WEEK), 0) for at in _days(first, day)[_WEEK:]]
    paired = float(np.median(np.abs(changes))) / (_NORMAL_QUARTILE * math.sqrt(2))
    spread = max(float(np.std(compared, ddof=1)), math.sqrt(max(expected, 1.0)), paired)
    low = min(limits.volume_low * least, expected - limits.volume_sd * spread) if least >= limits.rows_min else 0.0
    return expected, least, most, max(low, 0.0), limits.volume_high * max(most, limits.rows_min)


def _days(first: date, end: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((end - first).days)]


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
