"""What tests of churn share: the system, a simulated order book, the real one, and orders written by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem, load_system
from tests.systems.sources import empty_tables, sources_of

FOLDER = Path(__file__).parents[3] / "platform" / "systems" / "churn"
SEED = 11
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
# A Monday, so that weeks are easy to count.
FIRST = datetime(2026, 1, 5, 8, tzinfo=UTC)

Booked = tuple[int, float, str, float]
Run = Callable[[str, list[Booked]], pd.DataFrame]


@pytest.fixture(scope="session")
def churn() -> LoadedSystem:
    """The system as it is declared."""
    return load_system(FOLDER)


@pytest.fixture(scope="session")
def order_book(churn: LoadedSystem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one simulated order book of some hundred customers."""
    data = tmp_path_factory.mktemp("orders")
    churn.function("simulate:world")(data / "churn", seed=SEED, now=NOW, customers=600, days=420)
    return data


@pytest.fixture(scope="session")
def simulated_orders(churn: LoadedSystem, order_book: Path) -> duckdb.DuckDBPyConnection:
    """The simulated order book as the table `orders`."""
    return sources_of(churn, order_book)


@pytest.fixture(scope="session")
def real_orders(churn: LoadedSystem, real_data: Path) -> duckdb.DuckDBPyConnection:
    """The real order book as the table `orders`."""
    return sources_of(churn, real_data)


@pytest.fixture
def booked(churn: LoadedSystem) -> Run:
    """Runs one SQL file over orders given as (customer, days after `FIRST`, kind, amount in GBP)."""

    def run(file: str, orders: list[Booked]) -> pd.DataFrame:
        connection = empty_tables(churn)
        columns = "customer_id, ts, kind, lines, units, products, amount, country, event_at, known_at"
        for customer, days, kind, amount in orders:
            at = FIRST + timedelta(days=days)
            row = [customer, at, kind, 1, 1, 1, amount, "France" if customer == 9 else "United Kingdom", at, at]
            connection.execute(f"INSERT INTO orders ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        return run_sql(churn, connection, file)

    return run


def run_sql(system: LoadedSystem, connection: duckdb.DuckDBPyConnection, file: str) -> pd.DataFrame:
    """What a SQL file of the system gives over the tables of a connection."""
    return connection.sql(system.sql[file]).to_arrow_table().to_pandas()
