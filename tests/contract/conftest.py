"""A small whole system in a folder, which tests break one fault at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from forecastle.contract.errors import ContractError
from forecastle.contract.load import load_system

SYSTEM_YAML = """\
system: rain
description: Will it rain at a station tomorrow?
owner: team:weather

entity:
  station:
    keys: {station_id: int64}

sources:
  readings:
    kind: csv
    path: "${DATA}/readings.csv"
    event_at: read_at
    known_at: {delay: 5m}
    key: [station, read_at]
    time_zone: Europe/Berlin
    freshness: {warn: 1h, fail: 1d}
    columns:
      station: {dtype: int64, unit: id, min: 0}
      read_at: {dtype: timestamp, unit: utc}
      pressure: {dtype: float64, unit: score, min: 800, max: 1100}
  days:
    kind: parquet
    path: "${DATA}/days.parquet"
    event_at: day
    known_at: told_at
    key: [station, day]
    columns:
      station: {dtype: int64, unit: id, min: 0}
      day: {dtype: date, unit: date}
      rained: {dtype: int64, unit: flag, min: 0, max: 1}
      told_at: {dtype: timestamp, unit: utc}

feature_views:
  weather:
    entity: station
    sql: weather.sql
    ttl: 2d
    features:
      chance: {dtype: float64, unit: probability, min: 0, max: 1, missing: last}
      pressure_mean: {dtype: float64, unit: score, nullable: true, missing: default}

on_demand:
  signals:
    function: "features:signals"
    inputs: [chance, pressure_mean]
    features:
      tension: {dtype: float64, unit: ratio, nullable: true}

label:
  sql: outcome.sql
  matures: 2d
  columns:
    region: {dtype: string, unit: category}

models:
  trees:
    estimator: lightgbm.LGBMClassifier
    params: {n_estimators: 10}

evaluate:
  split: {embargo: 1d}
  baseline: chance
  slices: [region]
  cluster: station_id

gates:
  miscalibration_max: 0.1
  suspicious_gain: 0.1

drift:
  window: 4w

retrain:
  schedule: "0 6 * * mon-fri"
  max_age: 2d

simulate: "simulate:world"
"""

WEATHER_SQL = """\
-- One row per reading.
WITH shaped AS (
  SELECT
    readings.station,
    readings.read_at,
    readings.known_at,
    AVG(readings.pressure) OVER (PARTITION BY readings.station ORDER BY readings.read_at) AS mean
  FROM readings
)
SELECT
  shaped.station AS station_id,
  shaped.read_at AS event_at,
  shaped.known_at AS known_at,
  1.0 / (1.0 + EXP(shaped.mean - 1000.0)) AS chance,
  shaped.mean AS pressure_mean
FROM shaped
"""

OUTCOME_SQL = """\
SELECT
  days.station AS station_id,
  CAST(days.day AS TIMESTAMPTZ) AS predict_at,
  days.rained AS outcome,
  days.told_at AS known_at,
  'north' AS region
FROM days
"""

FEATURES_PY = """\
import math


def signals(*, chance, pressure_mean):
    return {"tension": chance * pressure_mean}
"""

SIMULATE_PY = """\
import a_module_that_is_nowhere


def world(folder, *, seed, now, days=30):
    return folder
"""


@pytest.fixture
def rain(tmp_path: Path) -> Path:
    """The folder of a whole system that loads without a problem."""
    folder = tmp_path / "rain"
    folder.mkdir()
    texts = {
        "system.yaml": SYSTEM_YAML,
        "weather.sql": WEATHER_SQL,
        "outcome.sql": OUTCOME_SQL,
        "features.py": FEATURES_PY,
        "simulate.py": SIMULATE_PY,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def edit(rain: Path) -> Callable[[str, str, str], int]:
    """Replace the one place where a text stands in a file of `rain`; gives the line of the change."""

    def replace(file: str, old: str, new: str) -> int:
        path = rain / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return text[: text.index(old)].count("\n") + 1

    return replace


def told(folder: Path) -> list[tuple[str, str, str]]:
    """Place, fault and hint of every problem of a system that does not load."""
    with pytest.raises(ContractError) as caught:
        load_system(folder)
    return [(f"{Path(p.file).name}:{p.line}", p.text, p.hint) for p in caught.value.problems]
