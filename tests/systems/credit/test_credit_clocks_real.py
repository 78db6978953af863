"""Real loans of a lender whose two clocks are an hour apart: the clock check finds it, the declared zone mends it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from forecastle.contract.source import Source
from forecastle.store.clocks import ClockReport, compare_clocks
from forecastle.store.sources import ingest
from forecastle.store.warehouse import Warehouse

NOW = datetime(2017, 8, 1, tzinfo=UTC)
TIME = {"dtype": "timestamp", "unit": "utc"}


def loans(zone: str) -> Source:
    """Loans by approval, which `zone` is said to be the clock of, beside the moment at which they were asked for."""
    return Source.model_validate(
        {
            "kind": "parquet",
            "path": "${DATA}/credit/superlender_loans.parquet",
            "event_at": "creationdate",
            "known_at": "approveddate",
            "key": ["systemloanid"],
            "time_zone": zone,
            "columns": {"systemloanid": {"dtype": "int64", "unit": "id"}, "creationdate": TIME, "approveddate": TIME},
        }
    )


def checked(folder: Path, data: Path, source: Source) -> ClockReport:
    """Read the loans and compare their clocks as the `clocks` check does."""
    warehouse = Warehouse(folder, clock=lambda: NOW)
    version = ingest(warehouse, "credit", "loans", source, data=data).source
    return compare_clocks(warehouse, "credit", source, version, now=NOW)


@pytest.mark.parametrize("zone", ["UTC", "Africa/Lagos"])
def test_the_clock_check_finds_the_hour_whatever_zone_both_are_said_to_have(
    real_data: Path, tmp_path: Path, zone: str
) -> None:
    """Every loan seems to be approved an hour after it was asked for: one of the two is in another zone."""
    report = checked(tmp_path, real_data, loans(zone))
    assert not report.ok
    assert "1 h" in report.sentence
    assert [pair.gap.shift_seconds for pair in report.pairs] == [3600.0]


def test_mixing_the_clocks_hides_repayments_that_were_known(real_data: Path) -> None:
    """Before a new loan's creation, read as it stands, 756 repayments seem to lie ahead; before its approval none."""
    folder = real_data / "credit"
    ahead = (
        duckdb.connect()
        .execute(
            f"""
        SELECT COUNT(*) FILTER (WHERE past.closeddate > new.creationdate) AS by_creation,
          COUNT(*) FILTER (WHERE past.closeddate > new.creationdate + INTERVAL 1 HOUR) AS by_shifted_creation,
          COUNT(*) FILTER (WHERE past.closeddate > new.approveddate) AS by_approval
        FROM '{folder}/superlender_loans.parquet' AS new
        INNER JOIN '{folder}/superlender_previous_loans.parquet' AS past USING (customer_id)
        """
        )
        .fetchone()
    )
    assert ahead is not None
    assert (ahead[0], ahead[2]) == (756, 0)
