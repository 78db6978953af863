"""Where nothing drifts nothing alarms: the newest weeks of a simulated order book against its own training rows."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from forecastle.learn.split import time_split
from forecastle.measure.drift import DriftTable, Tolerance, drift_table
from forecastle.measure.reference import reference
from forecastle.store.population import population
from tests.systems.churn.conftest import NOW
from tests.systems.sources import train_on


def drift_of(system: LoadedSystem, training: pd.DataFrame, rows: pd.DataFrame) -> DriftTable:
    """The comparison of the drift asset: references from the rows that train, tolerances as declared."""
    declared, features = system.declaration, system.declaration.features()
    learned = training.iloc[time_split(training, declared.evaluate.split).train]
    references = {
        name: reference(learned[name].to_numpy(np.float64), unit=features[name].unit or "", points=1_000)
        for name in declared.model_features("lightgbm")
    }
    limits = declared.drift
    tolerance = Tolerance(
        psi=limits.psi_tolerance, null_rate=limits.null_rate_tolerance, tail_rate=limits.tail_rate_tolerance
    )
    return drift_table(references, rows, tolerance=tolerance, alpha=limits.alpha)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_shop_that_does_not_drift_does_not_alarm(churn: LoadedSystem, tmp_path: Path, seed: int) -> None:
    """The last four Mondays of all customers, at different days of the week and times of the year.

    The same rows with revenue in pence, and with days that count as hours, do alarm.
    """
    asked_at = NOW + timedelta(days=61 * seed)
    churn.function("simulate:world")(tmp_path / "data" / "churn", seed=seed, now=asked_at)
    warehouse, version = train_on(churn, tmp_path / "data", tmp_path / "warehouse", now=asked_at)
    training = warehouse.frame(version)
    rows = population(warehouse, churn, now=asked_at, window=churn.declaration.drift.window)
    assert rows["predict_at"].nunique() == 4
    assert not drift_of(churn, training, rows).alarms
    moved = rows.assign(
        revenue_180d_gbp=rows["revenue_180d_gbp"] * 100, days_since_last_order=rows["days_since_last_order"] * 24
    )
    assert drift_of(churn, training, moved).alarms == ("days_since_last_order", "revenue_180d_gbp")
