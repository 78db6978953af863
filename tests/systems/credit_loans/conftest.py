"""What tests of credit_loans share: the system, and loans written by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem, load_system
from tests.systems.sources import empty_tables

FOLDER = Path(__file__).parents[3] / "platform" / "systems" / "credit_loans"
LOANS_NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)

PastLoan = tuple[int, int, float, float]
"""Customer, number, days after `FIRST_DAY` of approval and of repayment; 30 days, 10,000 NGN."""
ScoredLoan = tuple[int, int, float, int | None]
"""Customer, number, days after `FIRST_DAY` of approval, the lender's word."""
RunLoans = Callable[[str, list[PastLoan], list[ScoredLoan]], pd.DataFrame]


@pytest.fixture(scope="session")
def credit_loans() -> LoadedSystem:
    """The system as it is declared."""
    return load_system(FOLDER)


@pytest.fixture
def lent(credit_loans: LoadedSystem) -> RunLoans:
    """Runs a SQL file over loans; ids are customer × 100 + number. Every customer is 35 and employed."""

    def run(file: str, past: list[PastLoan], scored: list[ScoredLoan]) -> pd.DataFrame:
        connection = empty_tables(credit_loans)
        for table in ("loans", "past_loans", "repayments"):
            for time in ("event_at", "known_at"):
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {time} TIMESTAMPTZ")
        terms = "systemloanid, customer_id, creationdate, approveddate, loannumber, loanamount, totaldue, termdays"
        for customer, number, approved, *_ in (*past, *scored):
            table = "past_loans" if (customer, number) in {(row[0], row[1]) for row in past} else "loans"
            at = FIRST_DAY + timedelta(days=approved)
            values = [customer * 100 + number, customer, at, at, number, 10_000, 13_000, 30]
            connection.execute(
                f"INSERT INTO {table} ({terms}, event_at, known_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [*values, at, at],
            )
        for customer, number, approved, closed in past:
            start, end = (FIRST_DAY + timedelta(days=days) for days in (approved, closed))
            due = start + timedelta(days=30)
            connection.execute(
                "INSERT INTO repayments (systemloanid, customer_id, approveddate, closeddate, firstduedate,"
                " firstrepaiddate, loanamount, termdays, event_at, known_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [customer * 100 + number, customer, start, end, due, end, 10_000, 30, end, end],
            )
        for customer, number, _, bad in scored:
            connection.execute("UPDATE loans SET bad = ? WHERE systemloanid = ?", [bad, customer * 100 + number])
        connection.execute(
            "INSERT INTO customers (customer_id, birthdate, employment_status_clients, known_at)"
            " SELECT customer_id, DATE '1991-01-01', 'Permanent', MIN(known_at) FROM past_loans GROUP BY customer_id"
        )
        return connection.sql(credit_loans.sql[file]).to_arrow_table().to_pandas()

    return run
