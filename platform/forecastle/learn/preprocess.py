"""What is done to features before an estimator sees them: medians for null, indicators, scaling, one column a value.

Belongs here: choosing it on training rows, doing it to one row and to many with the same bits, its JSON in the bundle.
Does not belong here: on-demand features (`contract/on_demand.py`), fitting estimators (`fit.py`).
Served: plain float64 arithmetic column by column; needs no scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from forecastle.contract.errors import BundleError

FloatArray = NDArray[np.float64]
Kind = Literal["value", "missing", "equals"]
KINDS: Final = ("value", "missing", "equals")


@dataclass(frozen=True, slots=True)
class Step:
    """One column that the estimator sees, made of the feature at position `source`.

    value: the feature, null as `fill` (null stays null where `fill` is None), minus `center`, divided by `scale`.
    missing: 1 where the feature is null, else 0. equals: 1 where the feature is `center`, else 0.
    """

    source: int
    kind: Kind
    fill: float | None = None
    center: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Preprocess:
    """The columns that the estimator sees, in order, made of `width` features."""

    width: int
    steps: tuple[Step, ...]

    def apply(self, matrix: FloatArray) -> FloatArray:
        """Columns (n, number of steps) of features (n, `width`)."""
        made = np.empty((len(matrix), len(self.steps)), dtype=np.float64)
        for index, step in enumerate(self.steps):
            column = matrix[:, step.source]
            if step.kind == "missing":
                made[:, index] = np.isnan(column)
            elif step.kind == "equals":
                made[:, index] = column == step.center
            else:
                filled = column if step.fill is None else np.where(np.isnan(column), step.fill, column)
                made[:, index] = (filled - step.center) / step.scale
        return made

    def apply_row(self, values: Sequence[float]) -> list[float]:
        """The same of one row, the same bits."""
        made = []
        for step in self.steps:
            value = values[step.source]
            if step.kind == "missing":
                made.append(float(math.isnan(value)))
            elif step.kind == "equals":
                made.append(float(value == step.center))
            else:
                filled = step.fill if step.fill is not None and math.isnan(value) else value
                made.append((filled - step.center) / step.scale)
        return made

    def names(self, features: Sequence[str]) -> tuple[str, ...]:
        """Names of the columns: the feature's own, `<feature>_is_missing`, `<feature>_is_<value>`."""
        told = {"value": "", "missing": "_is_missing"}
        return tuple(
            features[step.source] + told.get(step.kind, f"_is_{step.center:g}".replace("-", "minus_"))
            for step in self.steps
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data; `preprocess_from_json` gives an equal record."""
        steps = [[step.source, step.kind, step.fill, step.center, step.scale] for step in self.steps]
        return {"width": self.width, "steps": steps}


def preprocess_from_json(data: Mapping[str, Any]) -> Preprocess:
    """Read what `to_json` wrote.

    Raises:
        BundleError: it is not of that shape.
    """
    try:
        steps = tuple(Step(*step) for step in data["steps"])
        found = Preprocess(int(data["width"]), steps)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"preprocessing of a bundle cannot be read: {error!r}; build the bundle again") from error
    if any(step.kind not in KINDS or not 0 <= step.source < found.width or step.scale == 0 for step in steps):
        raise BundleError(
            "preprocessing of a bundle names a column or a kind that there is not; build the bundle again"
        )
    return found


def choose_preprocess(
    matrix: FloatArray, *, preprocess: str, one_hot: Mapping[int, Sequence[float]]
) -> Preprocess | None:
    """What a declaration asks for, learned from training rows; None where it asks for nothing.

    Medians, means and population standard deviations are of these rows alone; a constant feature is divided by one.

    Args:
        matrix: training rows (n, k), null as NaN.
        preprocess: none, impute or standard.
        one_hot: positions of features that become one column for each of their allowed values.
    """
    if preprocess == "none" and not one_hot:
        return None
    steps: list[Step] = []
    for source, column in enumerate(matrix.T):
        if source in one_hot:
            steps += [Step(source, "equals", center=float(value)) for value in one_hot[source]]
        elif preprocess == "none":
            steps.append(Step(source, "value"))
        else:
            steps += _numeric(source, column, scaled=preprocess == "standard")
    return Preprocess(matrix.shape[1], tuple(steps))


def _numeric(source: int, column: FloatArray, *, scaled: bool) -> list[Step]:
    null = np.isnan(column)
    fill = float(np.median(column[~null])) if not null.all() else 0.0
    center, scale = 0.0, 1.0
    if scaled:
        filled = np.where(null, fill, column)
        center, scale = float(filled.mean()), float(filled.std()) or 1.0
    value = Step(source, "value", fill=fill, center=center, scale=scale)
    return [value, Step(source, "missing")] if null.any() else [value]
