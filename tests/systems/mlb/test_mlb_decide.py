"""The decision rule of baseball: BET or PASS by value and juice, Kelly as measure.market has it, and the cut-off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastle.contract.load import LoadedSystem
from forecastle.measure.market import decimal_from_american, kelly, value
from tests.systems.mlb.conftest import START

Decide = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def bet(mlb: LoadedSystem) -> Decide:
    """The declared rule as a bundle carries it, asked some minutes before the start."""
    rule = mlb.decision_rule()
    assert rule is not None

    def call(probability: float, home: float | None, away: float | None, *, minutes: float = 60.0) -> dict[str, Any]:
        values = {"starts_at_seconds": START.timestamp(), "ml_home": home, "ml_away": away}
        return rule.decide(probability, values, predict_at=START - timedelta(minutes=minutes))

    return call


def test_a_bet_by_hand(bet: Decide) -> None:
    """0.50 at +110: value 0.5 · 2.1 - 1 = 0.05; full Kelly 0.05 / 1.1, a quarter of it; juice 0.4762 + 0.5455 - 1."""
    made = bet(0.50, 110, -120)
    assert (made["action"], made["verdict"], made["odds"]) == ("bet_home", "BET", 2.1)
    assert made["value_score"] == pytest.approx(0.05)
    assert made["stake_share"] == pytest.approx(0.25 * 0.05 / 1.1)
    assert made["juice"] == pytest.approx(100 / 210 + 120 / 220 - 1)


def test_passes_have_their_reasons(bet: Decide) -> None:
    """No value, too much juice, no line."""
    assert bet(0.50, -105, -105)["reasons"] == ["the value is below 0"]
    assert bet(0.90, -120, -120)["reasons"] == ["the juice is above 0.03"]
    assert bet(0.90, None, -120)["reasons"] == ["there is no line"]
    assert {bet(*asked)["verdict"] for asked in ((0.5, -105, -105), (0.9, -120, -120))} == {"PASS"}


def test_the_stake_has_a_cap(bet: Decide) -> None:
    """Nothing stakes more than a fiftieth, and the decision says why."""
    made = bet(0.9, 150, -160)
    assert (made["stake_share"], made["reasons"]) == (0.02, ["the stake is capped"])


@pytest.mark.parametrize(("minutes", "closed"), [(20.0, False), (19.99, True), (0.0, True), (-30.0, True)])
def test_the_cut_off_is_twenty_minutes_before_the_start(bet: Decide, minutes: float, *, closed: bool) -> None:
    """At exactly twenty minutes one may still ask; later nothing is decided, with or without a line."""
    assert (bet(0.6, 110, -120, minutes=minutes)["action"] == "closed") is closed
    assert (bet(0.6, None, None, minutes=minutes)["action"] == "closed") is closed


@given(probability=st.floats(0.01, 0.99), home=st.integers(100, 400), juice=st.integers(5, 30))
def test_values_and_stakes_are_those_of_the_statistics_room(bet: Decide, probability, home, juice) -> None:
    """Whatever is bet has value, and the stake is `measure.market.kelly` of that side."""
    away = -(home + juice)
    made = bet(probability, home, away)
    if made["verdict"] == "PASS":
        return
    chance = probability if made["action"] == "bet_home" else 1.0 - probability
    odds = decimal_from_american([home if made["action"] == "bet_home" else away])
    assert made["value_score"] == pytest.approx(value([chance], odds)[0])
    assert made["stake_share"] == pytest.approx(kelly([chance], odds, fraction=0.25, cap=0.02)[0])
