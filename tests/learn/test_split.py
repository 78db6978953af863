"""Time splits: arithmetic in sight, and the rule that nothing learns from an outcome that was not yet known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
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
    """Of 200 daily rows a quarter tests, the others train; an embargo of two days purges one row."""
    split = time_split(rows([float(day) for day in range(200)]), Split(test=0.25, embargo=2 * DAY))
    # Test from row 200 · 0.75 = 150. Train: known by day 150 − 2 = 148, so days 0…148.
    assert split.test.tolist() == list(range(150, 200))
    assert split.train.tolist() == list(range(149))
    assert split.purged == 1  # day 149 lies in the embargo: 149 + 50 + 1 = 200
    assert split.test_from == START + 150 * DAY
    assert (split.first_at, split.last_at) == (START, START + 199 * DAY)


def test_an_outcome_known_late_trains_nothing() -> None:
    """A row asked on the fourth day whose outcome became known after the boundary is purged, not learned."""
    late = [0.0] * 200
    late[3] = 190.0
    split = time_split(rows([float(day) for day in range(200)], late), Split(embargo=DAY))
    assert 3 not in {*split.train, *split.test}
    assert 2 in split.train


@settings(max_examples=60, deadline=None)
@given(
    asked=st.lists(st.integers(0, 400), min_size=120, max_size=160),
    lags=st.lists(st.floats(0, 60), min_size=160, max_size=160),
    embargo=st.integers(0, 5),
    seed=st.integers(0, 100),
)
def test_nothing_learns_from_what_was_not_known(asked: list[int], lags: list[float], embargo: int, seed: int) -> None:
    """Every row is in one part or purged; what trains was asked, and its outcome known in time, before the test."""
    frame = rows([float(day) for day in asked], lags[: len(asked)])
    frame = frame.sample(frac=1, random_state=seed).reset_index(drop=True)
    try:
        split = time_split(frame, Split(test=0.25, embargo=embargo * DAY))
    except LearnError:
        assume(False)
    parts = [split.train, split.test]
    assert len(set(np.concatenate(parts))) == sum(map(len, parts)) == len(frame) - split.purged
    known, at = frame["known_at"], frame["predict_at"]
    assert (known.iloc[split.train] <= split.test_from - embargo * DAY).all()
    assert (at.iloc[split.train] < split.test_from).all()
    assert (at.iloc[split.test] >= split.test_from).all()


def test_order_of_rows_changes_no_part() -> None:
    """The same rows in another order fall into the same parts."""
    frame = rows([float(day) for day in range(200)])
    shuffled = frame.sample(frac=1, random_state=1)
    one, other = time_split(frame, Split(embargo=DAY)), time_split(shuffled.reset_index(drop=True), Split(embargo=DAY))
    for name in ("train", "test"):
        at = shuffled["predict_at"].iloc[getattr(other, name)]
        assert sorted(at) == sorted(frame["predict_at"].iloc[getattr(one, name)])


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (rows([]), "no rows"),
        (rows([float(day) for day in range(40)]), "at least 20 are required"),
        (rows([float(day) for day in range(200)], outcome=[1] * 200), "only outcome 1"),
        (rows([float(day) for day in range(200)], outcome=[0] * 160 + [0, 1] * 20), "train part has only outcome 0"),
        (rows([float(day) for day in range(200)], 500.0), "the train part has 0 rows"),
        (rows([1.0] * 200), "the train part has 0 rows"),
        (rows([float(day) for day in range(200)]).assign(outcome=0.5), "must be 0 or 1, got 0.5 in 200 rows"),
        (rows([float(day) for day in range(200)]).assign(outcome=np.nan), "200 training rows have no outcome"),
        (rows([float(day) for day in range(200)]).assign(known_at=pd.NaT), "200 training rows have no known_at"),
    ],
)
def test_rows_that_cannot_be_split_say_why(frame: pd.DataFrame, told: str) -> None:
    """No rows, few rows, one outcome, late, simultaneous or broken labels are refused with the reason."""
    with pytest.raises(LearnError, match=told):
        time_split(frame, Split(embargo=DAY))
