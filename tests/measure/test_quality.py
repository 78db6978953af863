"""A day is judged by its own history: what is usual is quiet, what is not names column and measure."""

from __future__ import annotations

import math
from datetime import date, timedelta

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import binom

from forecastle.measure.quality import BAND_COLUMNS, QUALITY_COLUMNS, QualityLimits, judge_quality, quality_bands

TODAY = date(2026, 6, 1)


def series(found: list[int], *, rows: int = 200, measure: str = "outlier_rate", column: str = "price") -> pd.DataFrame:
    """One series a day up to today."""
    days = [TODAY - timedelta(days=len(found) - 1 - index) for index in range(len(found))]
    return pd.DataFrame(
        {"table": "source/x", "column": column, "measure": measure, "day": days, "rows": rows, "found": found}
    )


def volumes(rows: list[int]) -> pd.DataFrame:
    """Rows a day up to yesterday."""
    frame = series(rows, measure="volume", column="")
    return frame.assign(rows=rows, day=[day - timedelta(days=1) for day in frame["day"]])


def test_ten_per_cent_in_another_unit_is_seen_on_the_first_day() -> None:
    """Of 200 rows 20 lie beyond extremes that one in a thousand is beyond: the binomial tail, by hand."""
    (row,) = judge_quality(series([0] * 25 + [5] + [0] * 24 + [20]), today=TODAY).itertuples()
    assert row.alarm
    assert row.value == 20 / 200
    assert row.expected == pytest.approx(5 / (50 * 200))
    assert row.worst_before == 5 / 200
    # X² = (5 − 0.1)² / (0.1 · 0.9995) + 49 · 0.1² / (0.1 · 0.9995), over 49 degrees of freedom
    spread = ((5 - 0.1) ** 2 + 49 * 0.1**2) / (0.1 * 0.9995) / 49
    assert row.p_value == pytest.approx(binom.sf(math.ceil(20 / spread) - 1, math.ceil(200 / spread), 6 / 10_001))
    assert "10.0% of 200 rows" in row.reason
    assert "another unit" in row.reason


def test_a_few_rows_a_day_are_seen_within_the_week() -> None:
    """Four of 40 rows on each of six days: each alone may be chance, the week is not."""
    history = [0, 1] * 25
    alone = judge_quality(series([*history, 4], rows=40), today=TODAY)
    week = judge_quality(series([*history, 4, 4, 4, 4, 4, 4], rows=40), today=TODAY)
    assert not alone["alarm"].item()
    assert week["alarm"].item()
    assert week["rows"].item() == 280


def test_a_morning_is_compared_with_mornings() -> None:
    """Half of each morning's rows are null and hardly any by night: this morning is as usual, beside whole days not."""
    days = series([60] * 40 + [50], measure="null_rate").assign(rows=[500] * 40 + [100])
    mornings = days.assign(rows_so_far=100, found_so_far=50)
    assert judge_quality(days, today=TODAY)["alarm"].item()
    assert not judge_quality(mornings, today=TODAY)["alarm"].item()
    tomorrow = judge_quality(mornings, today=TODAY + timedelta(days=1))
    assert tomorrow["alarm"].item(), "the day is over: half of it was null"


def test_a_day_as_bad_as_one_before_is_no_alarm() -> None:
    """A binomial test of independent rows would cry; days that differ so much make it wait."""
    (row,) = judge_quality(series([0] * 20 + [30] + [0] * 19 + [30]), today=TODAY).itertuples()
    assert row.p_value > 1e-5
    assert not row.alarm


def test_a_trifle_is_no_alarm() -> None:
    """Half a per cent more than never, of a million rows: certain, and nothing that anybody would act on."""
    (row,) = judge_quality(series([0] * 40 + [5_000], rows=1_000_000), today=TODAY).itertuples()
    assert row.p_value < 1e-5
    assert not row.alarm


def test_a_column_that_becomes_null_is_named() -> None:
    """A third of the values is gone."""
    found = judge_quality(series([2] * 30 + [66], measure="null_rate"), today=TODAY)
    assert found["reason"].item() == "is null in 33.0% of 200 rows; 1.00% is usual, 1.00% was the worst"


def test_a_short_history_is_said_and_no_alarm() -> None:
    """Thirteen days are too few to call the fourteenth unusual."""
    found = judge_quality(series([0] * 13 + [200]), today=TODAY)
    assert not found["alarm"].item()
    assert found["reason"].item() == "too little history to judge by"


def test_a_silent_day_is_told_by_its_weekday() -> None:
    """Weekends bring nothing, and a silent Sunday is usual; a silent Thursday is not."""
    monday = date(2026, 3, 2)
    days = [monday + timedelta(days=n) for n in range(63)]
    rows = [0 if day.weekday() >= 5 else 100 for day in days]
    whole = pd.DataFrame(
        {"table": "source/x", "column": "", "measure": "volume", "day": days, "rows": rows, "found": rows}
    )
    whole = whole[whole["rows"] > 0]
    sunday = judge_quality(whole, today=days[62] + timedelta(days=1))
    assert not sunday["alarm"].item()
    thursday = days[59]
    silent = judge_quality(whole[whole["day"] < thursday], today=thursday + timedelta(days=1))
    assert silent["alarm"].item()
    assert silent["reason"].item().startswith("only 0 rows came; 100 are usual on this weekday")


def test_everything_again_is_a_volume() -> None:
    """Ten times the rows of any day before."""
    found = judge_quality(volumes([100, 120] * 30 + [1_200]), today=TODAY)
    assert found["alarm"].item()
    assert "120 were the most on any day" in found["reason"].item()


