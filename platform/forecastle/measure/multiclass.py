"""Calibration of forecasts over several classes, one class at a time.

Belongs here: the two binary questions a forecast over classes answers: how often each class comes true
(class-wise, one against the rest) and how often the class named most likely does (top label).
Does not belong here: the binary measures themselves. Never the confidence alone: pooled over classes, an
over-confident class hides behind an under-confident one (Gupta and Ramdas 2022, ICLR, arXiv 2107.08353).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import FloatArray, IntArray, as_numbers, as_weights, same_length
from forecastle.measure.cumulative import cumulative_calibration
from forecastle.measure.decomposition import decompose_cells
from forecastle.measure.isotonic import Cells, pool_ties
from forecastle.measure.multiple import benjamini_hochberg

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

View: TypeAlias = Literal["class_wise", "top_label"]
MULTICLASS_COLUMNS = (
    "view", "class", "n", "base_rate", "mean_probability",
    "brier", "miscalibration", "discrimination", "uncertainty",
    "ecce_range", "range_in_sigma", "p_value", "q_value", "is_small",
)  # fmt: skip
VIEWS: tuple[View, ...] = ("class_wise", "top_label")


def multiclass_calibration(
    outcomes: Any,
    probabilities: Any,
    *,
    classes: Sequence[Hashable],
    weights: Any | None = None,
    minimum_rows: int = 100,
) -> pd.DataFrame:
    """One row a view and class, columns `MULTICLASS_COLUMNS`; `probabilities` is (n, K), columns as `classes`.

    `outcomes` holds n class names. Rows follow `VIEWS` and `classes`; a class never named most likely has no
    row in the top-label view. `q_value` is Benjamini–Hochberg over the rows of both views that are not small;
    fewer than `minimum_rows` rows make `is_small`, with p and q missing. The class-wise Brier scores add up
    to the multiclass one, sum over classes of (1{y = k} - p_k)² (Brier 1950).

    Raises:
        MeasureError: as `class_cells`.
    """
    rows = [
        _row(view, name, cells)
        for view in VIEWS
        for name, cells in class_cells(outcomes, probabilities, classes=classes, view=view, weights=weights).items()
    ]
    table = pd.DataFrame(rows, columns=[column for column in MULTICLASS_COLUMNS if column not in _ADDED])
    is_small = table["n"] < minimum_rows
    q_values = np.full(len(table), np.nan)
    q_values[~is_small] = benjamini_hochberg(table.loc[~is_small, "p_value"].to_numpy())
    table = table.assign(p_value=table["p_value"].mask(is_small), q_value=q_values, is_small=is_small)
    return table[list(MULTICLASS_COLUMNS)]


def class_cells(
    outcomes: Any,
    probabilities: Any,
    *,
    classes: Sequence[Hashable],
    view: View = "class_wise",
    weights: Any | None = None,
) -> dict[Hashable, Cells]:
    """Pooled cells of each class, ready for every binary measure and curve of this room.

    `class_wise`: all n rows, the class's probability against "was it this class". `top_label`: the rows whose
    most likely class it is (the first of equals), that probability against "was it". A class that is nowhere
    the most likely has no entry then.

    Raises:
        MeasureError: missing or mismatched input, fewer than two or repeated classes, an outcome that is no
            class, rows that do not sum to 1 within 1e-6, or an unknown view.
    """
    if view not in VIEWS:
        raise MeasureError(f"view: got {view!r}; allowed: {', '.join(VIEWS)}")
    p = _distributions(probabilities, len(classes))
    codes = _class_codes(outcomes, classes)
    same_length(outcome=codes, probability=p)
    w = None if weights is None else as_weights(weights, n=codes.size)
    if view == "class_wise":
        return {name: pool_ties(codes == k, p[:, k], weights=w) for k, name in enumerate(classes)}
    top = p.argmax(axis=1)
    named = {k: np.flatnonzero(top == k) for k in range(len(classes))}
    return {
        classes[k]: pool_ties(codes[rows] == k, p[rows, k], weights=None if w is None else w[rows])
        for k, rows in named.items()
        if rows.size and (w is None or w[rows].sum() > 0.0)
    }


_ADDED = ("q_value", "is_small")


def _row(view: View, name: Hashable, cells: Cells) -> tuple[Any, ...]:
    brier, error = decompose_cells(cells), cumulative_calibration(cells)
    return (
        view, str(name), cells.rows, cells.base_rate, cells.mean_probability,
        brier.score, brier.miscalibration, brier.discrimination, brier.uncertainty,
        error.range, error.range_in_sigma, error.range_p_value,
    )  # fmt: skip


def _distributions(probabilities: Any, classes: int) -> FloatArray:
    p = as_numbers(probabilities, name="probabilities")
    if p.ndim != 2 or p.shape[0] == 0 or p.shape[1] != classes or classes < 2:
        raise MeasureError(
            f"probabilities: got shape {p.shape} for {classes} classes; (rows, classes) with at least one row "
            "and two classes is allowed; pass predict_proba whole"
        )
    sums = p.sum(axis=1)
    if p.min() < 0.0 or np.abs(sums - 1.0).max() > 1e-6:
        worst = int(np.abs(sums - 1.0).argmax())
        raise MeasureError(
            f"probabilities: got smallest {p.min():g} and a row sum of {sums[worst]:g} (row {worst}); values of "
            "at least 0 that sum to 1 in each row are allowed; divide by the row sums"
        )
    return np.minimum(p, 1.0)


def _class_codes(outcomes: Any, classes: Sequence[Hashable]) -> IntArray:
    if len(set(classes)) != len(classes):
        raise MeasureError(f"classes: got {list(classes)}; each class once, in the order of the columns")
    if np.ndim(outcomes) != 1 or len(outcomes) == 0:
        raise MeasureError(f"outcomes: got shape {np.shape(outcomes)}; one class name a row, and at least one row")
    codes = np.asarray(pd.Index(list(classes)).get_indexer(pd.Index(outcomes)), dtype=np.int64)
    if codes.min() < 0:
        unknown = np.asarray(outcomes, dtype=object)[int(np.argmin(codes))]
        raise MeasureError(
            f"outcomes: got {unknown!r}, which is not among the classes {list(classes)}; name every class, "
            "and leave rows without an outcome out"
        )
    return codes
