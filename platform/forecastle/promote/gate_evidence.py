"""Evidence for gates: what is measured of a bundle beside its scores, each number with its interval.

Belongs here: miscalibration's interval, the time one row takes, outcomes of checks, and all evidence as one.
Does not belong here: scores and comparisons (`learn/evaluate.py`), differences between groups
(`learn/group_differences.py`), limits and verdicts (`gates.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from forecastle.contract.errors import LearnError, MeasureError
from forecastle.contract.system import System
from forecastle.learn.group_differences import GroupDifference, group_differences
from forecastle.learn.time_blocks import TimeBlocks, time_blocks
from forecastle.measure.decomposition import decomposition_intervals

_ALPHA: Final = 0.05
_QUANTILE: Final = 0.99


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of the data under a model found, in its own sentence."""

    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Latency:
    """99th percentile of `rows` single answers in milliseconds, and its distribution-free 95 % interval."""

    p99_ms: float
    low_ms: float
    high_ms: float
    rows: int
    warm_up_rows: int


@dataclass(frozen=True, slots=True)
class GateEvidence:
    """All that gates judge beside the evaluation; None where something was not or could not be measured.

    `fairness` has the groups of each declared fairness gate, in order; `withdrawn` is there only where a person has
    rolled back from this very bundle.
    """

    miscalibration: tuple[float, float] | None = None
    fairness: tuple[tuple[GroupDifference, ...], ...] = ()
    latency: Latency | None = None
    parity: Checked | None = None
    leakage: Checked | None = None
    withdrawn: Checked | None = None


def gate_evidence(
    rows: pd.DataFrame,
    *,
    declared: System,
    cluster: str,
    latency: Latency | None,
    parity: Checked | None,
    leakage: Checked | None,
    withdrawn: Checked | None = None,
    seed: int = 0,
) -> GateEvidence:
    """Measure test rows that hold outcome, probability, predict_at, the label columns and the cluster column.

    `latency`, `parity`, `leakage` and `withdrawn` are found elsewhere and passed on. Intervals resample blocks of time.
    """
    blocks = time_blocks(rows, cluster=cluster, block=declared.evaluate.block)
    fairness = tuple(group_differences(rows, gate, blocks=blocks, seed=seed) for gate in declared.gates.fairness)
    miscalibration = miscalibration_interval(rows, blocks, seed=seed)
    return GateEvidence(miscalibration, fairness, latency, parity, leakage, withdrawn)


def miscalibration_interval(rows: pd.DataFrame, blocks: TimeBlocks, *, seed: int) -> tuple[float, float] | None:
    """Basic 95 % bootstrap interval of CORP miscalibration (Brier); None with one block or one kind of outcome."""
    y, p = rows["outcome"].to_numpy(np.float64), rows["probability"].to_numpy(np.float64)
    try:
        found = decomposition_intervals(y, p, clusters=blocks.labels, seed=seed)
    except MeasureError:
        return None
    return next(record.miscalibration for record in found if record.rule == "brier")


def measure_latency(
    answer: Callable[[list[float]], object], rows: Sequence[Sequence[float]], *, count: int, timer: Callable[[], float]
) -> Latency:
    """Time single answers one by one in this process: `rows` in turn, `count` timed after a tenth as many that are not.

    Features, validation, log and HTTP are not in it; whatever else the machine does is. The interval is that of
    order statistics: how many of n answers lie below the true percentile is binomial (David & Nagaraja 2003, 7.1).

    Args:
        answer: from one row in the model's order to its probability.
        rows: such rows; a bundle's golden ones.
        count: how many answers are timed, at least 500.
        timer: seconds, never going back (`time.perf_counter`).

    Raises:
        LearnError: there are no rows, or fewer than 500 are to be timed.
    """
    if not rows or count < 500:
        raise LearnError(f"latency needs rows and at least 500 answers, got {len(rows)} rows and {count} answers")
    warm_up = count // 10
    asked = [list(rows[number % len(rows)]) for number in range(count + warm_up)]
    for row in asked[:warm_up]:
        answer(row)
    seconds = np.empty(count)
    for number, row in enumerate(asked[warm_up:]):
        begun = timer()
        answer(row)
        seconds[number] = timer() - begun
    ordered = np.sort(seconds) * 1_000
    low, high = stats.binom.ppf([_ALPHA / 2, 1 - _ALPHA / 2], count, _QUANTILE).astype(int)
    ends = (ordered[max(low - 1, 0)], ordered[min(high, count - 1)])
    return Latency(float(ordered[int(np.ceil(_QUANTILE * count)) - 1]), float(ends[0]), float(ends[1]), count, warm_up)
