"""Evidence against calibration that may be watched: an e-process over outcomes in their order of arrival.

Belongs here: betting against forecasts with recalibrations learnt from the past alone.
Does not belong here: tests of one batch (`cumulative`, `bands`), risk alarms (`monitoring`), the running gap
by week (`periods`).
Sources: Henzi, Puke, Dimitriadis and Ziegel 2023, "A safe Hosmer-Lemeshow test", New England J. Statistics in
Data Science; Arnold, Henzi and Ziegel 2023, "Sequentially valid tests for forecast calibration", Ann. Appl. Stat.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import xlog1py, xlogy

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_outcomes, as_probabilities, same_length
from forecastle.measure.recalibration import fit_calibrator

if TYPE_CHECKING:
    from forecastle.measure.arrays import FloatArray

BETS = ("platt", "isotonic")
FIRST_BET = 50
_GROWTH = 1.5
_STAKE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationProcess:
    """Log e-value after each of n outcomes against "every forecast was the probability, given the past".

    At every look together P(e-value ever >= 1/alpha) <= alpha when that holds. `first_rejection` is the number
    of outcomes after which e first reached 1 / (1 - level), None when it never did. The e-value is infinite
    from the first outcome on that a forecast of 0 or 1 had excluded.
    """

    log_e: FloatArray
    level: float
    first_rejection: int | None

    @property
    def reason(self) -> str:
        """What the process says, for a person."""
        needed = 1.0 / (1.0 - self.level)
        last = f"e-value {np.exp(min(float(self.log_e[-1]), 700.0)):.4g} after {self.log_e.size} outcomes"
        if self.first_rejection is None:
            return f"{last}; {needed:.0f} would be evidence against calibration at any look"
        return f"{last}; not calibrated: {needed:.0f} was reached after {self.first_rejection} outcomes"


def calibration_process(outcomes: Any, probabilities: Any, *, level: float = 0.95) -> CalibrationProcess:
    """E-process of n outcomes (0/1) and the forecasts made for them, in the order in which outcomes arrived.

    Each outcome multiplies the e-value by q^y (1-q)^(1-y) / (p^y (1-p)^(1-y)), where q lies halfway between
    the forecast p and what a recalibration fitted to earlier outcomes makes of it. Two recalibrations (`BETS`)
    are followed and their e-values averaged. They are fitted after 50 outcomes and whenever half as many more
    have arrived, so the cost stays O(n log n). Outcomes that arrive between a forecast and its own outcome are
    learnt from as well: valid when outcomes are independent given their forecasts; where they are not (one game,
    many bets), pass one forecast of each.

    Raises:
        MeasureError: empty, missing or mismatched input, or a level outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise MeasureError(f"level must lie strictly between 0 and 1 (0.95 for 95 %), got {level}")
    y, p = as_outcomes(outcomes), as_probabilities(probabilities)
    same_length(outcome=y, probability=p)
    gains = np.zeros((len(BETS), y.size))
    for start, end in _blocks(y.size):
        if 0.0 < y[:start].sum() < start:
            for row, name in enumerate(BETS):
                q = (1.0 - _STAKE) * p[start:end] + _STAKE * fit_calibrator(name, y[:start], p[:start]).apply(
                    p[start:end]
                )
                gains[row, start:end] = _log_ratio(y[start:end], p[start:end], q)
    gains[:, _is_excluded(y, p)] = np.inf
    log_e = np.logaddexp.reduce(np.cumsum(gains, axis=1), axis=0) - np.log(len(BETS))
    reached = np.flatnonzero(log_e >= -np.log(1.0 - level))
    return CalibrationProcess(log_e, level, int(reached[0]) + 1 if reached.size else None)


def _blocks(n: int) -> list[tuple[int, int]]:
    starts = [FIRST_BET]
    while starts[-1] < n:
        starts.append(int(np.ceil(starts[-1] * _GROWTH)))
    return [(start, min(end, n)) for start, end in pairwise(starts)]


def _is_excluded(y: FloatArray, p: FloatArray) -> Any:
    return np.where(y == 1.0, p, 1.0 - p) == 0.0


def _log_ratio(y: FloatArray, p: FloatArray, q: FloatArray) -> FloatArray:
    """Log likelihood ratio of q to p; rows that p excludes are set by the caller."""
    possible = ~_is_excluded(y, p)
    ratio = np.zeros_like(p)
    y, p, q = y[possible], p[possible], q[possible]
    ratio[possible] = xlogy(y, q) + xlog1py(1.0 - y, -q) - xlogy(y, p) - xlog1py(1.0 - y, -p)
    return ratio
