"""Feature and label SQL of credit over statements that a person can count."""

from __future__ import annotations

import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from tests.systems.credit.conftest import RunCredit

JUNE = pd.Timestamp("2026-06-01", tz="UTC")
# Client 1 falls behind in April and pays in May; bills of 50,000 and payments of 5,000, none in April.
FIVE = [(1, month, 2 if month == 4 else 0, 50_000.0, 0.0 if month == 4 else 5_000.0) for month in range(1, 6)]


def test_windows_of_one_template_look_back_as_far_as_their_literal(credit: LoadedSystem, stated: RunCredit) -> None:
    """In May one of two statements is late and 5,000 of 100,000 are paid; of five one is, and 20,000 of 250,000."""
    views = credit.declaration.feature_views
    two = stated(views["window_2m"].sql, FIVE).set_index("known_at").loc[JUNE]
    six = stated(views["window_6m"].sql, FIVE).set_index("known_at").loc[JUNE]
    assert two["late_share_2m"] == pytest.approx(1 / 2)
    assert two["paid_share_2m"] == pytest.approx(5 / 100)
    assert six["late_share_6m"] == pytest.approx(1 / 5)
    assert six["paid_share_6m"] == pytest.approx(20 / 250)
    assert (two["worst_status_2m"], six["worst_status_6m"]) == (2, 2)


def test_both_windows_lead_back_to_the_same_raw_columns(credit: LoadedSystem) -> None:
    """Lineage works through the template: a share of late statements comes from status alone."""
    views = credit.declaration.feature_views
    for months in (2, 6):
        found = credit.lineage(views[f"window_{months}m"].sql)
        assert found[f"late_share_{months}m"] == (("statements", "pay_status"),)
        # Sums are made in the order of the months.
        columns = ("bill_amt", "event_at", "pay_amt")
        assert found[f"paid_share_{months}m"] == tuple(("statements", column) for column in columns)


def test_nothing_billed_is_nothing_to_share(stated: RunCredit) -> None:
    """A card that is not used has no share of paid bills: null, not zero."""
    rows = stated("statement_window(months=2).sql", [(1, 1, -2, 0.0, 0.0)])
    assert rows["paid_share_2m"].isna().all()


def test_the_newest_statement_is_seen_beside_the_limit(stated: RunCredit) -> None:
    """50,000 of a limit of 100,000 are one half, and that limit begins the second band."""
    row = stated("newest_statement.sql", FIVE).set_index("known_at").loc[JUNE]
    assert (row["utilisation"], row["limit_band"], row["pay_status"]) == (0.5, 2, 0)


def test_the_roll_rate_table_counts_what_was_known_by_then(stated: RunCredit) -> None:
    """Of two clients on time in January one is late in February: (1 + 1) / (2 + 2) from March on, one half before."""
    rows = stated(
        "status_peers.sql", [*[(1, m, 0, 9.0, 1.0) for m in (1, 2, 3)], (2, 1, 0, 9.0, 0.0), (2, 2, 2, 9.0, 0.0)]
    )
    shares = rows[rows["client_id"] == 1].set_index("known_at")["peers_late_share"]
    # By April client 1 stayed on time a second time: (1 + 1) / (3 + 2).
    assert list(shares.sort_index()) == [0.5, 0.5, 0.4]


def test_the_label_is_the_next_statement_and_known_with_it(stated: RunCredit) -> None:
    """Of five statements the third and fourth have three behind them and one ahead; March's next one is late."""
    rows = stated("late.sql", FIVE).sort_values("predict_at")
    assert list(rows["outcome"]) == [1, 0]
    assert list(rows["predict_at"]) == [pd.Timestamp("2026-04-04", tz="UTC"), pd.Timestamp("2026-05-04", tz="UTC")]
    assert list(rows["known_at"]) == [pd.Timestamp("2026-05-01", tz="UTC"), JUNE]
    assert set(rows["sex"] + rows["education"] + rows["age_band"]) == {"femaleuniversity30 to 39"}
