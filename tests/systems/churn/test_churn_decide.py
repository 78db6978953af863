"""The high-risk list of churn: at risk, and worth the price of a contact."""

from __future__ import annotations

from typing import Any

import pytest

from forecastle.contract.load import LoadedSystem, load_system
from tests.systems.churn.conftest import FOLDER

PARAMS: dict[str, Any] = {"risk_min": 0.5, "contact_cost_gbp": 5.0, "kept_share": 0.1, "margin_share": 0.3}
retain = load_system(FOLDER).function("decide:retain")


def test_a_customer_at_risk_who_spends_is_contacted() -> None:
    """0.8 · 0.1 · 0.3 · 500 GBP = 12 GBP saved on average, 7 more than the contact costs."""
    made = retain(probability=0.8, revenue_180d_gbp=500.0, **PARAMS)
    assert made == {"action": "contact", "reasons": [], "gain_gbp": pytest.approx(7.0)}


@pytest.mark.parametrize(
    ("probability", "revenue_gbp", "reason"),
    [
        (0.49, 5_000.0, "the risk is below 0.5"),
        (0.8, 200.0, "a contact costs 5 GBP and saves 4.80"),
        (0.9, -30.0, "a contact costs 5 GBP and saves 0.00"),
        (0.9, None, "nobody knows what the customer spends"),
    ],
)
def test_everybody_else_is_left_with_a_reason(probability: float, revenue_gbp: float | None, reason: str) -> None:
    """Low risk, or little to save."""
    made = retain(probability=probability, revenue_180d_gbp=revenue_gbp, **PARAMS)
    assert (made["action"], made["reasons"]) == ("leave", [reason])


def test_the_declared_parameters_are_those_of_the_rule(churn: LoadedSystem) -> None:
    """The hand arithmetic above is about the rule that serves."""
    assert churn.declaration.decide is not None
    assert churn.declaration.decide.params == PARAMS
