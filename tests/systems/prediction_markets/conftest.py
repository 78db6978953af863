"""What tests of prediction markets share: the system, a simulated world, and its SQL over any sources."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem, load_system
from tests.systems.sources import empty_tables, in_order, sources_of, train_on

__all__ = ["FOLDER", "in_order", "train_on"]

FOLDER = Path(__file__).parents[3] / "platform" / "systems" / "prediction_markets"
SEED = 11

Run = Callable[[duckdb.DuckDBPyConnection, str], pd.DataFrame]


@pytest.fixture(scope="session")
def system() -> LoadedSystem:
    """The system as it is declared."""
    return load_system(FOLDER)


@pytest.fixture(scope="session")
def now() -> datetime:
    """The instant at which the simulated world is looked at."""
    return datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def simulated(system: LoadedSystem, now: datetime, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one simulated world of 500 markets."""
    data = tmp_path_factory.mktemp("simulated")
    system.function("simulate:world")(data / "prediction_markets", seed=SEED, now=now, markets=500, days=240)
    return data


@pytest.fixture(scope="session")
def simulated_sources(system: LoadedSystem, simulated: Path) -> duckdb.DuckDBPyConnection:
    """The simulated world's sources, each a table of its name."""
    return sources_of(system, simulated)


@pytest.fixture(scope="session")
def real_sources(system: LoadedSystem, real_data: Path) -> duckdb.DuckDBPyConnection:
    """The real sources, each a table of its name."""
    return sources_of(system, real_data)


@pytest.fixture
def empty_sources(system: LoadedSystem) -> duckdb.DuckDBPyConnection:
    """Every source as an empty table, for rows written by hand."""
    return empty_tables(system)


@pytest.fixture(scope="session")
def run(system: LoadedSystem) -> Run:
    """Runs one SQL file of the system over the tables of a connection."""

    def run_file(connection: duckdb.DuckDBPyConnection, file: str) -> pd.DataFrame:
        return connection.sql(system.sql[file]).to_arrow_table().to_pandas()

    return run_file
