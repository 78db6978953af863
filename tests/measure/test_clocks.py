"""Gaps between two clocks: real tables whose clocks are in the wrong zone, planted shifts, and what says nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import MeasureError
from forecastle.measure.clocks import ClockGap, ahead_rows, clock_gap


def gaps(*seconds: float) -> ClockGap:
    return clock_gap(np.zeros(len(seconds)), np.array(seconds))


def lags(count: int = 500, *, seed: int = 3) -> np.ndarray:
    """Delays as a good pipeline has them: minutes mostly, a long tail of hours and days."""
    chance = np.random.default_rng(seed)
    return np.where(chance.random(count) < 0.7, chance.exponential(120, count), chance.exponential(86_400, count))


def seconds(times: pd.Series) -> np.ndarray:
    return times.astype("datetime64[us, UTC]").astype("int64").to_numpy() / 1e6


def test_the_real_line_table_is_seven_hours_off_and_its_correction_is_not(real_data: Path) -> None:
    """85 % of last lines stand 415 to 430 minutes before the start: a Pacific clock that calls itself UTC."""
    lines = pd.read_parquet(real_data / "mlb" / "lines_2016.parquet")
    start = pd.read_parquet(real_data / "mlb" / "games_2016.parquet").set_index("game_id")["start_ts"]
    found = {}
    for clock in ("entered_raw", "entered_ts"):
        last = lines.groupby("game_id")[clock].max()
        found[clock] = clock_gap(seconds(start.reindex(last.index)), seconds(last))
    assert found["entered_raw"].shift_seconds == -7 * 3600
    assert found["entered_ts"].shift_seconds is None
    assert found["entered_ts"].crowded
    assert found["entered_raw"].rows == 2_462
    assert "probably 7 h off" in found["entered_raw"].sentence("start", "entered_raw")


@pytest.mark.parametrize("table", ["superlender_loans", "superlender_previous_loans"])
def test_a_lenders_two_clocks_are_an_hour_apart(real_data: Path, table: str) -> None:
    """Loans are approved 1.001 to 1.003 h after they were asked for: one clock is Lagos time, the other UTC."""
    loans = pd.read_parquet(real_data / "credit" / f"{table}.parquet")
    asked = loans["creationdate"].dt.tz_localize("UTC")
    lagos = loans["approveddate"].dt.tz_localize("UTC")
    assert clock_gap(seconds(asked), seconds(lagos)).shift_seconds == 3600
    right = loans["approveddate"].dt.tz_localize("Africa/Lagos")
    assert clock_gap(seconds(asked), seconds(right)).shift_seconds is None


@settings(max_examples=60, deadline=None)
@given(st.integers(-28, 28), st.integers(0, 1_000))
def test_a_planted_shift_is_found_and_no_other(half_hours: int, seed: int) -> None:
    """Moving one clock by k half hours is told as k half hours, and not at all for k = 0."""
    found = clock_gap(np.zeros(500), lags(seed=seed) + 1800.0 * half_hours)
    assert found.crowded
    assert found.shift_seconds == (1800.0 * half_hours if half_hours else None)


def test_the_densest_quarter_hour_by_hand() -> None:
    """Of 40 gaps 30 are 3,600 s + 10 s to 39 s: share 0.75, median 3,624.5 s, so one hour."""
    found = gaps(*(3610.0 + n for n in range(30)), *(50_000.0 * n for n in range(1, 11)))
    assert (found.rows, found.share, found.gap_seconds, found.shift_seconds) == (40, 0.75, 3624.5, 3600.0)


@pytest.mark.parametrize(
    ("given_seconds", "crowded"),
    [
        (np.linspace(0, 86_400, 500), False),  # a nightly load knows everything at midnight
        (np.full(29, 3600.0), False),  # too few rows to say anything
        (np.full(500, 1_200.0), True),  # 20 minutes: no zone
        (np.full(500, 24 * 3600.0), True),  # a day: no zone either, they end at 14 hours
        (np.full(500, 45.0), True),
    ],
)
def test_what_is_no_shift_of_zone_raises_no_alarm(given_seconds: np.ndarray, *, crowded: bool) -> None:
    """Delays that are spread out, short, odd or a whole day are delays."""
    found = clock_gap(np.zeros(len(given_seconds)), given_seconds)
    assert (found.crowded, found.shift_seconds) == (crowded, None)
    assert "off" not in found.sentence("a", "b")


def test_missing_times_are_left_out() -> None:
    """A row without one of its times says nothing; no row at all says so."""
    shifted = np.where(np.arange(200) % 2, np.nan, 3600.0)
    assert clock_gap(np.zeros(200), shifted).rows == 100
    assert clock_gap([np.nan], [1.0]).sentence("a", "b").startswith("b and a are compared on 0 rows")
    with pytest.raises(MeasureError, match="one time a row"):
        clock_gap([1.0], [1.0, 2.0])


def test_rows_of_the_future_are_beyond_five_minutes() -> None:
    """Two good clocks differ by seconds; 301 s is ahead, 300 s and a missing time are not."""
    assert ahead_rows([0.0, 300.0, 301.0, np.nan], 0.0) == 1
    assert ahead_rows([900.0, 900.0], [900.0, 100.0]) == 1
    assert ahead_rows([900.0, 400.0, -400.0], [0.0, 0.0, 0.0]) == 2
    assert ahead_rows([900.0], 900.0) == 0
