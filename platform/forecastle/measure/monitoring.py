"""Watching a live model without adding up false alarms: risk, drift from day to day, label maturity.

Belongs here: sequential alarms whose small state is carried from look to look; when labels are ripe.
Does not belong here: the comparison of two models (`comparison.py`), one day's drift table (`drift.py`),
clocks.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import FloatArray, as_finite, as_option
from forecastle.measure.confidence_sequence import SequenceState
from forecastle.measure.scores import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MATURITY_COLUMNS = ("delay_seconds", "arrived_share", "low", "high", "at_risk")


@dataclass(frozen=True, slots=True)
class RiskMonitor:
    """Has the loss risen above what it was on the source data by more than a tolerance? O(1) state, any time.

    `source_upper` is an upper bound of the source risk, `state` the empirical-Bernstein sequence of the live
    losses less `centre`; an alarm is raised when its lower bound exceeds source_upper + tolerance, and stays.
    Without such a rise P(ever an alarm) <= alpha, however often one looks (Podkopaev & Ramdas, ICLR 2022).
    Benign drift is silent.
    """

    alpha: float
    tolerance: float
    source_mean: float
    source_upper: float
    centre: float
    state: SequenceState
    is_alarmed: bool = False

    def update(self, losses: Any) -> RiskMonitor:
        """The monitor after more losses, shape (n,), in the order in which their labels arrived.

        Raises:
            MeasureError: a loss that is missing or outside the bounds given at the start.
        """
        state = self.state.update_many(as_finite(losses, name="loss") - self.centre)
        above = state.interval()[0] + self.centre > self.source_upper + self.tolerance
        return replace(self, state=state, is_alarmed=self.is_alarmed or above)

    @property
    def mean(self) -> float | None:
        """Mean live loss; None before the first."""
        return self.state.mean + self.centre if self.state.n else None

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the live risk that hold at all times together."""
        low, high = self.state.interval()
        return low + self.centre, high + self.centre

    @property
    def reason(self) -> str:
        """What the monitor sees, for a person."""
        if self.mean is None:
            return "no outcome has arrived yet"
        low, high = self.interval
        word = "alarm: live" if self.is_alarmed else "live"
        return (
            f"{word} risk {self.mean:.4f} [{low:.4f}, {high:.4f}] over {self.state.n} outcomes, "
            f"source at most {self.source_upper:.4f}, tolerance {self.tolerance:g}"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-ready dictionary; `from_json` gives the equal monitor back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RiskMonitor:
        """The monitor written by `to_json`."""
        return cls(**{**data, "state": SequenceState(**data["state"])})


def start_risk_monitor(
    source_losses: Any,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    tolerance: float = 0.01,
    alpha: float = 0.05,
    v_opt: float = 100.0,
) -> RiskMonitor:
    """A monitor that knows the source losses (held-out data of training), shape (n,), all within `bounds`.

    Brier and 0/1 losses have bounds (0, 1). Log loss has none: clip the probabilities to [eps, 1 - eps] by
    contract and pass (0, -ln eps). Source and live bounds each get alpha / 2. `v_opt` is the variance sum
    (about losses x their variance) at which the live bound is tightest.

    Raises:
        MeasureError: missing losses or losses outside the bounds, bounds in the wrong order.
    """
    as_option(tolerance, name="tolerance", high=math.inf)
    low, high = bounds
    if not (math.isfinite(high - low) and high > low):
        raise MeasureError(f"bounds: got {bounds}; (smallest, largest) possible loss, both finite, is allowed")
    centre = (low + high) / 2
    # One end of a two-sided interval at level 1 - alpha is a bound at alpha / 2.
    empty = SequenceState(width=high - low, level=1 - alpha, v_opt=v_opt)
    source = empty.update_many(as_finite(source_losses, name="source loss") - centre)
    return RiskMonitor(
        alpha=alpha,
        tolerance=tolerance,
        source_mean=source.mean + centre,
        source_upper=source.interval()[1] + centre,
        centre=centre,
        state=empty,
    )


@dataclass(frozen=True, slots=True)
class DriftWatch:
    """Evidence of drift over days, with one budget of false alarms for all features and the whole horizon.

    Each feature has a Shiryaev-Roberts statistic M = (M + 1) e, where e is the e-value of the day's p-value.
    Without drift E[M] is the number of days, so by Doob's inequality P(any alarm within `horizon_days`) <=
    alpha when the alarm level is features x horizon_days / alpha (Shin, Ramdas & Rinaldo 2023,
    "E-detectors"). It needs windows that do not overlap and p-values of tolerance tests, such as `p_value` of
    a `DriftTable`: the sampling error of the reference is the same every day.
    """

    alpha: float = 0.05
    horizon_days: int = 365
    days: int = 0
    log_statistics: tuple[tuple[str, float], ...] = ()

    def update(self, p_values: Mapping[str, float]) -> DriftWatch:
        """The watch after one more day; a feature without a p-value today keeps its statistic.

        Raises:
            MeasureError: a p-value outside [0, 1].
        """
        bad = {name: p for name, p in p_values.items() if not 0 <= p <= 1}
        if bad:
            raise MeasureError(f"p-values must lie in [0, 1], got {bad}; leave out what could not be tested")
        after = dict(self.log_statistics)
        for name, p in p_values.items():
            after[name] = float(np.logaddexp(after.get(name, -math.inf), 0.0)) + log_e_value(p)
        return replace(self, days=self.days + 1, log_statistics=tuple(sorted(after.items())))

    @property
    def log_level(self) -> float:
        """Logarithm of the statistic that alarms."""
        return math.log(max(len(self.log_statistics), 1) * self.horizon_days / self.alpha)

    @property
    def alarms(self) -> tuple[str, ...]:
        """Features whose statistic is at the alarm level now."""
        return tuple(name for name, value in self.log_statistics if value >= self.log_level)

    def reset(self, features: Collection[str]) -> DriftWatch:
        """The watch with these features started again, after somebody has acted on them."""
        return replace(self, log_statistics=tuple(kept for kept in self.log_statistics if kept[0] not in features))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready dictionary; `from_json` gives the equal watch back."""
        return {**asdict(self), "log_statistics": dict(self.log_statistics)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DriftWatch:
        """The watch written by `to_json`."""
        return cls(**{**data, "log_statistics": tuple(data["log_statistics"].items())})


def log_e_value(p_value: float) -> float:
    """Logarithm of the e-value (1 - p + p ln p) / (p ln² p) of a p-value (Vovk & Wang 2021, Ann. Stat. 49).

    With x = -ln p it is (e^x - 1 - x) / x²: 1/2 at p = 1, without limit as p falls to 0; p below 1e-300
    counts as 1e-300.

    Raises:
        MeasureError: a p-value that is not a number from 0 to 1.
    """
    if not 0.0 <= p_value <= 1.0:
        raise MeasureError(f"p-value: got {p_value}; 0 to 1 is allowed; leave out what could not be tested")
    x = -math.log(max(p_value, 1e-300))
    if x < 1e-3:
        return math.log(0.5 + x / 6)
    return x + math.log1p(-(1 + x) * math.exp(-x)) - 2 * math.log(x)


@dataclass(frozen=True, slots=True, eq=False)
class MaturityCurve:
    """Share of labels that have arrived by a delay, allowing for those still on their way.

    `curve` (columns `MATURITY_COLUMNS`) has one row for each delay at which a label arrived.
    """

    curve: pd.DataFrame
    arrived: int
    pending: int
    level: float

    def horizon_seconds(self, *, share: float = 0.99) -> float | None:
        """Smallest delay by which at least `share` of labels have arrived; None when that was never seen."""
        reached = self.curve.loc[self.curve["arrived_share"] >= share - 1e-12, "delay_seconds"]
        return float(reached.iloc[0]) if len(reached) else None


def maturity_curve(arrived_seconds: Any, pending_seconds: Any = (), *, level: float = 0.95) -> MaturityCurve:
    """Kaplan-Meier curve of label delays.

    `arrived_seconds` holds the delays of n labels, `pending_seconds` the ages of predictions that wait for
    theirs. Leaving the waiting ones out would make labels look faster than they are. Score only predictions
    older than the horizon: early labels are not a random subset. Intervals: Greenwood's variance on the
    log-log scale.

    Raises:
        MeasureError: no label has arrived, or a delay is missing or negative.
    """
    arrived = as_finite(arrived_seconds, name="arrived_seconds")
    waiting = as_finite(pending_seconds, name="pending_seconds") if len(pending_seconds) else np.empty(0)
    if min(arrived.min(), waiting.min(initial=0.0)) < 0:
        raise MeasureError("delays: got a label older than its prediction; a delay is at least 0; check the time zones")
    delays, counts = np.unique(arrived, return_counts=True)
    everyone = np.sort(np.concatenate([arrived, waiting]))
    at_risk = everyone.size - np.searchsorted(everyone, delays, side="left")
    left = np.cumprod(1 - counts / at_risk, dtype=np.float64)
    low, high = _log_log_bounds(left, counts, at_risk, level)
    values = (delays, 1 - left, 1 - high, 1 - low, at_risk)
    curve = pd.DataFrame(dict(zip(MATURITY_COLUMNS, values, strict=True)))
    return MaturityCurve(curve=curve, arrived=arrived.size, pending=waiting.size, level=level)


def _log_log_bounds(left: FloatArray, counts: Any, at_risk: Any, level: float) -> tuple[FloatArray, FloatArray]:
    """Bounds of a survival share; a share of 0 has none but itself."""
    alive = left > 0
    steps = np.divide(counts, at_risk * (at_risk - counts), out=np.zeros(left.size), where=at_risk > counts)
    log_left = np.log(np.where(alive, left, 0.5))
    spread = normal_quantile(level) * np.sqrt(np.cumsum(steps)) / -log_left
    low, high = np.exp(log_left * np.exp(spread)), np.exp(log_left * np.exp(-spread))
    return np.where(alive, low, 0.0), np.where(alive, high, 0.0)
