"""The decision rule of credit_loans, its on-demand feature and its simulator."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from forecastle.contract.load import LoadedSystem
from tests.systems.credit_loans.conftest import LOANS_NOW


def judged(credit_loans: LoadedSystem, probability: float, **given: Any) -> dict[str, Any]:
    """What the rule says of 10,000 NGN at 30 % to somebody with nothing to say against."""
    fine = {"amount_ngn": 10_000.0, "interest_ratio": 0.3, "late_share_365d": 0.0, "newest_days_late": -2.0}
    params = credit_loans.declaration.decide.params if credit_loans.declaration.decide else {}
    found: dict[str, Any] = credit_loans.function("decide:judge")(
        probability=probability, **{**fine, **given}, **params
    )
    return found


# Expected: 10,000 × (0.3 × (1 − p) − 0.5 × p) is zero at p = 0.375.
@pytest.mark.parametrize(
    ("probability", "action"), [(0.1, "accept"), (0.3, "refer"), (0.37, "refer"), (0.38, "decline")]
)
def test_the_action_follows_what_is_expected(credit_loans: LoadedSystem, probability: float, action: str) -> None:
    """Who is accepted needs no reason, everybody else gets one."""
    found = judged(credit_loans, probability)
    assert found["action"] == action
    assert found["expected_ngn"] == pytest.approx(10_000 * (0.3 * (1 - probability) - 0.5 * probability))
    assert bool(found["reasons"]) is (action != "accept")


def test_reasons_are_facts_of_the_customer_or_the_loan(credit_loans: LoadedSystem) -> None:
    """Late lately and often; a loan of little interest; nobody's first loan; and terms that are not known."""
    late = judged(credit_loans, 0.34, newest_days_late=9.0, late_share_365d=0.5)
    assert [code[:2] for code in late["reasons"]] == ["R1", "R2"]
    cheap = judged(credit_loans, 0.2, interest_ratio=0.1, late_share_365d=None)
    assert (cheap["action"], [code[:2] for code in cheap["reasons"]]) == ("decline", ["R3", "R4"])
    assert judged(credit_loans, 0.1, amount_ngn=None)["reasons"][0][:2] == "R8"


def test_a_step_is_measured_by_the_largest_loan_paid_back(credit_loans: LoadedSystem) -> None:
    """30,000 after 20,000 is one and a half; with nothing paid back there is no number."""
    step = credit_loans.function("features:step")
    assert step(amount_ngn=30_000.0, largest_repaid_365d_ngn=20_000.0)["amount_step_ratio"] == 1.5
    assert pd.isna(step(amount_ngn=30_000.0, largest_repaid_365d_ngn=float("nan"))["amount_step_ratio"])


def test_the_same_seed_is_the_same_lender(credit_loans: LoadedSystem, tmp_path: Path) -> None:
    """Byte for byte; another seed is another lender."""
    world = credit_loans.function("simulate:world")
    first, again, other = (
        [path.read_bytes() for path in world(tmp_path / name, seed=seed, now=LOANS_NOW, customers=60)]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_the_simulated_files_have_the_two_clocks_and_no_future(credit_loans: LoadedSystem, tmp_path: Path) -> None:
    """Approval is an hour and some seconds ahead of creation; past loans are paid back before the next is asked for."""
    paths = credit_loans.function("simulate:world")(tmp_path, seed=3, now=LOANS_NOW, customers=200)
    loans, past = (pq.read_table(path).to_pandas() for path in paths[:2])
    lag = (loans["approveddate"] - loans["creationdate"]).dt.total_seconds()
    assert lag.between(3604, 3612).all()
    assert loans["approveddate"].max() - pd.Timedelta(hours=1) <= LOANS_NOW.replace(tzinfo=None)
    told = loans["approveddate"] - pd.Timedelta(hours=1) + pd.Timedelta(days=92) <= LOANS_NOW.replace(tzinfo=None)
    assert (loans["bad"].notna() == told).all()
    both = pd.concat([past, loans]).sort_values(["customer_id", "loannumber"])
    following = both.groupby("customer_id")["approveddate"].shift(-1)
    assert (both["closeddate"].dropna() < following[both["closeddate"].notna()]).all()


@pytest.mark.parametrize("bad", [{"customers": 0}, {"now": datetime(2026, 6, 1)}])  # noqa: DTZ001
def test_a_lender_that_cannot_be_is_refused(credit_loans: LoadedSystem, tmp_path: Path, bad: dict[str, Any]) -> None:
    """The message says what was got and what is allowed."""
    with pytest.raises(ValueError, match="now needs a zone, customers at least 1"):
        credit_loans.function("simulate:world")(tmp_path, **{"seed": 1, "now": LOANS_NOW, **bad})
