"""May a training begin: by its budget, its back-off and what ran before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.promote.retrain_budget import Attempt, may_train, wait_after

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def ago(minutes: float, status: str, *, decision: int = 1) -> Attempt:
    return Attempt(NOON - timedelta(minutes=minutes), decision, status)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attempts", "granted", "says"),
    [
        ([], True, "training 1 of 2"),
        ([ago(60, "running", decision=0)], False, "a training is running"),
        ([ago(60, "succeeded")], False, "decision 1 was carried out"),
        ([ago(60, "succeeded", decision=0)], True, "training 2 of 2"),
        ([ago(60, "succeeded", decision=0), ago(30, "failed", decision=0)], False, "2 of 2 trainings"),
        ([ago(13 * 60, "succeeded", decision=0), ago(14 * 60, "succeeded", decision=0)], True, "training 1 of 2"),
        ([ago(10, "failed")], False, "1 training(s) in a row failed; the next may begin at 2026-06-01 12:05 UTC"),
        ([ago(16, "failed")], True, "training 2 of 2"),
    ],
)
def test_what_ran_before_decides(attempts: list[Attempt], *, granted: bool, says: str) -> None:
    """One sentence for each answer."""
    found = may_train(attempts, decision=1, now=NOON, max_per_day=2)
    assert found.granted is granted
    assert says in found.reason


def test_waits_double_up_to_half_a_day() -> None:
    """15, 30, 60 … minutes, 12 hours at most."""
    assert [wait_after(n).total_seconds() / 60 for n in (1, 2, 3, 6, 7, 400)] == [15, 30, 60, 480, 720, 720]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(1, 50))
def test_a_storm_of_ticks_starts_no_more_than_the_budget(budget: int, minutes: int) -> None:
    """A decision that says retrain at every tick of a day, and trainings that always fail."""
    attempts: list[Attempt] = []
    midnight = NOON.replace(hour=0)
    for tick in range(0, 24 * 60, minutes):
        now = midnight + timedelta(minutes=tick)
        if may_train(attempts, decision=tick, now=now, max_per_day=budget).granted:
            attempts.append(Attempt(now, tick, "failed"))
    assert len(attempts) <= budget
    gaps = [later.started_at - earlier.started_at for earlier, later in pairwise(attempts)]
    assert all(gap >= wait_after(number) for number, gap in enumerate(gaps, start=1))
