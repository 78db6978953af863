"""Time splits: what a model may have learned by the time it is asked.

Belongs here: cutting labelled rows by prediction time and label knowledge time, once or walking forward.
Does not belong here: joins (`store/`), fitting (`train.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Split

ROWS_MIN = 20

Instants = NDArray[np.datetime64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Times:
    """When each row (n,) was asked and when its outcome was known, UTC; `groups` must not stand on both sides."""

    predict_at: Instants
    known_at: Instants
    groups: NDArray[Any] | None = None

    def take(self, rows: NDArray[Any]) -> Times:
        """Only these rows (positions or a mask)."""
        groups = None if self.groups is None else self.groups[rows]
        return Times(self.predict_at[rows], self.known_at[rows], groups)

    def learned_by(self, cut: np.datetime64, *, embargo: timedelta, asked: Mask) -> Mask:
        """Rows (n,) that a model asked from `cut` on may have learned.

        They were asked before it, their outcome was known `embargo` before it, and where groups are declared none of
        them is of a group among the rows `asked` (n,).
        """
        found = (self.predict_at < cut) & (self.known_at <= cut - np.timedelta64(embargo))
        return found if self.groups is None else found & ~np.isin(self.groups, self.groups[asked])


@dataclass(frozen=True, slots=True)
class Block:
    """Positions of the rows that a model learned and of those that it was then asked, from `test_from` on."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    test_from: datetime


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """Row positions of each part and the instant that divides them.

    A row trains only when it was asked before `test_from` and its outcome was known `embargo` before that; it
    tests when it was asked at or after `test_from`. Every other row is purged. Walking forward there are several
    `blocks`, oldest first: `test` holds the rows of all of them, `train` and `test_from` are the last one's, whose
    model is kept. `first_at` and `last_at` are the earliest and the latest `predict_at` of all rows. Times are UTC.
    """

    train: np.ndarray
    test: np.ndarray
    test_from: datetime
    first_at: datetime
    last_at: datetime
    purged: int
    blocks: tuple[Block, ...]

    @property
    def cuts(self) -> tuple[datetime, ...]:
        """Where each block's test begins."""
        return tuple(block.test_from for block in self.blocks)


def time_split(
    frame: pd.DataFrame,
    split: Split,
    *,
    test_from: datetime | Sequence[datetime] | None = None,
    groups: Sequence[str] = (),
) -> TimeSplit:
    """Split labelled rows by time.

    Purging and embargo: Lopez de Prado 2018, Advances in Financial Machine Learning, chapter 7. A corrected
    outcome counts from its correction on, so a row corrected late is purged rather than learned early.

    Args:
        frame: columns outcome (0 or 1), predict_at and known_at (of the outcome), tz-aware UTC; any order.
        split: shares, blocks and embargo of the declaration.
        test_from: where the test part (each block of it) begins instead of the newest `split.test` of the rows; what
            lies there is then only answered, never judged by itself, so any number of rows may lie there.
        groups: columns that together name a row's group; no group is learned and asked in one block.

    Raises:
        LearnError: a time or outcome is missing, or a part would hold fewer than twenty rows or one outcome.
    """
    _check(frame)
    times = times_of(frame, groups)
    cuts = _cuts(frame["predict_at"], split) if test_from is None else _told(test_from)
    ends = [*cuts[1:], None]
    blocks = [_block(times, cut, end, embargo=split.embargo) for cut, end in zip(cuts, ends, strict=True)]
    _check_blocks(blocks, frame["outcome"], split, parts=("train", "test") if test_from is None else ("train",))
    test = np.sort(np.concatenate([block.test for block in blocks]))
    used = np.union1d(test, np.concatenate([block.train for block in blocks]))
    return TimeSplit(
        train=blocks[-1].train,
        test=test,
        test_from=blocks[-1].test_from,
        first_at=frame["predict_at"].min().to_pydatetime(),
        last_at=frame["predict_at"].max().to_pydatetime(),
        purged=len(frame) - len(used),
        blocks=tuple(blocks),
    )


def times_of(frame: pd.DataFrame, groups: Sequence[str] = ()) -> Times:
    """Times and groups of labelled rows."""
    predict_at, known_at = (frame[name].dt.tz_convert(None).to_numpy() for name in ("predict_at", "known_at"))
    found = frame.groupby(list(groups), sort=False, dropna=False).ngroup().to_numpy() if groups else None
    return Times(predict_at, known_at, found)


