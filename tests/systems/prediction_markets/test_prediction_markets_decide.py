"""The decision rule of prediction markets: arithmetic in sight, Kelly as measure.market has it, and the cut-off."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastle.contract.load import LoadedSystem
from forecastle.measure.market import kelly, value

AT = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def decide(system: LoadedSystem):
    """The declared rule as a bundle carries it."""
    rule = system.decision_rule()

    def call(probability: float, price: float | None, days: float | None = 30.0) -> dict[str, Any]:
        return rule.decide(probability, {"market_price": price, "days_to_resolution": days}, predict_at=AT)

    return call


def test_yes_is_bought_where_it_is_worth_more(decide) -> None:
    """0.60 against a price of 0.50: edge 0.10, full Kelly (0.6 · 2 − 1) / (2 − 1) = 0.2, a quarter 0.05."""
    made = decide(0.60, 0.50)
    assert (made["action"], made["price"], made["edge"]) == ("buy_yes", 0.5, pytest.approx(0.10))
    assert made["stake_share"] == pytest.approx(0.25 * (0.6 * 2 - 1) / (2 - 1))


def test_no_is_bought_at_the_rest_of_the_price(decide) -> None:
    """0.30 against 0.40: a no share costs 0.60 and is worth 0.70; Kelly (0.7 / 0.6 − 1) / (1 / 0.6 − 1) = 0.25."""
    made = decide(0.30, 0.40)
    assert (made["action"], made["price"], made["edge"]) == ("buy_no", 0.6, pytest.approx(0.1))
    assert made["stake_share"] == pytest.approx(min(0.25 * (0.7 / 0.6 - 1) / (1 / 0.6 - 1), 0.05))


def test_a_large_edge_meets_the_cap(decide) -> None:
    """Nothing stakes more than one twentieth, and the decision says why."""
    made = decide(0.9, 0.2)
    assert (made["stake_share"], made["reasons"]) == (0.05, ["the stake is capped"])


@pytest.mark.parametrize(
    ("probability", "price", "reason"),
    [
        (0.52, 0.50, "the edge is below 0.03"),
        (0.999, 0.96, "the price is above 0.95"),
        (0.9, None, "there is no price"),
    ],
)
def test_a_bet_that_is_not_worth_it_is_passed(decide, probability, price, reason) -> None:
    """Value filter, juice limit, and a market without a price."""
    made = decide(probability, price)
    assert (made["action"], made["reasons"], made["stake_share"]) == ("pass", [reason], 0.0)


def test_after_the_close_there_is_nothing_to_decide(decide) -> None:
    """Below zero days the market has closed; at zero, or with no date, it has not."""
    closed = decide(0.9, 0.2, -0.5)
    assert closed == {"action": "closed", "reasons": ["the market was to close 0.5 days ago"]}
    assert {decide(0.9, 0.2, days)["action"] for days in (0.0, 30.0, None)} == {"buy_yes"}


@given(probability=st.floats(0, 1), price=st.floats(0.001, 0.999))
def test_stakes_and_values_are_those_of_the_statistics_room(decide, probability, price) -> None:
    """Whatever is bought has positive expected profit, and the stake is `measure.market.kelly` of that side."""
    made = decide(probability, price)
    if made["action"] == "pass":
        assert max(probability - price, price - probability) < 0.03 or made["price"] > 0.95
        return
    chance = probability if made["action"] == "buy_yes" else 1.0 - probability
    odds = 1.0 / made["price"]
    assert value([chance], [odds])[0] > 0
    assert made["stake_share"] == kelly([chance], [odds], fraction=0.25, cap=0.05)[0]


def test_the_rule_travels_with_its_code(system: LoadedSystem) -> None:
    """Its module's text, the declared inputs and parameters; both inputs are among the model's features."""
    rule = system.decision_rule()
    assert rule.code == (system.folder / "decide.py").read_text()
    assert set(rule.inputs) <= set(system.feature_set("lightgbm").by_name)
