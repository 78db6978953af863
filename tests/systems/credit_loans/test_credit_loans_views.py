"""Feature and label SQL of credit_loans over loans that a person can count."""

from __future__ import annotations

import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from tests.systems.credit_loans.conftest import FIRST_DAY, RunLoans

# Two past loans of customer 1: one paid back 5 days late after 35 days, one 10 days early; then one to be scored.
PAST = [(1, 1, 0.0, 35.0), (1, 2, 40.0, 60.0)]


def day(days: float) -> pd.Timestamp:
    return pd.Timestamp(FIRST_DAY) + pd.Timedelta(days=days)


def row(rows: pd.DataFrame, loan: int) -> pd.Series:
    return rows.set_index("loan_id").loc[loan]


def test_a_window_counts_what_was_paid_back_by_then(credit_loans: LoadedSystem, lent: RunLoans) -> None:
    """On day 61 two loans are back, one of two late, at most 5 days, on average 2.5 days early."""
    view = credit_loans.declaration.feature_views["repaid_90d"].sql
    found = row(lent(view, PAST, [(1, 3, 61.0, None)]), 103)
    assert (found["repaid_90d"], found["late_share_90d"], found["worst_days_late_90d"]) == (2, 0.5, 5.0)
    assert found["first_days_late_90d"] == pytest.approx((5.0 - 10.0) / 2)


def test_windows_of_one_template_look_back_as_far_as_their_literal(credit_loans: LoadedSystem, lent: RunLoans) -> None:
    """On day 130 the repayment of day 35 is more than 90 days old: one loan of the quarter, two of the year."""
    views = credit_loans.declaration.feature_views
    quarter = row(lent(views["repaid_90d"].sql, PAST, [(1, 3, 130.0, None)]), 103)
    year = row(lent(views["repaid_365d"].sql, PAST, [(1, 3, 130.0, None)]), 103)
    assert (quarter["repaid_90d"], quarter["late_share_90d"]) == (1, 0.0)
    assert (year["repaid_365d"], year["late_share_365d"]) == (2, 0.5)


def test_a_repayment_half_an_hour_before_the_approval_is_known(lent: RunLoans) -> None:
    """The clock that is an hour off would put it half an hour after."""
    past = [(1, 1, 0.0, 40.0)]
    found = row(lent("newest_repaid.sql", past, [(1, 2, 40.0 + 0.5 / 24, None)]), 102)
    assert found["hours_since_repaid"] == pytest.approx(0.5, abs=1e-6)
    assert found["newest_days_late"] == pytest.approx(10.0)


def test_a_loan_that_is_paid_back_later_says_nothing(credit_loans: LoadedSystem, lent: RunLoans) -> None:
    """What is not known at the approval is null, neither zero nor a bound; only the count is zero."""
    for file in ("newest_repaid.sql", credit_loans.declaration.feature_views["repaid_90d"].sql):
        found = row(lent(file, [(1, 1, 0.0, 50.0)], [(1, 2, 45.0, None)]), 102).drop(["event_at", "known_at"])
        assert found.pop("repaid_90d") == 0 if "repaid_90d" in found else True
        assert found.isna().all()


def test_first_loans_are_asked_about_by_nobody(lent: RunLoans) -> None:
    """Loans 2 and 3 have rows, loan 1 has none."""
    assert set(lent("loan_terms.sql", PAST, [(1, 3, 61.0, None)])["loan_id"]) == {102, 103}


def test_the_table_of_habits_counts_what_is_settled_by_then(lent: RunLoans) -> None:
    """No past known: of two second loans one was late, which shows on day 60.5: (1 + 1) / (2 + 2) from then on."""
    past = [(1, 1, 0.0, 29.0), (1, 2, 29.5, 65.0), (2, 1, 0.0, 29.0), (2, 2, 29.5, 40.0), (3, 1, 0.0, 29.0)]
    rows = lent("habit_peers.sql", past, [(3, 2, 29.9, None), (4, 2, 60.6, None)])
    # Loans 102 and 202 are asked for before their first loan is settled, on day 31: their habit is not known.
    assert row(rows, 302)["peers_late_share"] == 0.5
    assert row(rows, 402)["peers_late_share"] == pytest.approx((1 + 1) / (2 + 2))


def test_a_past_loan_is_late_a_day_after_its_term_and_known_then(lent: RunLoans) -> None:
    """Loan 2, asked on day 40, is settled on day 71, good or bad; loan 1 is a first one."""
    scored = [(1, 4, 120.0, 0)]
    for closed, outcome in ((70.9, 0), (71.1, 1)):
        rows = lent("bad.sql", [(1, 1, 0.0, 35.0), (1, 2, 40.0, closed)], scored)
        assert set(rows["loan_id"]) == {102, 104}
        found = row(rows, 102)
        assert (found["outcome"], found["predict_at"], found["known_at"]) == (outcome, day(40.0), day(71.0))
        assert (found["age_band"], found["employment"], found["customer_id"]) == ("30 to 39", "Permanent", 1)


def test_a_scored_loan_is_what_the_lender_says_and_known_when_every_term_is_over(lent: RunLoans) -> None:
    """Bad loan of day 120: known on day 212. One without a word yet has no row."""
    rows = lent("bad.sql", PAST, [(1, 3, 120.0, 1), (2, 2, 121.0, None)])
    assert (row(rows, 103)["outcome"], row(rows, 103)["known_at"]) == (1, day(212.0))
    assert 202 not in set(rows["loan_id"])


def test_past_loans_since_the_first_scored_one_are_left_out(lent: RunLoans) -> None:
    """The loan of day 119 is judged, that of day 121 is not: only quickly repaid ones have another after them."""
    past = [*PAST, (1, 3, 121.0, 125.0), (2, 2, 119.0, 125.0)]
    rows = lent("bad.sql", past, [(1, 4, 130.0, 0), (3, 2, 120.0, 0)])
    assert set(rows["loan_id"]) == {102, 202, 104, 302}


def test_no_feature_reads_the_outcome(credit_loans: LoadedSystem) -> None:
    """`bad` stands in the row of a loan and becomes true later: no column of any view may come from it."""
    raw = {
        column
        for view in credit_loans.declaration.feature_views.values()
        for columns in credit_loans.lineage(view.sql).values()
        for column in columns
    }
    assert ("repayments", "closeddate") in raw
    assert ("loans", "bad") not in raw
    assert not {column for source, column in raw if source == "customers"}