def inner_folds(times: Times, *, folds: int, embargo: timedelta) -> Iterator[tuple[Mask, Mask]]:
    """Walk-forward folds inside training rows: masks (n,) of what is learned and of what is asked then.

    The rows are cut into `folds` + 1 blocks of equal numbers by time; each but the first is asked of a model that
    knows what was known before it.
    """
    ordered = np.sort(times.predict_at)
    cuts = [ordered[len(ordered) * number // (folds + 1)] for number in range(1, folds + 1)]
    for number, cut in enumerate(cuts):
        asked = times.predict_at >= cut
        if number + 1 < len(cuts):
            asked &= times.predict_at < cuts[number + 1]
        yield times.learned_by(cut, embargo=embargo, asked=asked), asked


def newest_part(times: Times, *, fraction: float, embargo: timedelta) -> tuple[Mask, Mask]:
    """Masks (n,) of older rows and of the newest `fraction`, with what `learned_by` leaves of the older ones."""
    cut = np.sort(times.predict_at)[min(int(len(times.predict_at) * (1 - fraction)), len(times.predict_at) - 1)]
    watched = times.predict_at >= cut
    return times.learned_by(cut, embargo=embargo, asked=watched), watched


def _cuts(times: pd.Series[pd.Timestamp], split: Split) -> list[pd.Timestamp]:
    """Where the test part begins; walking forward, where each of its blocks of equal numbers of rows does."""
    blocks = 1 if split.walk_forward is None else split.walk_forward.folds
    shares = (1 - split.test * (blocks - number) / blocks for number in range(blocks))
    return sorted({_instant(times, share) for share in shares})


def _told(test_from: datetime | Sequence[datetime]) -> list[pd.Timestamp]:
    return [pd.Timestamp(cut) for cut in ([test_from] if isinstance(test_from, datetime) else test_from)]


def _block(times: Times, cut: pd.Timestamp, end: pd.Timestamp | None, *, embargo: timedelta) -> Block:
    """The rows asked from `cut` until `end`, and those that a model asked then may have learned."""
    at = _utc(cut)
    asked = times.predict_at >= at
    if end is not None:
        asked &= times.predict_at < _utc(end)
    train = times.learned_by(at, embargo=embargo, asked=asked)
    return Block(np.flatnonzero(train), np.flatnonzero(asked), cut.to_pydatetime())


def _utc(at: pd.Timestamp) -> np.datetime64:
    return np.datetime64(at.tz_convert(None))


def _check(frame: pd.DataFrame) -> None:
    if frame.empty:
        raise LearnError("the training set has no rows: materialise labels and features that overlap in time")
    for column in ("predict_at", "known_at", "outcome"):
        if frame[column].isna().any():
            missing = int(frame[column].isna().sum())
            raise LearnError(f"{missing} training rows have no {column}; mend the label's SQL")
    wrong = frame.loc[~frame["outcome"].isin((0, 1)), "outcome"]
    if len(wrong):
        raise LearnError(f"outcome must be 0 or 1, got {wrong.iloc[0]} in {len(wrong)} rows; mend the label's SQL")


def _instant(times: pd.Series[pd.Timestamp], share: float) -> pd.Timestamp:
    ordered = times.sort_values(kind="stable")
    found: pd.Timestamp = ordered.iloc[min(int(len(ordered) * share), len(ordered) - 1)]
    return found


def _check_blocks(
    blocks: Sequence[Block], outcomes: pd.Series[float], split: Split, *, parts: Sequence[Literal["train", "test"]]
) -> None:
    for block in blocks:
        for part in parts:
            _require(part, outcomes.iloc[block.train if part == "train" else block.test], split)


def _require(name: str, outcomes: pd.Series[float], split: Split) -> None:
    if len(outcomes) < ROWS_MIN:
        asked_again = f", or evaluate.split.group ({split.group}) leaves too few" if split.group else ""
        raise LearnError(
            f"the {name} part has {len(outcomes)} rows; at least {ROWS_MIN} are required: "
            f"bring more labelled rows, or make evaluate.split.embargo ({split.embargo}) shorter{asked_again}"
        )
    if outcomes.min() == outcomes.max():
        raise LearnError(
            f"the {name} part has only outcome {outcomes.iloc[0]:g} in {len(outcomes)} rows; both are required: "
            "bring a longer history"
        )
