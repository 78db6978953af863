"""Time splits: what a model may have learned by the time it is asked.

Belongs here: cutting labelled rows by prediction time and label knowledge time.
Does not belong here: joins (`store/`), fitting (`train.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Split

ROWS_MIN = 20


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """Row positions of each part and the instant that divides them.

    A row trains only when it was asked before `test_from` and its outcome was known `embargo` before that; it
    tests when it was asked at or after `test_from`. Every other row is purged. `first_at` and `last_at` are the
    earliest and the latest `predict_at` of all rows. Times are UTC.
    """

    train: np.ndarray
    test: np.ndarray
    test_from: datetime
    first_at: datetime
    last_at: datetime
    purged: int


def time_split(frame: pd.DataFrame, split: Split, *, test_from: datetime | None = None) -> TimeSplit:
    """Split labelled rows by time.

    Purging and embargo: Lopez de Prado 2018, Advances in Financial Machine Learning, chapter 7. A corrected
    outcome counts from its correction on, so a row corrected late is purged rather than learned early.

    Args:
        frame: columns outcome (0 or 1), predict_at and known_at (of the outcome), tz-aware UTC; any order.
        split: shares and embargo of the declaration.
        test_from: where the test part begins instead of the newest `split.test` of the rows; what lies there is
            then only answered, never judged by itself, so any number of rows may lie there.

    Raises:
        LearnError: a time or outcome is missing, or a part would hold fewer than twenty rows or one outcome.
    """
    _check(frame)
    predict_at = frame["predict_at"]
    known_at = frame["known_at"]
    cut = _instant(predict_at, 1 - split.test) if test_from is None else pd.Timestamp(test_from)
    train = (predict_at < cut) & (known_at <= cut - split.embargo)
    test = predict_at >= cut
    judged = {"train": train, **({"test": test} if test_from is None else {})}
    for name, mask in judged.items():
        _require(name, frame.loc[mask, "outcome"], split.embargo)
    return TimeSplit(
        train=np.flatnonzero(train),
        test=np.flatnonzero(test),
        test_from=cut.to_pydatetime(),
        first_at=predict_at.min().to_pydatetime(),
        last_at=predict_at.max().to_pydatetime(),
        purged=int((~(train | test)).sum()),
    )


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


def _require(name: str, outcomes: pd.Series[float], embargo: timedelta) -> None:
    if len(outcomes) < ROWS_MIN:
        raise LearnError(
            f"the {name} part has {len(outcomes)} rows; at least {ROWS_MIN} are required: "
            f"bring more labelled rows, or make evaluate.split.embargo ({embargo}) shorter"
        )
    if outcomes.min() == outcomes.max():
        raise LearnError(
            f"the {name} part has only outcome {outcomes.iloc[0]:g} in {len(outcomes)} rows; both are required: "
            "bring a longer history"
        )
