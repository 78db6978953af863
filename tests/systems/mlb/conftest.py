"""What tests of mlb share: the system, a simulated season, the real one, and lines written by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem, load_system
from tests.systems.sources import empty_tables, sources_of

FOLDER = Path(__file__).parents[3] / "platform" / "systems" / "mlb"
SEED = 5
NOW = datetime(2026, 6, 1, 18, tzinfo=UTC)
START = datetime(2016, 5, 10, 23, 10, tzinfo=UTC)

Line = tuple[float, int | None, int | None]
Lined = Callable[[list[Line]], pd.DataFrame]


@pytest.fixture(scope="session")
def mlb() -> LoadedSystem:
    """The system as it is declared."""
    return load_system(FOLDER)


@pytest.fixture(scope="session")
def season(mlb: LoadedSystem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one simulated season of forty days."""
    data = tmp_path_factory.mktemp("season")
    mlb.function("simulate:world")(data / "mlb", seed=SEED, now=NOW, days=40)
    return data


@pytest.fixture(scope="session")
def real_games(mlb: LoadedSystem, real_data: Path) -> duckdb.DuckDBPyConnection:
    """Every real source as a table."""
    return sources_of(mlb, real_data)


@pytest.fixture
def lined(mlb: LoadedSystem) -> Lined:
    """Runs line_movement.sql over lines of one game, given as (minutes before the start, home and away moneyline)."""

    def run(lines: list[Line]) -> pd.DataFrame:
        connection = empty_tables(mlb)
        connection.execute(
            "INSERT INTO games (game_id, start_ts, known_at) VALUES ('BOS201605100', ?, ?)",
            [START, START - timedelta(days=1)],
        )
        for seq, (before, home, away) in enumerate(lines):
            at = START - timedelta(minutes=before)
            # Every other line came by the stream; the archive has the first one of those too.
            for table in ("lines", "live_lines") if seq == 1 else ("lines",) if seq % 2 == 0 else ("live_lines",):
                connection.execute(
                    f"INSERT INTO {table} (game_id, seq, entered_ts, ml_home, ml_away) VALUES (?, ?, ?, ?, ?)",
                    ["BOS201605100", seq, at, home, away],
                )
        return run_sql(mlb, connection, "line_movement.sql").sort_values("event_at", ignore_index=True)

    return run


def run_sql(system: LoadedSystem, connection: duckdb.DuckDBPyConnection, file: str) -> pd.DataFrame:
    """What a SQL file of the system gives over the tables of a connection."""
    return connection.sql(system.sql[file]).to_arrow_table().to_pandas()
