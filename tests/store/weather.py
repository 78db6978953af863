"""A small system for tests of the store: temperatures of stations, and whether the next day freezes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from forecastle.contract.load import LoadedSystem, load_system

START = datetime(2026, 1, 1, tzinfo=UTC)

DECLARATION = """
system: weather
description: Will the station freeze tomorrow?
owner: team:tests
entity:
  station: {keys: {station_id: int64}}
sources:
  readings:
    kind: parquet
    path: "${DATA}/weather/readings.parquet"
    event_at: read_at
    known_at: known_at
    key: [station_id, read_at, known_at]
    columns:
      station_id: {dtype: int64, unit: id}
      read_at: {dtype: timestamp, unit: utc}
      celsius: {dtype: float64, unit: score, min: -90, max: 60}
      known_at: {dtype: timestamp, unit: utc}
feature_views:
  warmth:
    entity: station
    sql: warmth.sql
    ttl: 3d
    features:
      celsius: {dtype: float64, unit: score, min: -90, max: 60, nullable: true}
      is_cold: {dtype: bool, nullable: true}
on_demand:
  derived:
    function: features:derived
    inputs: [celsius]
    features:
      frost_probability: {dtype: float64, unit: probability, min: 0, max: 1, nullable: true}
label: {sql: freezes.sql, matures: 1d}
models:
  plain: {estimator: lightgbm.LGBMClassifier}
evaluate: {split: {embargo: 1d}, baseline: frost_probability}
gates: {miscalibration_max: 0.1, suspicious_gain: 0.5}
drift: {window: 7d}
retrain: {schedule: "0 3 * * *", max_age: 7d}
"""

WARMTH = """
SELECT readings.station_id AS station_id, readings.event_at AS event_at, {known_at} AS known_at,
  readings.celsius AS celsius, readings.celsius < 0 AS is_cold
FROM readings
"""

FREEZES = """
SELECT readings.station_id AS station_id, readings.event_at AS predict_at,
  CAST(readings.celsius < 0 AS BIGINT) AS outcome, readings.known_at + INTERVAL 1 DAY AS known_at
FROM readings
"""

FEATURES = """
import numpy as np

def derived(celsius):
    return {"frost_probability": 1.0 / (1.0 + np.exp(celsius))}
"""


def write_system(folder: Path, *, known_at: str = "readings.known_at") -> LoadedSystem:
    """Write the system's folder; `known_at` is the SQL of the view's knowledge time."""
    folder.mkdir(parents=True)
    (folder / "system.yaml").write_text(DECLARATION)
    (folder / "warmth.sql").write_text(WARMTH.format(known_at=known_at))
    (folder / "freezes.sql").write_text(FREEZES)
    (folder / "features.py").write_text(FEATURES)
    return load_system(folder)


def write_readings(data: Path, *, days: int = 20, stations: int = 3, lag_hours: int = 30) -> None:
    """One reading a station and day at noon, known `lag_hours` later; every fifth is restated two days after that."""
    rows = []
    for station in range(stations):
        for day in range(days):
            at = START + timedelta(days=day, hours=12)
            known = at + timedelta(hours=lag_hours)
            rows.append((station, at, float(day % 7 - 3 + station), known))
            if day % 5 == 0:
                rows.append((station, at, float(day % 7 - 2 + station), known + timedelta(days=2)))
    columns = list(zip(*rows, strict=True))
    kinds = (pa.int64(), pa.timestamp("us", tz="UTC"), pa.float64(), pa.timestamp("us", tz="UTC"))
    names = ("station_id", "read_at", "celsius", "known_at")
    (data / "weather").mkdir(parents=True, exist_ok=True)
    arrays = {n: pa.array(c, k) for n, c, k in zip(names, columns, kinds, strict=True)}
    pq.write_table(pa.table(arrays), data / "weather" / "readings.parquet")
