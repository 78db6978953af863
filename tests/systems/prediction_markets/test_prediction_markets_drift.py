"""Where nothing drifts nothing alarms: new weeks of a simulated world against its own training rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from forecastle.learn.split import time_split
from forecastle.measure.drift import DriftTable, Tolerance, drift_table
from forecastle.measure.reference import reference
from forecastle.store.population import population
from tests.systems.prediction_markets.conftest import train_on


def drift_of(system: LoadedSystem, training: pd.DataFrame, rows: pd.DataFrame) -> DriftTable:
    """The comparison of the drift asset: references from the rows that train, tolerances as declared."""
    declared, features = system.declaration, system.declaration.features()
    learned = training.iloc[time_split(training, declared.evaluate.split).train]
    references = {
        name: reference(learned[name], unit=features[name].unit or "", points=1_000)
        for name in declared.model_features("lightgbm")
    }
    tolerance = Tolerance(
        psi=declared.drift.psi_tolerance,
        null_rate=declared.drift.null_rate_tolerance,
        tail_rate=declared.drift.tail_rate_tolerance,
    )
    return drift_table(references, rows, tolerance=tolerance, alpha=declared.drift.alpha)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 8, 9])
def test_a_world_that_does_not_drift_does_not_alarm(
    system: LoadedSystem, now: datetime, tmp_path: Path, seed: int
) -> None:
    """The last four Mondays of all live markets against the training rows, at different days of the week.

    The same rows with prices in percent and volumes of only half the markets do alarm.
    """
    asked_at = now + timedelta(days=seed)
    system.function("simulate:world")(tmp_path / "data" / "prediction_markets", seed=seed, now=asked_at)
    warehouse, version = train_on(system, tmp_path / "data", tmp_path / "warehouse", now=asked_at)
    training = warehouse.frame(version)
    rows = population(warehouse, system, now=asked_at, window=system.declaration.drift.window)
    assert rows["predict_at"].nunique() == 4
    assert not drift_of(system, training, rows).alarms
    moved = rows.assign(
        market_price=rows["market_price"] * 100, volume_24h=rows["volume_24h"].where(rows["market_id"] % 2 == 0)
    )
    assert drift_of(system, training, moved).alarms == ("market_price", "volume_24h")
