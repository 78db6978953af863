"""Calibration week by week or month by month, with an interval that may be looked at every week.

Belongs here: the table by period and the running confidence sequence of mean outcome minus probability.
Does not belong here: segments (`segments`), drift of features (`drift`), comparison of two models
(`comparison`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import IntArray, as_outcomes, as_probabilities, same_length
from forecastle.measure.calibration_tests import calibration_in_the_large
from forecastle.measure.confidence_sequence import asymptotic_half_width
from forecastle.measure.decomposition import decompose_cells
from forecastle.measure.isotonic import Cells, pool_groups

if TYPE_CHECKING:
    from forecastle.measure.arrays import FloatArray

Period: TypeAlias = Literal["week", "month"]
PERIOD_COLUMNS = (
    "period", "n", "base_rate", "mean_probability",
    "brier", "miscalibration", "discrimination", "uncertainty", "in_the_large", "in_the_large_standard_error",
    "running_gap", "running_low", "running_high",
)  # fmt: skip
_TUNED_ROWS = 5000.0


def calibration_by_period(
    outcomes: Any,
    probabilities: Any,
    at: Any,
    *,
    period: Period = "week",
    level: float = 0.95,
    order: Any | None = None,
) -> pd.DataFrame:
    """One row for each period with rows, in time order, columns `PERIOD_COLUMNS`.

    `at` holds n UTC times; `period` is the first day (Monday, or the first of the month) as ISO text.
    `in_the_large` and its error are missing where a period has one class only. `running_gap` is the mean of
    outcome - probability over all rows up to the period's end; `running_low` and `running_high` are an
    asymptotic confidence sequence: they hold at all periods at once with chance `level`, so it may be watched
    for ever.
    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021, arXiv:2103.06476, tuned to 5,000 rows.

    Raises:
        MeasureError: times unreadable, missing or without a zone, mismatched lengths, or input that
        `pool_ties` refuses.
    """
    y, p = as_outcomes(outcomes), as_probabilities(probabilities)
    days = _utc_days(at)
    same_length(outcome=y, probability=p, at=days)
    names, codes = _periods(days, period)
    groups = pool_groups(y, p, codes, order=order)
    table = pd.DataFrame(
        [_period_row(name, cells) for name, cells in zip(names, groups, strict=True)],
        columns=[column for column in PERIOD_COLUMNS if not column.startswith("running")],
    )
    mean, half = _running_gap(y - p, codes, level)
    return table.assign(running_gap=mean, running_low=mean - half, running_high=mean + half)


def _utc_days(at: Any) -> IntArray:
    try:
        times = pd.DatetimeIndex(at)
    except (TypeError, ValueError) as error:
        raise MeasureError(f"at: got times that cannot be read ({error}); one UTC time for each row") from None
    if times.tz is None:
        raise MeasureError("at: got times without a zone; UTC times are allowed; attach the zone before measuring")
    if times.hasnans:
        raise MeasureError(f"at: got {int(np.count_nonzero(times.isna()))} missing times; drop these rows or date them")
    days: IntArray = times.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[D]").astype(np.int64)
    return days


def _periods(days: IntArray, period: Period) -> tuple[list[str], IntArray]:
    if period not in ("week", "month"):
        raise MeasureError(f"period: got {period!r}; allowed: week, month")
    if period == "month":
        found, codes = np.unique(days.astype("datetime64[D]").astype("datetime64[M]"), return_inverse=True)
        starts = found.astype("datetime64[D]")
    else:
        weeks, codes = np.unique((days + 3) // 7, return_inverse=True)  # 1970-01-01 was a Thursday
        starts = (weeks * 7 - 3).astype("datetime64[D]")
    return [str(day) for day in starts], codes.astype(np.int64)


def _period_row(name: str, cells: Cells) -> tuple[Any, ...]:
    brier = decompose_cells(cells)
    try:
        large = calibration_in_the_large(cells)
        intercept, error = large.intercept, large.standard_error
    except MeasureError:  # one class only: no finite intercept, said by the missing value
        intercept, error = np.nan, np.nan
    return (
        name, cells.rows, cells.base_rate, cells.mean_probability,
        brier.score, brier.miscalibration, brier.discrimination, brier.uncertainty, intercept, error,
    )  # fmt: skip


def _running_gap(gaps: FloatArray, codes: IntArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Running means at the periods' ends and the half-widths of their confidence sequence."""
    n = np.cumsum(np.bincount(codes)).astype(np.float64)
    mean = np.cumsum(np.bincount(codes, weights=gaps)) / n
    variance = np.maximum(np.cumsum(np.bincount(codes, weights=gaps**2)) / n - mean**2, 0.0)
    half = asymptotic_half_width(np.sqrt(variance / n), n, level=level, n_opt=_TUNED_ROWS)
    return mean, half
