"""Real loans of a lender whose two clocks are an hour apart: the check finds it, the declaration mends it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from forecastle.contract.load import LoadedSystem
from forecastle.store.clocks import ClockReport, compare_clocks
from forecastle.store.sources import ingest
from forecastle.store.warehouse import Warehouse
from tests.systems.sources import sources_of

NOW = datetime(2017, 10, 31, 12, tzinfo=UTC)


def clocks_of(folder: Path, data: Path, system: LoadedSystem, name: str, **changed: Any) -> ClockReport:
    """Read a source, declared otherwise in some fields, and compare its clocks as the `clocks` check does."""
    warehouse = Warehouse(folder, clock=lambda: NOW)
    source = system.declaration.sources[name].model_copy(update=changed)
    version = ingest(warehouse, system.name, name, source, data=data).source
    return compare_clocks(warehouse, system.name, source, version, now=NOW)


@pytest.mark.parametrize("zone", ["UTC", "Africa/Lagos"])
@pytest.mark.parametrize("name", ["loans", "past_loans"])
def test_the_clock_check_finds_the_hour_whatever_zone_both_are_said_to_have(
    credit_loans: LoadedSystem, real_data: Path, tmp_path: Path, name: str, zone: str
) -> None:
    """Every loan seems to be approved an hour after it was asked for: one of the two is in another zone."""
    report = clocks_of(tmp_path, real_data, credit_loans, name, time_zone=zone, time_zones={})
    assert not report.ok
    assert "1 h" in report.sentence
    assert [pair.gap.shift_seconds for pair in report.pairs] == [3600.0]


@pytest.mark.parametrize("name", ["loans", "past_loans"])
def test_the_declared_zones_leave_seconds_between_the_clocks(
    credit_loans: LoadedSystem, real_data: Path, tmp_path: Path, name: str
) -> None:
    """As the system declares it, nothing is suspected any more."""
    report = clocks_of(tmp_path, real_data, credit_loans, name)
    assert report.ok, report.sentence
    assert [pair.gap.shift_seconds for pair in report.pairs] == [None]


def test_mixing_the_clocks_hides_repayments_that_were_known(real_data: Path) -> None:
    """Before a new loan's creation, read as it stands, 756 repayments seem to lie ahead; before its approval none."""
    folder = real_data / "credit"
    ahead = (
        duckdb.connect()
        .execute(
            f"""
        SELECT COUNT(*) FILTER (WHERE past.closeddate > new.creationdate) AS by_creation,
          COUNT(*) FILTER (WHERE past.closeddate > new.approveddate) AS by_approval
        FROM '{folder}/superlender_loans.parquet' AS new
        INNER JOIN '{folder}/superlender_previous_loans.parquet' AS past USING (customer_id)
        """
        )
        .fetchall()
    )
    assert ahead == [(756, 0)]


def test_the_habit_table_on_the_scored_month(credit_loans: LoadedSystem, real_data: Path) -> None:
    """No outcome of July is known in July; the table of earlier loans is calibrated on it: both outcomes are alike."""
    connection = sources_of(credit_loans, real_data)
    connection.execute(f"CREATE TABLE label AS {credit_loans.sql['bad.sql']}")
    connection.execute(f"CREATE TABLE habit AS {credit_loans.sql['habit_peers.sql']}")
    told = (
        "SELECT outcome, peers_late_share FROM label INNER JOIN habit USING (loan_id) WHERE predict_at >= '2017-07-01'"
    )
    rows = connection.sql(told).fetchnumpy()
    outcome, share = rows["outcome"], rows["peers_late_share"]
    (learned,) = connection.sql("SELECT COUNT(*) FROM label WHERE known_at < '2017-07-01'").fetchall()
    (early,) = connection.sql("SELECT MIN(known_at) FROM label WHERE predict_at >= '2017-07-01'").fetchall()
    assert len(outcome) == 4_368
    assert learned[0] > 13_000
    assert early[0] > datetime(2017, 9, 30, tzinfo=UTC)
    assert abs(share.mean() - outcome.mean()) < 0.02
    assert brier_score_loss(outcome, share) == pytest.approx(0.1597, abs=0.001)
    assert roc_auc_score(outcome, share) == pytest.approx(0.654, abs=0.01)
