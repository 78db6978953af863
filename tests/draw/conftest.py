"""Forecasts that are known to be too low above one half, and what is measured of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastle.measure.calibration_report import CalibrationReport, ReportOptions, calibration_report
from forecastle.measure.isotonic import Cells, pool_ties

ROWS = 3000


@pytest.fixture(scope="session")
def forecasts() -> tuple[np.ndarray, np.ndarray]:
    """(outcomes, probabilities): events come true more often than forecast above 0.5."""
    generator = np.random.default_rng(5)
    p = np.round(generator.beta(1.2, 1.6, ROWS), 3)
    rate = np.where(p > 0.5, p + 0.2 * np.sin(np.pi * (2 * p - 1)), p)
    return (generator.random(ROWS) < np.clip(rate, 0, 1)).astype(int), p


@pytest.fixture(scope="session")
def cells(forecasts: tuple[np.ndarray, np.ndarray]) -> Cells:
    """The forecasts pooled by probability."""
    return pool_ties(*forecasts)


@pytest.fixture(scope="session")
def report(forecasts: tuple[np.ndarray, np.ndarray]) -> CalibrationReport:
    """A report with every section."""
    y, p = forecasts
    generator = np.random.default_rng(6)
    return calibration_report(
        y,
        p,
        at=pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(np.linspace(0, 120, ROWS), unit="D"),
        segments={
            "category": generator.choice(["politics", "sports", "<b>science</b>"], ROWS, p=[0.6, 0.39, 0.01]),
            "venue": generator.choice(["one", "two"], ROWS),
        },
        baselines={"market price": np.clip(p + generator.normal(0, 0.05, ROWS), 0.01, 0.99)},
        options=ReportOptions(recalibrate=True, resamples=200, excluded_rows=37),
        seed=1,
    )
