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
    """Row positions of each part and the instants that divide them.

    A row trains only when its outcome was known `embargo` before `calibrate_from`; it calibrates only when its
    prediction stands at or after `calibrate_from` and its outcome was known `embargo` before `test_from`; it
    tests when its prediction stands at or after `test_from`. Every other row is purged. `first_at` and `last_at`
    are the earliest and the latest `predict_at` of all rows. Times are UTC.
    """

    train: np.ndarray
    calibrate: np.ndarray
    test: np.ndarray
    calibrate_from: datetime
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
    usable = (predict_at < cut) & (known_at <= cut - split.embargo)
    if not usable.any():
        raise LearnError(_too_few("train", 0, split.embargo))
    calibrate_from = _instant(predict_at[usable], 1 - split.calibrate)
    train = usable & (predict_at < calibrate_from) & (known_at <= calibrate_from - split.embargo)
    calibrate = usable & (predict_at >= calibrate_from)
    test = predict_at >= cut
    judged = {"train": train, "calibrate": calibrate, **({"test": test} if test_from is None else {})}
    for name, mask in judged.items():
        _require(name, frame.loc[mask, "outcome"], split.embargo)
    return TimeSplit(
        train=np.flatnonzero(train),
        calibrate=np.flatnonzero(calibrate),
        test=np.flatnonzero(test),
        calibrate_from=calibrate_from.to_pydatetime(),
        test_from=cut.to_pydatetime(),
        first_at=predict_at.min().to_pydatetime(),
        last_at=predict_at.max().to_pydatetime(),
        purged=int((~(train | calibrate | test)).sum()),
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
        raise LearnError(_too_few(name, len(outcomes), embargo))
    if outcomes.min() == outcomes.max():
        raise LearnError(
            f"the {name} part has only outcome {outcomes.iloc[0]:g} in {len(outcomes)} rows; both are required: "
            "bring a longer history"
        )


def _too_few(name: str, rows: int, embargo: timedelta) -> str:
    return (
        f"the {name} part has {rows} rows; at least {ROWS_MIN} are required: "
        f"bring more labelled rows, or make evaluate.split.embargo ({embargo}) shorter"
    )
