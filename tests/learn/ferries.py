"""A small system for tests of the learning room: will a ferry crossing arrive late?

Every crossing has a hidden risk; the captain's guess is a noisy view of it, wind and bookings tell a little more.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from forecastle.contract.load import LoadedSystem, load_system
from forecastle.learn.build import Recording, TrainingSetIdentity
from forecastle.learn.tracking import Tracking
from forecastle.store.feature_views import publish_view
from forecastle.store.sources import ingest
from forecastle.store.warehouse import Warehouse

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FEATURES = ("wind_mps", "guess", "booked_ratio", "strain")

DECLARATION = """
system: ferries
description: Will the crossing arrive late?
owner: team:tests
entity:
  crossing: {keys: {crossing_id: int64}}
sources:
  reports:
    kind: parquet
    path: "${DATA}/ferries/reports.parquet"
    event_at: made_at
    known_at: known_at
    key: [crossing_id, made_at, known_at]
    columns:
      crossing_id: {dtype: int64, unit: id}
      made_at: {dtype: timestamp, unit: utc}
      wind: {dtype: float64, unit: score, min: 0}
      guess: {dtype: float64, unit: probability, min: 0, max: 1}
      known_at: {dtype: timestamp, unit: utc}
  bookings:
    kind: parquet
    path: "${DATA}/ferries/bookings.parquet"
    event_at: booked_at
    known_at: booked_at
    key: [crossing_id, booked_at]
    columns:
      crossing_id: {dtype: int64, unit: id}
      booked_at: {dtype: timestamp, unit: utc}
      ratio: {dtype: float64, unit: ratio, min: 0, max: 1}
  arrivals:
    kind: parquet
    path: "${DATA}/ferries/arrivals.parquet"
    event_at: known_at
    known_at: known_at
    key: [crossing_id, known_at]
    columns:
      crossing_id: {dtype: int64, unit: id}
      asked_at: {dtype: timestamp, unit: utc}
      route: {dtype: string}
      is_late: {dtype: int64, unit: flag, allowed: [0, 1]}
      known_at: {dtype: timestamp, unit: utc}
feature_views:
  weather:
    entity: crossing
    sql: weather.sql
    ttl: 2d
    features:
      wind_mps: {dtype: float64, unit: score, min: 0, description: Wind at the pier.}
      guess: {dtype: float64, unit: probability, min: 0, max: 1, description: What the captain says.}
  load:
    entity: crossing
    sql: load.sql
    ttl: 5d
    features:
      booked_ratio: {dtype: float64, unit: ratio, min: 0, max: 1, nullable: true, missing: default}
on_demand:
  sea:
    function: features:sea
    inputs: [wind_mps, booked_ratio]
    features:
      strain: {dtype: float64, unit: score, nullable: true}
label:
  sql: late.sql
  matures: 1d
  columns:
    route: {dtype: string, unit: category}
models:
  trees:
    estimator: lightgbm.LGBMClassifier
    features: [wind_mps, guess, booked_ratio, strain]
    params: {n_estimators: 15, num_leaves: 4, min_child_samples: 10, n_jobs: 1, deterministic: true, verbosity: -1}
    seed: 3
evaluate: {split: {test: 0.3, folds: 4, embargo: 1d}, baseline: guess, slices: [route]}
gates: {brier_margin: 0.05, champion_margin: 0.02, miscalibration_max: 0.1, suspicious_gain: 0.1, rows_min: 50}
drift: {window: 14d}
retrain: {schedule: "0 3 * * *", max_age: 7d}
"""

SQL = {
    "weather.sql": (
        "SELECT reports.crossing_id, reports.event_at, reports.known_at, reports.wind AS wind_mps, reports.guess"
        " FROM reports"
    ),
    "load.sql": (
        "SELECT bookings.crossing_id, bookings.event_at, bookings.known_at, bookings.ratio AS booked_ratio"
        " FROM bookings"
    ),
    "late.sql": (
        "SELECT arrivals.crossing_id, arrivals.asked_at AS predict_at, arrivals.is_late AS outcome,"
        " arrivals.known_at, arrivals.route FROM arrivals"
    ),
}

CODE = """
import numpy as np

