"""Bets of past decisions: prices of markets and of bookmakers, costs, settlement in the order outcomes came."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import LearnError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.profit import Profit
from forecastle.contract.system import Decide
from forecastle.draw.images import png_bytes
from forecastle.learn.backtest_report import profit_picture
from forecastle.learn.settled_bets import BET_COLUMNS, SettledBets, answered_columns, settle_bets
from tests.learn import ferries

RULE = """
def go(*, probability, guess):
    if guess is None:
        return {"action": "back", "reasons": [], "share": 0.1}
    edge = probability - guess
    action = "back" if edge > 0.05 else "lay" if edge < -0.05 else "pass"
    return {"action": action, "reasons": [], "share": 0.1 if action != "pass" else 0.0}
"""
MARKET = {
    "sides": {"back": {"outcome": 1, "price": "guess"}, "lay": {"outcome": 0, "price": "guess"}},
    "stake": "share",
}


def system_of(base: LoadedSystem, **profit: object) -> LoadedSystem:
    declared = Decide(function="decide:go", inputs=["guess"], profit=Profit.model_validate(MARKET | profit))
    declaration = base.declaration.model_copy(update={"decide": declared})
    return dataclasses.replace(base, declaration=declaration, code={**base.code, "decide": RULE})


def predictions(*rows: tuple[float, float | None, int]) -> pd.DataFrame:
    """Rows of (probability, price, outcome), one a day, each settled half a day later."""
    at = pd.Timestamp("2026-03-01", tz="UTC") + pd.to_timedelta(np.arange(len(rows)), unit="D")
    frame = pd.DataFrame(rows, columns=["probability", "guess", "outcome"]).astype({"guess": "float64"})
    return frame.assign(
        crossing_id=np.arange(len(rows)), predict_at=at, known_at=at + timedelta(hours=12), cut=at[0], raw_score=0.5
    )


def settled(base: LoadedSystem, rows: pd.DataFrame, **profit: object) -> SettledBets:
    found = settle_bets(system_of(base, **profit), rows)
    assert found is not None
    return found


def test_shares_pay_one_and_cost_their_price(system) -> None:
    """100 on yes at 0.40 wins 100 · 0.6 / 0.4 = 150; 100 on no at 1 − 0.8 wins 400; a lost 100 is lost."""
    found = settled(system, predictions((0.6, 0.4, 1), (0.5, 0.8, 0), (0.6, 0.4, 0), (0.5, 0.5, 1)))
    assert found.bets["profit_usd"].tolist() == pytest.approx([150.0, 400.0, -100.0])
    assert found.bets["action"].tolist() == ["back", "lay", "back"]
    assert found.bets["bankroll_usd"].tolist() == pytest.approx([1150.0, 1550.0, 1450.0])
    assert (found.decisions, found.curve.bets, found.curve.profit) == (4, 3, pytest.approx(450.0))
    assert found.curve.max_drawdown_ratio == pytest.approx(100 / 1550)
    assert tuple(found.bets.columns) == BET_COLUMNS


def test_closing_line_value_by_hand(system) -> None:
    """Yes at 0.40 pays 2.5 and closes at 0.44: 0.1; no at 0.20 pays 5 and closes at 0.18: -0.1; unknown counts not."""
    rows = predictions((0.6, 0.4, 1), (0.5, 0.8, 0), (0.6, 0.4, 0)).assign(close=[0.44, 0.82, np.nan])
    found = settled(system, rows, closing="close")
    assert found.bets["closing_line_value"].tolist() == pytest.approx([0.1, -0.1, np.nan], nan_ok=True)
    assert found.closing_line_value is not None
    assert found.closing_line_value.estimate == pytest.approx(0.0, abs=1e-12)
    assert "Closing line value" in found.sentence
    assert found.metrics()["profit.closing_line_value"] == pytest.approx(0.0, abs=1e-12)
    assert "close" in answered_columns(system_of(system, closing="close"))
    assert settled(system, rows).closing_line_value is None


def test_costs_by_hand(system) -> None:
    """At 0.40 with slippage 0.10 a share costs 0.50: 100 wins 100, less 5 % commission and a fee of 2 on each stake."""
    found = settled(
        system, predictions((0.6, 0.4, 1), (0.6, 0.4, 0)), slippage=0.1, commission_ratio=0.05, fee_ratio=0.02
    )
    assert found.bets["profit_usd"].tolist() == pytest.approx([95.0 - 2.0, -100.0 - 2.0])
    assert found.bets["cost_usd"].tolist() == pytest.approx([2.0, 2.0])
    assert "after 4.00 of fees" in found.sentence


@pytest.mark.parametrize(
    ("kind", "quoted", "won"),
    [("decimal_odds", 2.5, 150.0), ("american_odds", 150.0, 150.0), ("american_odds", -200.0, 50.0)],
)
def test_a_bookmakers_odds(system, kind: str, quoted: float, won: float) -> None:
    """Decimal 2.50 and American +150 win 150 on 100, −200 wins 50."""
    sides = {"back": {"outcome": 1, kind: "wind_mps"}, "lay": {"outcome": 0, kind: "wind_mps"}}
    rows = predictions((0.6, 0.4, 1), (0.6, 0.4, 0)).assign(wind_mps=quoted)
    found = settled(system, rows, sides=sides)
    assert found.bets["profit_usd"].tolist() == pytest.approx([won, -100.0])
    assert answered_columns(system_of(system, sides=sides)) == ["guess", "wind_mps"]


def test_what_has_no_price_is_not_placed(system) -> None:
    """No price, a price of 1 after slippage, American odds of 50: nobody sells that, and it is counted."""
    rows = predictions((0.6, 0.4, 1), (0.6, None, 1))
    assert settled(system, rows).unpriced == 1
    assert "1 had no price and were not placed" in settled(system, rows).sentence
    assert settle_bets(system_of(system, slippage=0.4), predictions((0.9, 0.7, 1))) is None
    sides = {"back": {"outcome": 1, "american_odds": "wind_mps"}}
    assert settle_bets(system_of(system, sides=sides), rows.assign(wind_mps=50.0)) is None


def test_without_bets_there_is_no_profit(system) -> None:
    """No declared profit, nobody bets, no rows: None, and nothing more is kept of predictions."""
    assert settle_bets(system, predictions((0.6, 0.4, 1))) is None
    assert answered_columns(system) == []
    assert settle_bets(system_of(system), predictions((0.5, 0.5, 1))) is None
    assert settle_bets(system_of(system), predictions((0.5, 0.5, 1)).iloc[:0]) is None


def test_bets_are_settled_when_outcomes_come(system) -> None:
    """The bet that was placed first is known last: the bankroll falls before it rises."""
    rows = predictions((0.6, 0.4, 1), (0.6, 0.4, 0))
    rows.loc[0, "known_at"] += timedelta(days=9)
    assert settled(system, rows).bets["bankroll_usd"].tolist() == pytest.approx([900.0, 1050.0])


def test_a_fixed_stake_needs_no_number_of_the_rule(system) -> None:
    """1 % of 1,000 on each bet."""
    found = settled(system, predictions((0.6, 0.4, 1)), stake=None, stake_ratio=0.01)
    assert found.bets["stake_usd"].tolist() == [10.0]


def test_a_rule_without_a_stake_is_told(system) -> None:
    """The number is named, with what it must be."""
    with pytest.raises(LearnError, match=r"decide.profit.stake: action 'back' has kelly None; a share of the bankroll"):
        settle_bets(system_of(system, stake="kelly"), predictions((0.6, 0.4, 1)))


def test_the_return_has_an_interval_over_whole_clusters(system) -> None:
    """Ten copies of each bet in one cluster tell no more than one of it."""
    generator = np.random.default_rng(0)
    once = predictions(*((0.6, 0.4, int(y)) for y in generator.integers(0, 2, 60)))
    tenfold = pd.concat([once] * 10)
    one, ten = (settled(system, rows).curve.return_on_stake for rows in (once, tenfold))
    assert (one.low, one.high) == (pytest.approx(ten.low), pytest.approx(ten.high))
    assert one.low < one.estimate < one.high


def test_each_cut_and_the_picture(system) -> None:
    """Profits of the cuts add up to the whole; the picture is the same bytes twice."""
    rows = predictions(*((0.6, 0.4, y % 2) for y in range(10)))
    rows.loc[5:, "cut"] = rows.loc[5, "predict_at"]
    found = settled(system, rows)
    table = found.by_cut()
    assert table["bets"].tolist() == [5, 5]
    assert table["profit_usd"].sum() == pytest.approx(found.curve.profit)
    assert found.metrics()["profit.return_ratio"] == pytest.approx(found.curve.profit / found.curve.staked)
    assert png_bytes(profit_picture(found)) == png_bytes(profit_picture(found))


@pytest.mark.parametrize(
    ("side", "says"),
    [
        ("{outcome: 1}", "side 'back' has no price"),
        ("{outcome: 1, price: guess, decimal_odds: wind_mps}", "side 'back' has price and decimal_odds"),
        ("{outcome: 1, price: gues}", "'gues' is no feature (did you mean 'guess'"),
        ("{outcome: 1, price: wind_mps}", "price 'wind_mps' has unit score"),
    ],
)
def test_a_wrong_side_is_refused_when_definitions_load(tmp_path, side: str, says: str) -> None:
    """With file and line, before anything runs."""
    decide = f"decide:\n  function: features:go\n  profit:\n    sides: {{back: {side}}}\n"
    code = ferries.CODE + '\ndef go(*, probability):\n    return {"action": "back", "reasons": []}\n'
    with pytest.raises(Exception, match=r"system.yaml:\d+") as refusal:
        ferries.write_system(tmp_path, code=code, declaration=ferries.DECLARATION + decide)
    assert says in str(refusal.value)
