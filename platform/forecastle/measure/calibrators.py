"""Calibrators: frozen maps from a model's score to a probability that comes true as often as it says.

Belongs here: applying a calibrator to one score or many, its interval, and its JSON form.
Does not belong here: fitting and choosing (`recalibration.py`), measuring miscalibration
(`decomposition.py`).
The serving process imports this module, so NumPy is all it needs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from forecastle.contract.errors import MeasureError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from forecastle.measure.arrays import FloatArray

Steps = tuple[float, ...]

# Scores are held this far from 0 and 1 before a logarithm, so that a certain score can still be moved.
SCORE_MARGIN = 1e-12


@dataclass(frozen=True, slots=True)
class Calibrator:
    """What every calibrator can do; `parameters` is None where the data decide how many there are.

    `apply` and `apply_scalar` give the same bits for the same score on the same machine.
    """

    name: ClassVar[str]
    parameters: ClassVar[int | None]

    def apply(self, scores: ArrayLike) -> FloatArray:
        """Calibrated probabilities, of the scores' shape.

        Raises:
            MeasureError: a score is NaN or outside [0, 1].
        """
        p = np.asarray(scores, dtype=np.float64)
        bad = ~((p >= 0.0) & (p <= 1.0))
        if bad.any():
            raise _outside(float(p[bad].flat[0]))
        return np.asarray(self._map(p))

    def apply_scalar(self, score: float) -> float:
        """Calibrated probability of one score, without array overhead; bit-equal with `apply`.

        Raises:
            MeasureError: the score is NaN or outside [0, 1].
        """
        if not 0.0 <= score <= 1.0:
            raise _outside(score)
        return float(self._map_scalar(score))

    def interval(self, scores: ArrayLike) -> tuple[FloatArray, FloatArray] | None:  # noqa: ARG002
        """Arrays (low, high) around the probability, or None where the calibrator gives no interval."""
        return None

    def interval_scalar(self, score: float) -> tuple[float, float] | None:  # noqa: ARG002
        """`interval` of one score, as floats."""
        return None

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict from which `calibrator_from_json` restores an equal calibrator."""
        return {"calibrator": self.name} | {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    def _map(self, p: Any) -> Any:
        return p

    def _map_scalar(self, p: float) -> Any:
        return self._map(p)


@dataclass(frozen=True, slots=True)
class Identity(Calibrator):
    """The score is the probability."""

    name: ClassVar[str] = "identity"
    parameters: ClassVar[int | None] = 0


@dataclass(frozen=True, slots=True)
class Temperature(Calibrator):
    """logit q = slope · logit p with slope = 1 / temperature >= 0 (Guo et al. 2017, arXiv 1706.04599)."""

    slope: float

    name: ClassVar[str] = "temperature"
    parameters: ClassVar[int | None] = 1

    def _map(self, p: Any) -> Any:
        return sigmoid(self.slope * log_odds(p))


@dataclass(frozen=True, slots=True)
class Platt(Calibrator):
    """logit q = slope · logit p + intercept, slope >= 0 (Platt 1999, on the logit: the identity is in)."""

    slope: float
    intercept: float

    name: ClassVar[str] = "platt"
    parameters: ClassVar[int | None] = 2

    def _map(self, p: Any) -> Any:
        return sigmoid(self.slope * log_odds(p) + self.intercept)


@dataclass(frozen=True, slots=True)
class Beta(Calibrator):
    """logit q = a · ln p − b · ln(1 − p) + c with a, b >= 0 (Kull, Silva Filho & Flach 2017, AISTATS)."""

    a: float
    b: float
    c: float

    name: ClassVar[str] = "beta"
    parameters: ClassVar[int | None] = 3

    def _map(self, p: Any) -> Any:
        p = inside(p)
        return sigmoid(self.a * np.log(p) - self.b * np.log1p(-p) + self.c)


@dataclass(frozen=True, slots=True)
class Isotonic(Calibrator):
    """Straight lines between the ends of the pooled blocks (Zadrozny & Elkan 2002), constant outside them.

    Values are held in [1/(n+2), 1 − 1/(n+2)] for n calibration rows: no finite sample proves certainty.
    """

    scores: Steps
    values: Steps

    name: ClassVar[str] = "isotonic"
    parameters: ClassVar[int | None] = None

    def _map(self, p: Any) -> Any:
        x, y = np.asarray(self.scores), np.asarray(self.values)
        right = np.clip(np.searchsorted(x, p, side="right"), 1, x.size - 1)
        left = right - 1
        share = (np.clip(p, x[0], x[-1]) - x[left]) / (x[right] - x[left])
        return y[left] + share * (y[right] - y[left])

    def _map_scalar(self, p: float) -> float:
        x, y = self.scores, self.values
        right = min(max(bisect_right(x, p), 1), len(x) - 1)
        left = right - 1
        share = (min(max(p, x[0]), x[-1]) - x[left]) / (x[right] - x[left])
        return y[left] + share * (y[right] - y[left])


@dataclass(frozen=True, slots=True)
class VennAbers(Calibrator):
    """Two isotonic fits, one for each outcome the new case may have; q = p1 / (1 − p0 + p1) in [p0, p1].

    Inductive Venn-Abers predictor (Vovk & Petej 2014; Vovk, Petej & Fedorova 2015, arXiv 1511.00213). p0
    steps up at each of `lower_scores`, p1 just after each of `upper_scores`; values have one entry more than
    scores.
    """

    lower_scores: Steps
    lower_values: Steps
    upper_scores: Steps
    upper_values: Steps

    name: ClassVar[str] = "venn_abers"
    parameters: ClassVar[int | None] = None

    def interval(self, scores: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Arrays (p0, p1) of the scores' shape; one of the two is calibrated if rows are exchangeable."""
        p = np.asarray(scores, dtype=np.float64)
        low = np.asarray(self.lower_values)[np.searchsorted(self.lower_scores, p, side="right")]
        high = np.asarray(self.upper_values)[np.searchsorted(self.upper_scores, p, side="left")]
        return np.asarray(low), np.asarray(high)

    def interval_scalar(self, score: float) -> tuple[float, float]:
        """(p0, p1) of one score."""
        low = self.lower_values[bisect_right(self.lower_scores, score)]
        return low, self.upper_values[bisect_left(self.upper_scores, score)]

    def _map(self, p: Any) -> Any:
        low, high = self.interval(p)
        return high / (1.0 - low + high)

    def _map_scalar(self, p: float) -> float:
        low, high = self.interval_scalar(p)
        return high / (1.0 - low + high)


# In the order of preference when scores are as good as equal: fewer parameters first.
CALIBRATORS: dict[str, type[Calibrator]] = {
    kind.name: kind for kind in (Identity, Temperature, Platt, Beta, VennAbers, Isotonic)
}


def calibrator_from_json(record: dict[str, Any]) -> Calibrator:
    """Restore what `Calibrator.to_json` wrote; equal to the original, bit for bit.

    Raises:
        MeasureError: the calibrator is unknown or its numbers are not the ones it needs.
    """
    kind = CALIBRATORS.get(record.get("calibrator", ""))
    if kind is None:
        got = str(record.get("calibrator"))
        raise MeasureError(f"unknown calibrator {got!r}: {did_you_mean(got, CALIBRATORS)}")
    got_keys, needed = set(record) - {"calibrator"}, {field.name for field in fields(kind)}
    if got_keys != needed:
        raise MeasureError(
            f"calibrator {kind.name!r} needs {sorted(needed)}, got {sorted(got_keys)}: "
            "the record was written by another version"
        )
    return kind(**{key: tuple(record[key]) if isinstance(record[key], list) else record[key] for key in needed})


def log_odds(p: Any) -> Any:
    """The logit ln p/(1 − p) of a probability (float or array) held `SCORE_MARGIN` from 0 and 1; NaN stays NaN."""
    p = inside(p)
    return np.log(p) - np.log1p(-p)


def inside(p: Any) -> Any:
    """A probability (float or array) held `SCORE_MARGIN` away from 0 and 1; NaN stays NaN."""
    if isinstance(p, float):
        return min(max(p, SCORE_MARGIN), 1.0 - SCORE_MARGIN)
    return np.clip(p, SCORE_MARGIN, 1.0 - SCORE_MARGIN)


def sigmoid(z: Any) -> Any:
    """1 / (1 + e^−z) of log-odds (float or array)."""
    # exp overflows beyond 709; a probability of e^-700 is 0 for every purpose.
    bounded = max(z, -700.0) if isinstance(z, float) else np.maximum(z, -700.0)
    return 1.0 / (1.0 + np.exp(-bounded))


def _outside(score: float) -> MeasureError:
    return MeasureError(f"score must lie in [0, 1], got {score}: calibrators take the model's probability")
