"""What tests of credit share: the system, a simulated card book, statements written by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem, load_system
from tests.systems.sources import empty_tables

FOLDER = Path(__file__).parents[3] / "platform" / "systems" / "credit"
CREDIT_NOW = datetime(2026, 6, 5, tzinfo=UTC)

Statement = tuple[int, int, int, float, float]
RunCredit = Callable[[str, list[Statement]], pd.DataFrame]


@pytest.fixture(scope="session")
def credit() -> LoadedSystem:
    """The system as it is declared."""
    return load_system(FOLDER)


@pytest.fixture
def stated(credit: LoadedSystem) -> RunCredit:
    """Runs a view's or the label's SQL over statements: client, month of 2026, status, bill and payment in NT$.

    Every client is a woman of 35 with a limit of 100,000 NT$ who has been to university.
    """

    def run(sql: str, statements: list[Statement]) -> pd.DataFrame:
        connection = empty_tables(credit)
        for client, month, status, bill, paid in statements:
            at = datetime(2026, month, 1, tzinfo=UTC)
            known = datetime(2026, month + 1, 1, tzinfo=UTC)
            connection.execute(
                "INSERT INTO statements (id, month, pay_status, bill_amt, pay_amt, event_at, known_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [client, at.date(), status, bill, paid, at, known],
            )
        connection.execute(
            "INSERT INTO clients (id, limit_bal, sex, education, age, known_at)"
            " SELECT id, 100000, 2, 2, 35, MIN(known_at) FROM statements GROUP BY id"
        )
        return connection.sql(credit.sql[sql]).to_arrow_table().to_pandas()

    return run
