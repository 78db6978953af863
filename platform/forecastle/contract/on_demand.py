"""On-demand features over whole columns: the same functions, the same values, as one request computes.

Belongs here: calling a feature set's functions by name over arrays and checking what they give back.
Does not belong here: one request (`serve/resolve.py` calls the same functions with scalars), loading code.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from forecastle.contract.errors import FeatureError
from forecastle.contract.feature_set import FeatureSet

FloatArray = NDArray[np.float64]


def on_demand_columns(feature_set: FeatureSet, columns: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Every on-demand feature of a feature set, by name, each of the inputs' shape (n,); null is NaN.

    Args:
        feature_set: holds the functions and their declared inputs and outputs.
        columns: arrays (n,) of at least every declared input.

    Raises:
        FeatureError: a function fails, gives other features than it declares, or another number of rows.
    """
    made: dict[str, FloatArray] = {}
    functions = feature_set.functions()
    for spec in feature_set.on_demand:
        rows = len(columns[spec.inputs[0]])
        try:
            given = functions[spec.name](**{name: _read_only(columns[name]) for name in spec.inputs})
        except Exception as error:  # a system's own code may raise anything
            raise FeatureError(f"{spec.function} fails over {rows} rows: {error!r}") from error
        if set(given) != set(spec.outputs):
            raise FeatureError(
                f"{spec.function} gives {', '.join(sorted(given))}; it is declared to give {', '.join(spec.outputs)}"
            )
        for name in spec.outputs:
            values = np.asarray(given[name], dtype=np.float64)
            if values.shape != (rows,):
                raise FeatureError(f"{spec.function} gives {name} of shape {values.shape}; ({rows},) is expected")
            made[name] = values
    return made


def _read_only(values: FloatArray) -> FloatArray:
    """A function that changed its input in place would change the feature everybody else reads."""
    view = values.view()
    view.flags.writeable = False
    return view
