"""Fixtures every room shares: real data and a fixed clock."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data sets named by FORECASTLE_DATA; required in CI, a printed skip elsewhere."""
    folder = os.environ.get("FORECASTLE_DATA")
    if folder:
        return Path(folder).resolve(strict=True)
    if os.environ.get("CI"):
        pytest.fail("CI must run on real data: set FORECASTLE_DATA to the folder that holds prediction_markets/")
    pytest.skip("FORECASTLE_DATA is not set: real data sets are not on this machine")


@pytest.fixture
def noon() -> datetime:
    """One fixed instant, for tests that need a clock."""
    return datetime(2026, 6, 1, 12, tzinfo=UTC)
