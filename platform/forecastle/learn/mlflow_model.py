"""MLflow's door to a bundle: what `mlflow.pyfunc.load_model("models:/SYSTEM@champion")` opens.

Belongs here: the loader that MLflow calls by name, and the rows it hands in and takes back.
Does not belong here: writing MLflow's description of the model (`tracking.py`), scoring (`score.py`).
Loader modules: https://mlflow.org/docs/latest/api_reference/python_api/mlflow.pyfunc.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from forecastle.learn.bundle import Bundle, load_bundle
from forecastle.learn.score import score_rows


class BundleModel:
    """A bundle as MLflow asks it: rows of features by name in, calibrated probabilities out."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Columns probability and raw_score, one row a row; NaN where the bundle has no model for a row's segment.

        `model_input` holds every feature that a view gives, by name, in any order; what is computed from them is
        computed here, by the bundle's own code.

        Raises:
            BundleError: a feature is not among the columns.
        """
        scores = score_rows(self.bundle, model_input)
        return pd.DataFrame({"probability": scores.probability, "raw_score": scores.raw}, index=model_input.index)


def _load_pyfunc(path: str) -> BundleModel:
    """Open the bundle at `path`; the environment says whose signature it needs, and whether it may be a pickle."""
    return BundleModel(load_bundle(Path(path)))
