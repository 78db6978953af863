"""What tests of prediction markets share: the system, a simulated world, and its SQL over any sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem, load_system
from forecastle.contract.source import KnownFrom, Source
from forecastle.store.delta_log import TableVersion
from forecastle.store.feature_views import publish_view
from forecastle.store.sources import ingest, read_source
from forecastle.store.training_set import publish_training_set
from forecastle.store.warehouse import Warehouse

FOLDER = Path(__file__).parents[3] / "platform" / "systems" / "prediction_markets"
SEED = 11
SQL_TYPES = {
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "string": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
}

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
    connection = utc_connection()
    for name, source in system.declaration.sources.items():
        columns = ", ".join(f'"{c}" {SQL_TYPES[d.dtype]}' for c, d in source.columns.items())
        if isinstance(source.known_at, KnownFrom):
            columns += ", known_at TIMESTAMPTZ"
        connection.execute(f'CREATE TABLE "{name}" ({columns})')
    return connection


@pytest.fixture(scope="session")
def run(system: LoadedSystem) -> Run:
    """Runs one SQL file of the system over the tables of a connection."""

    def run_file(connection: duckdb.DuckDBPyConnection, file: str) -> pd.DataFrame:
        return connection.sql(system.sql[file]).to_arrow_table().to_pandas()

    return run_file


def utc_connection() -> duckdb.DuckDBPyConnection:
    """An empty database in memory whose session zone is UTC."""
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def in_order(system: LoadedSystem) -> list[tuple[str, Source]]:
    """Every source, those whose knowledge time another one tells last."""
    return sorted(system.declaration.sources.items(), key=lambda item: isinstance(item[1].known_at, KnownFrom))


def train_on(
    system: LoadedSystem, data: Path, folder: Path, *, now: datetime, sql: dict[str, str] | None = None
) -> tuple[Warehouse, TableVersion]:
    """Everything up to a training set in a warehouse; `sql` replaces text of single views."""
    warehouse = Warehouse(folder, clock=lambda: now)
    for name, source in in_order(system):
        ingest(warehouse, system.name, name, source, data=data)
    changed = replace(system, sql={**system.sql, **(sql or {})})
    for view in system.declaration.feature_views:
        publish_view(warehouse, changed, view)
    return warehouse, publish_training_set(warehouse, system, now=now)


def sources_of(system: LoadedSystem, data: Path) -> duckdb.DuckDBPyConnection:
    """Read every source of a data folder by its contract."""
    connection = utc_connection()
    for name, source in in_order(system):
        seen = f'"{source.known_at.latest}"' if isinstance(source.known_at, KnownFrom) else None
        read = read_source(name, source, data=data, connection=connection, seen=seen)
        connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM {read.table}')
    return connection
