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
    prediction stands at or after `calibrate_from` and its outcome was known `embargo` before `test_from`; it tests
    when its prediction stands at or after `test_from`. Every other row is purged.
    """

    train: np.ndarray
    calibrate: np.ndarray
    test: np.ndarray
    calibrate_from: datetime
    test_from: datetime
    purged: int


def time_split(frame: pd.DataFrame, split: Split) -> TimeSplit:
    """Split labelled rows by time.

    Args:
        frame: columns predict_at and known_at (of the outcome), tz-aware UTC; any order.
        split: shares and embargo of the declaration.

    Raises:
        LearnError: a part would hold fewer than twenty rows or only one class.
    """
    predict_at = frame["predict_at"]
    known_at = frame["known_at"]
    test_from = _instant(predict_at, 1 - split.test)
    usable = (predict_at < test_from) & (known_at <= test_from - split.embargo)
    if not usable.any():
        raise LearnError(_too_few("train", 0, split.embargo))
    calibrate_from = _instant(predict_at[usable], 1 - split.calibrate)
    train = usable & (predict_at < calibrate_from) & (known_at <= calibrate_from - split.embargo)
    calibrate = usable & (predict_at >= calibrate_from)
    test = predict_at >= test_from
    for name, mask in (("train", train), ("calibrate", calibrate), ("test", test)):
        _require(name, frame.loc[mask, "outcome"], split.embargo)
    positions = [np.flatnonzero(mask.to_numpy()) for mask in (train, calibrate, test)]
    purged = len(frame) - sum(map(len, positions))
    return TimeSplit(*positions, calibrate_from.to_pydatetime(), test_from.to_pydatetime(), purged)


def _instant(times: pd.Series[pd.Timestamp], share: float) -> pd.Timestamp:
    ordered = times.sort_values(kind="stable")
    found: pd.Timestamp = ordered.iloc[min(int(len(ordered) * share), len(ordered) - 1)]
    return found


def _require(name: str, outcomes: pd.Series[float], embargo: timedelta) -> None:
    if len(outcomes) < ROWS_MIN:
        raise LearnError(_too_few(name, len(outcomes), embargo))
    if outcomes.nunique() < 2:
        raise LearnError(f"the {name} part has only outcome {outcomes.iloc[0]:g}; both outcomes are required")


def _too_few(name: str, rows: int, embargo: timedelta) -> str:
    return (
        f"the {name} part has {rows} rows; at least {ROWS_MIN} are required: "
        f"bring more labelled rows, or make evaluate.split.embargo ({embargo}) shorter"
    )
