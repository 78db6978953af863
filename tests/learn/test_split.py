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
from forecastle.learn.split import inner_folds, newest_part, time_split, times_of

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


def many(ask_days: list[float], known_days: list[float], who: list[int]) -> pd.DataFrame:
    """Rows of given days, settled after given days, of given entities; outcomes alternate."""
    at = pd.DatetimeIndex([START + day * DAY for day in ask_days])
    known = at + pd.to_timedelta(known_days, unit="D")
    outcome = np.arange(len(ask_days)) % 2
    return pd.DataFrame({"predict_at": at, "known_at": known, "outcome": outcome, "who": who})


@settings(max_examples=50, deadline=None)
@given(
    days=st.lists(st.floats(0, 300), min_size=200, max_size=260),
    settle=st.integers(0, 40),
    embargo=st.integers(0, 10),
    folds=st.integers(1, 4),
    people=st.sampled_from([0, 120, 4000]),
    seed=st.integers(0, 99),
)
def test_walking_forward_nothing_is_learned_early(*, days, settle, embargo, folds, people, seed) -> None:
    """In each block no outcome was known after its beginning less the embargo, and no group stands on both sides."""
    generator = np.random.default_rng(seed)
    known = generator.random(len(days)) * settle
    who = generator.integers(0, people, len(days)) if people else np.zeros(len(days), int)
    frame = many(days, known.tolist(), who.tolist())
    walk = {"folds": folds} if folds > 1 else None
    declared = Split.model_validate({"test": 0.4, "embargo": embargo * DAY, "walk_forward": walk})
    try:
        split = time_split(frame, declared, groups=("who",) if people else ())
    except LearnError:
        return
    at, known_at = frame["predict_at"], frame["known_at"]
    ends = [*split.cuts[1:], at.max() + DAY]
    assert list(split.cuts) == sorted(split.cuts)
    assert sorted(np.concatenate([block.test for block in split.blocks])) == split.test.tolist()
    for block, end in zip(split.blocks, ends, strict=True):
        cut = pd.Timestamp(block.test_from)
        assert (known_at.iloc[block.train] <= cut - embargo * DAY).all()
        assert (at.iloc[block.train] < cut).all()
        assert ((at.iloc[block.test] >= cut) & (at.iloc[block.test] < end)).all()
        if people:
            assert set(frame["who"].iloc[block.train]).isdisjoint(frame["who"].iloc[block.test])
    assert (split.train == split.blocks[-1].train).all()
    assert split.test_from == split.cuts[-1]


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(30, 80), settle=st.integers(0, 20), embargo=st.integers(0, 5), folds=st.integers(1, 5),
    people=st.sampled_from([0, 30]), seed=st.integers(0, 99),
)  # fmt: skip
def test_inner_folds_keep_the_same_rule(*, rows, settle, embargo, folds, people, seed) -> None:
    """A search and early stopping see no outcome before it was known, and no group on both sides."""
    generator = np.random.default_rng(seed)
    who = generator.integers(0, people or 1, rows)
    frame = many((generator.random(rows) * 90).tolist(), (generator.random(rows) * settle).tolist(), who.tolist())
    times = times_of(frame, ("who",) if people else ())
    pairs = list(inner_folds(times, folds=folds, embargo=embargo * DAY))
    pairs.append(newest_part(times, fraction=0.25, embargo=embargo * DAY))
    for learned, asked in pairs:
        cut = frame["predict_at"][asked].min()
        assert (frame["predict_at"][learned] < cut).all()
        assert (frame["known_at"][learned] <= cut - embargo * DAY).all()
        assert not people or set(who[learned]).isdisjoint(who[asked])
    assert pairs[-1][1].sum() >= rows * 0.25


def test_walking_forward_cuts_equal_blocks() -> None:
    """200 days, 40 % of them in 4 blocks of 20; the embargo of two days leaves days 0 to 116 to the first."""
    declared = Split.model_validate({"test": 0.4, "embargo": 2 * DAY, "walk_forward": {"folds": 4}})
    split = time_split(rows([float(day) for day in range(200)]), declared)
    assert [cut - START for cut in split.cuts] == [120 * DAY, 140 * DAY, 160 * DAY, 180 * DAY]
    assert [len(block.test) for block in split.blocks] == [20, 20, 20, 20]
    assert split.blocks[0].train.max() < 120


def test_a_group_that_is_always_asked_again_leaves_nothing_to_learn() -> None:
    """One customer asked every day: the error names the group."""
    frame = many(list(map(float, range(200))), [0.5] * 200, [1] * 200)
    with pytest.raises(LearnError, match=r"evaluate\.split\.group \(entity\) leaves too few"):
        time_split(frame, Split.model_validate({"embargo": DAY, "group": "entity"}), groups=("who",))