def sea(*, wind_mps, booked_ratio):
    return {"strain": np.log1p(np.array(wind_mps, dtype=np.float64)) * np.exp(np.array(booked_ratio, dtype=np.float64))}
"""


def write_system(parent: Path, *, code: str = CODE, declaration: str = DECLARATION) -> LoadedSystem:
    """The system's folder below `parent`, loaded."""
    folder = parent / "ferries"
    folder.mkdir(parents=True)
    (folder / "system.yaml").write_text(declaration)
    (folder / "features.py").write_text(code)
    for name, text in SQL.items():
        (folder / name).write_text(text + "\n")
    return load_system(folder)


def training_frame(rows: int = 600, *, seed: int = 0) -> pd.DataFrame:
    """Rows as the training set holds them: one crossing every six hours, its outcome known five hours later."""
    generator = np.random.default_rng(seed)
    risk = generator.beta(2, 3, rows)
    wind = 10 * risk + generator.exponential(2, rows)
    booked = np.where(generator.random(rows) < 0.2, np.nan, generator.random(rows))
    at = pd.date_range(START, periods=rows, freq="6h", tz="UTC").as_unit("us")
    return pd.DataFrame(
        {
            "crossing_id": np.arange(rows),
            "predict_at": at,
            "outcome": (generator.random(rows) < risk).astype(np.int64),
            "known_at": at + pd.Timedelta(hours=5),
            "route": np.where(generator.random(rows) < 0.5, "north", "south"),
            "wind_mps": wind,
            "guess": np.clip(risk + generator.normal(0, 0.05, rows), 0.01, 0.99),
            "booked_ratio": booked,
            "strain": np.log1p(wind) * np.exp(booked),
        }
    )


def identity(folder: Path, content_hash: str = "ab" * 32) -> TrainingSetIdentity:
    return TrainingSetIdentity(version=4, content_hash=content_hash, knowledge_until=NOW, path=folder / "rows.parquet")


def recording(folder: Path, *, run_id: str = "run-1", tracking: Tracking | None = None) -> Recording:
    """Where models of these rows are recorded: MLflow and bundles below `folder`."""
    return Recording(identity(folder), tracking or Tracking(folder / "mlflow"), folder / "bundles", NOW, run_id)


def put(data: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """Write one source file; names that end in `_at` are instants."""
    folder = data / "ferries"
    folder.mkdir(parents=True, exist_ok=True)
    instant = pa.timestamp("us", tz="UTC")
    columns = {n: pa.array([r[n] for r in rows], instant if n.endswith("_at") else None) for n in rows[0]}
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def report(
    crossing: int, made: datetime, *, wind: float = 5.0, guess: float = 0.5, known: datetime | None = None
) -> dict[str, Any]:
    return {"crossing_id": crossing, "made_at": made, "wind": wind, "guess": guess, "known_at": known or made}


def booking(crossing: int, at: datetime, ratio: float) -> dict[str, Any]:
    return {"crossing_id": crossing, "booked_at": at, "ratio": ratio}


def arrival(crossing: int, asked: datetime, late: int, known: datetime, route: str = "north") -> dict[str, Any]:
    return {"crossing_id": crossing, "asked_at": asked, "route": route, "is_late": late, "known_at": known}


def warehouse_of(system: LoadedSystem, root: Path, data: Path) -> Warehouse:
    """Sources and feature views published."""
    warehouse = Warehouse(root, clock=lambda: NOW)
    for name, source in system.declaration.sources.items():
        ingest(warehouse, system.name, name, source, data=data)
    for name in system.declaration.feature_views:
        publish_view(warehouse, system, name)
    return warehouse
