"""The ferries as a factory: two routes, several models each, and one for all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from forecastle.contract.load import LoadedSystem
from tests.learn import ferries

PARAMS = "num_leaves: 4, min_child_samples: 10, n_jobs: 1, deterministic: true, verbosity: -1"
TREES = ferries.DECLARATION[ferries.DECLARATION.index("  trees:\n") : ferries.DECLARATION.index("evaluate:")]

MATRIX = f"""\
  trees:
    matrix:
      segments: {{is_night: [0, 1]}}
      estimators:
        short: {{estimator: lightgbm.LGBMClassifier, params: {{n_estimators: 5, {PARAMS}}}}}
        long: {{estimator: lightgbm.LGBMClassifier, params: {{n_estimators: 30, {PARAMS}}}}}
"""
EVERYBODY = f"""\
  everybody:
    estimator: lightgbm.LGBMClassifier
    features: [wind_mps, guess]
    params: {{n_estimators: 15, {PARAMS}}}
"""


def write_fleet(parent: Path, *, models: str = MATRIX + EVERYBODY, promote: str = "{choose: best}") -> LoadedSystem:
    """The ferries with a flag that divides their rows and the given models."""
    declaration = ferries.DECLARATION.replace(TREES, models).replace("gates:", f"promote: {promote}\ngates:")
    flag = "      is_night: {dtype: int64, unit: flag, allowed: [0, 1]}\n      booked_ratio:"
    declaration = declaration.replace("      booked_ratio:", flag)
    sql = dict(ferries.SQL)
    sql["load.sql"] = sql["load.sql"].replace("AS booked_ratio", "AS booked_ratio, 1 AS is_night")
    folder = parent / "ferries"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "system.yaml").write_text(declaration)
    (folder / "features.py").write_text(ferries.CODE)
    for name, text in sql.items():
        (folder / name).write_text(text + "\n")
    return ferries.load_system(folder)


def fleet_frame(rows: int = 900, *, seed: int = 0) -> pd.DataFrame:
    """Training rows of which every third is a crossing by night, when the wind counts twice."""
    frame = ferries.training_frame(rows, seed=seed)
    night = (np.arange(rows) % 3 == 0).astype(np.int64)
    return frame.assign(is_night=night, wind_mps=frame["wind_mps"] * (1 + night))