def test_volumes_are_of_days_that_are_over() -> None:
    """Today has a tenth of its rows at breakfast, and nothing is said of it."""
    frame = pd.concat([volumes([100] * 60), series([10], rows=10, measure="volume", column="")])
    found = judge_quality(frame, today=TODAY)
    assert not found["alarm"].item()
    assert found["day"].item() == TODAY - timedelta(days=1)


def test_rows_that_come_in_pairs_vary_more_than_single_rows() -> None:
    """Each poll is two rows. Mondays of 88 and of 80 and other days of 70 and 100 by turns: a Monday of 38 is chance.

    By Mondays alone it is five roots of 84 low. Six in seven weekly changes are 30, so a day's standard deviation is
    30 / (0.6745 · √2) = 31.4, and five of them are more than 84. Steady days leave no such excuse.
    """
    mondays = [88, 80] * 5
    uneven = [rows for week, monday in enumerate(mondays) for rows in [monday, *[70 + 30 * (week % 2)] * 6]]
    steady = [rows for monday in mondays for rows in [monday, *[85] * 6]]
    assert not judge_quality(volumes([*uneven, 38]), today=TODAY)["alarm"].item()
    found = judge_quality(volumes([*steady, 38]), today=TODAY)
    assert found["alarm"].item()
    assert found["reason"].item() == "only 38 rows came; 84 are usual on this weekday, 80 were the fewest"


def test_usual_days_stay_quiet() -> None:
    """Twenty tables of two months with clustered rows and weekly rhythm: no alarm on any of the last fourteen days."""
    random = np.random.default_rng(7)
    alarms = 0
    for _ in range(20):
        rates = random.beta(8, 160, size=63)
        rows = random.poisson(150, size=63) + 1
        found = random.binomial(rows, rates)
        days = [TODAY - timedelta(days=62 - index) for index in range(63)]
        frame = pd.DataFrame(
            {"table": "source/x", "column": "c", "measure": "null_rate", "day": days, "rows": rows, "found": found}
        )
        for back in range(14):
            today = TODAY - timedelta(days=back)
            alarms += int(judge_quality(frame[frame["day"] <= today], today=today)["alarm"].sum())
    assert alarms <= 1


def test_nothing_arrived_is_no_row() -> None:
    """An empty profile gives an empty table with its columns, and so does a column without values."""
    empty = judge_quality(series([]), today=TODAY)
    assert list(empty.columns) == list(QUALITY_COLUMNS)
    assert len(empty) == 0
    assert len(judge_quality(series([0] * 30, rows=0), today=TODAY, limits=QualityLimits())) == 0


def test_each_day_stands_beside_the_band_of_the_days_before_it() -> None:
    """The worst of the days before and the tolerance, by hand; the first 14 days have no history."""
    profile = series([2] * 10 + [6] + [2] * 9 + [40] + [2] * 10)
    bands = quality_bands(profile, judge_quality(profile, today=TODAY))
    assert tuple(bands.columns) == BAND_COLUMNS
    assert bands["verdict"].tolist() == ["no history"] * 14 + ["as usual"] * 6 + ["outside"] + ["as usual"] * 10
    tolerance = QualityLimits().outlier_rate
    assert bands["high"].iloc[20] == pytest.approx(6 / 200 + tolerance)
    assert bands["high"].iloc[21] == pytest.approx(40 / 200 + tolerance)
    assert bands["expected"].iloc[20] == pytest.approx((19 * 2 + 6) / (20 * 200))


def test_the_newest_verdict_is_the_judges() -> None:
    """A rate that alarms is an alarm; a volume lies between half of the fewest and five times the most."""
    profile = pd.concat([series([0] * 30 + [40]), volumes([100] * 63 + [20])])
    judged = judge_quality(profile, today=TODAY)
    bands = quality_bands(profile, judged).groupby("measure").tail(1).set_index("measure")
    assert bands["verdict"].to_dict() == {"outlier_rate": "alarm", "volume": "alarm"}
    # The least of nine equal weekdays is 100, and five standard errors √100 below it are 50 as well.
    assert (bands.loc["volume", "low"], bands.loc["volume", "high"]) == (50.0, 500.0)


def test_a_profile_without_rows_gives_tables_that_can_be_stored() -> None:
    """Nothing arrived for so long that no day is looked at: no series, and every column still has a type."""
    nothing = pd.DataFrame(columns=["table", "column", "measure", "day", "rows", "found"])
    judged = judge_quality(nothing, today=TODAY)
    bands = quality_bands(nothing, judged)
    assert (tuple(judged.columns), tuple(bands.columns)) == (QUALITY_COLUMNS, BAND_COLUMNS)
    for frame in (judged, bands):
        described = duckdb.connect().from_arrow(pa.Table.from_pandas(frame)).project("*").description
        assert not [name for name, kind, *_ in described if str(kind) in ('"NULL"', "TIMESTAMP")]


def test_a_unit_that_stays_wrong_stays_an_alarm() -> None:
    """A tenth of the rows for three weeks: the first bad days must not make the later ones usual."""
    history = [0, 1] * 20
    for days in (1, 7, 14, 21, 27):
        found = judge_quality(series([*history, *[20] * days], measure="unit_jump_rate"), today=TODAY)
        assert found["alarm"].all()
    assert not judge_quality(series(history, measure="unit_jump_rate"), today=TODAY)["alarm"].any()
