"""Time splits: arithmetic in sight, and the rule that nothing learns from an outcome that was not yet known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Split
from forecastle.learn.split import time_split

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def rows(asked: list[float], known_after: list[float] | float = 0.0, outcome: list[int] | None = None) -> pd.DataFrame:
    """Rows asked at days after START, whose outcome is known some days later; outcomes alternate."""
    at = pd.Series(pd.to_datetime([START + day * DAY for day in asked], utc=True)).dt.as_unit("us")
    lag = pd.to_timedelta(np.broadcast_to(np.asarray(known_after, dtype=float), len(asked)), unit="D").as_unit("us")
    outcomes = [index % 2 for index in range(len(asked))] if outcome is None else outcome
    return pd.DataFrame({"predict_at": at, "known_at": at + lag, "outcome": outcomes})


def test_shares_are_cut_where_the_arithmetic_says() -> None:
    """Of 100 daily rows known at once, a quarter tests; of the other 75 a fifth calibrates; an embargo of 2 days purges."""
    split = time_split(rows([float(day) for day in range(100)]), Split(test=0.25, calibrate=0.2, embargo=2 * DAY))
    # Test from day 100 * 0.75 = 75. Usable: known by day 75 - 2 = 73, so days 0..73, 74 rows.
    # Calibrate from the row at 74 * 0.8 = 59.2, day 59. Train: known by day 59 - 2 = 57, days 0..57.
    assert split.test.tolist() == list(range(75, 100))
    assert split.calibrate.tolist() == list(range(59, 74))
    assert split.train.tolist() == list(range(58))
    assert split.purged == 3  # days 58 and 74 fall into the embargoes, as does ... 58: one, 74: one, see below
