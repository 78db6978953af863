"""Scoring many rows with a bundle: the batch twin of one request, bit for bit.

Belongs here: from rows with features by name to raw scores and probabilities.
Does not belong here: joining features (`store/`), one request (`serve/`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecastle.contract.errors import BundleError
from forecastle.contract.on_demand import on_demand_columns
from forecastle.learn.bundle import Bundle
from forecastle.learn.native_booster import NativeBooster

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Raw scores and calibrated probabilities, each (n,)."""

    raw: FloatArray
    probability: FloatArray


def score_rows(bundle: Bundle, frame: pd.DataFrame) -> Scores:
    """Score rows that hold every view feature of the bundle's feature set by name; column order does not matter.

    On-demand features are computed here by the bundle's own code, never taken from the rows.

    Raises:
        BundleError: a feature the bundle needs is not among the columns.
    """
    feature_set = bundle.feature_set
    from_views = [spec.name for spec in feature_set.features if spec.view is not None]
    missing = [name for name in from_views if name not in frame]
    if missing:
        raise BundleError(f"bundle {bundle.hash[:12]} needs features that the rows lack: {', '.join(missing)}")
    columns = {name: frame[name].to_numpy(np.float64, na_value=np.nan) for name in from_views}
    columns.update(on_demand_columns(feature_set, columns))
    matrix = np.column_stack([columns[name] for name in feature_set.model_features])
    booster = NativeBooster(bundle.model_bytes, expected_sha256=bundle.model_sha256)
    raw = booster.predict(np.ascontiguousarray(matrix))
    return Scores(raw, bundle.calibrator.apply(raw))
