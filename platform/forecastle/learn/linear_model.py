"""A logistic regression as JSON, answered in one fixed order of additions.

Belongs here: the numbers, one row and many rows with the same bits, what each feature adds.
Does not belong here: fitting (`fit.py`). A matrix product would add in another order for other numbers of rows.
Served: imports nothing but NumPy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecastle.contract.errors import BundleError
from forecastle.learn.explanation import Explanation
from forecastle.measure.calibrators import sigmoid

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LinearModel:
    """log-odds = intercept + Σ coefficient × value, added in the order of the features.

    `means` are those of the training rows: an explanation says how far a row is from them.
    """

    intercept: float
    coefficients: tuple[float, ...]
    means: tuple[float, ...]

    @property
    def width(self) -> int:
        """How many features a row has."""
        return len(self.coefficients)

    def scores(self, matrix: FloatArray) -> FloatArray:
        """Probabilities (n,) of a (n, `width`) matrix; NaN where a feature is NaN."""
        total = np.full(len(matrix), self.intercept, dtype=np.float64)
        for column, coefficient in zip(matrix.T, self.coefficients, strict=True):
            total = total + coefficient * column
        return np.asarray(sigmoid(total), dtype=np.float64)

    def score_row(self, values: Sequence[float]) -> float:
        """The same of one row."""
        return float(sigmoid(self._log_odds(values)))

    def explain_row(self, values: Sequence[float]) -> Explanation:
        """Each coefficient × (value − mean) of each feature; what the mean row gets is expected."""
        log_odds, expected = self._log_odds(values), self._log_odds(self.means)
        each = zip(self.coefficients, values, self.means, strict=True)
        parts = tuple(coefficient * (value - mean) for coefficient, value, mean in each)
        return Explanation(log_odds, expected, parts, math.fsum([*parts, expected, -log_odds]))

    def to_bytes(self) -> bytes:
        """JSON that `from_bytes` reads back with the same bits."""
        data = {"intercept": self.intercept, "coefficients": self.coefficients, "means": self.means}
        return json.dumps(data, sort_keys=True, allow_nan=False).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> LinearModel:
        """Read what `to_bytes` wrote.

        Raises:
            BundleError: it is not of that shape.
        """
        try:
            data = json.loads(content)
            found = cls(float(data["intercept"]), *(tuple(map(float, data[k])) for k in ("coefficients", "means")))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"model.json of a bundle cannot be read: {error!r}; build the bundle again") from error
        if len(found.coefficients) != len(found.means):
            raise BundleError("model.json of a bundle has other numbers of coefficients and means; build it again")
        return found

    def _log_odds(self, values: Sequence[float]) -> float:
        total = self.intercept
        for coefficient, value in zip(self.coefficients, values, strict=True):
            total += coefficient * value
        return total
