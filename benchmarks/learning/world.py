"""A system of thirty features and as many models as are wanted, and rows for it; nothing here is timed.

Belongs here: the declaration, its SQL, seeded rows.
Does not belong here: measuring (`l1_factory.py` and its neighbours).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from forecastle.contract.load import LoadedSystem, load_system

NAME = "plant"
FEATURES = [f"f{number:02d}" for number in range(28)]
NOW = datetime(2026, 6, 1, tzinfo=UTC)
BOOSTED = "lightgbm.LGBMClassifier, params: {{n_estimators: 100, num_leaves: {leaves}, n_jobs: 1, verbosity: -1}}"
LINEAR = "sklearn.linear_model.LogisticRegression, params: {{C: {strength}}}, preprocess: standard"

HEAD = """
system: plant
description: Will the machine stop within a day?
owner: team:benchmarks
entity: {{machine: {{keys: {{machine_id: int64}}}}}}
sources:
  readings:
    kind: parquet
    path: "${{DATA}}/plant/readings.parquet"
    event_at: at
    known_at: at
    key: [machine_id, at]
    columns:
      machine_id: {{dtype: int64, unit: id}}
      at: {{dtype: timestamp, unit: utc}}
{columns}
feature_views:
  state: {{entity: machine, sql: state.sql, ttl: 2d, features: {{{features}}}}}
label: {{sql: stops.sql, matures: 1d}}
models:
{models}
evaluate: {{split: {{test: 0.25, folds: 5, embargo: 1d}}, baseline: guess}}
gates: {{brier_margin: 0.05, champion_margin: 0.05, miscalibration_max: 0.1, suspicious_gain: 0.5}}
drift: {{window: 14d}}
retrain: {{schedule: "0 3 * * *", max_age: 7d}}
"""


def write_plant(parent: Path, *, models: str) -> LoadedSystem:
    """The system below `parent`, loaded."""
    names = ["guess", "line", *FEATURES]
    unit = {"guess": "probability", "line": "category"}
    column = "{{dtype: {dtype}, unit: {unit}}}"
    told = {n: column.format(dtype="int64" if n == "line" else "float64", unit=unit.get(n, "score")) for n in names}
    folder = parent / NAME
    folder.mkdir(parents=True)
    (folder / "system.yaml").write_text(
        HEAD.format(
            columns="\n".join(f"      {name}: {text}" for name, text in told.items()),
            features=", ".join(f"{name}: {text}" for name, text in told.items()),
            models=models,
        )
    )
    readings = ", ".join(f"readings.{name}" for name in ["machine_id", "event_at", "known_at", *names])
    (folder / "state.sql").write_text(f"SELECT {readings} FROM readings\n")
    (folder / "stops.sql").write_text(
        "SELECT readings.machine_id, readings.at AS predict_at, 1 AS outcome, readings.known_at FROM readings\n"
    )
    return load_system(folder)


def estimators(boosted: int, linear: int) -> str:
    """Entries of a matrix: boosted trees of different sizes, linear models of different penalties."""
    lines = [f"b{n}: {{estimator: {BOOSTED.format(leaves=4 + n)}}}" for n in range(boosted)]
    lines += [f"l{n}: {{estimator: {LINEAR.format(strength=10.0 ** (n - 3))}}}" for n in range(linear)]
    return "\n".join(f"        {line}" for line in lines)


def plant_rows(rows: int, *, days: int = 365, seed: int = 0) -> pd.DataFrame:
    """A training set: every feature tells a little, and a guess tells most."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(rows, len(FEATURES)))
    odds = matrix @ generator.normal(0, 0.3, len(FEATURES))
    risk = 1 / (1 + np.exp(-odds))
    at = pd.Series(pd.date_range(NOW - timedelta(days=days), NOW, periods=rows, tz="UTC")).dt.as_unit("us")
    frame = pd.DataFrame(matrix, columns=FEATURES)
    return frame.assign(
        machine_id=generator.integers(0, max(rows // 10, 10), rows),
        predict_at=at,
        known_at=at + pd.Timedelta(hours=12),
        outcome=(generator.random(rows) < risk).astype(np.int64),
        guess=np.clip(1 / (1 + np.exp(-(odds + generator.normal(0, 1, rows)))), 0.01, 0.99),
        line=generator.integers(0, 10, rows),
    )
