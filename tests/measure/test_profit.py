"""Profit curves: arithmetic in sight, and limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import MeasureError
from forecastle.measure.profit import CURVE_COLUMNS, profit_curve


def test_by_hand():
    """100, then +10, -10, -10, +30: peaks 110 110 110 120, drawdown at most 20 / 110 over two bets."""
    found = profit_curve([10, 10, 10, 20], [2.0, 2.0, 2.0, 2.5], [1, 0, 0, 1], bankroll=100, seed=1)
    assert tuple(found.curve.columns) == CURVE_COLUMNS
    assert list(found.curve["bankroll"]) == [110, 100, 90, 120]
    assert list(found.curve["peak"]) == [110, 110, 110, 120]
    assert (found.bets, found.staked, found.profit) == (4, 50.0, 20.0)
    assert found.max_drawdown_ratio == pytest.approx(20 / 110)
    assert found.longest_drawdown_bets == 2
    assert found.return_on_stake.estimate == pytest.approx(20 / 50)


def test_no_stake_has_no_return():
    """Nothing staked: no profit, no return, no drawdown."""
    found = profit_curve([0, 0], [2.0, 2.0], [1, 0], bankroll=50, seed=1)
    assert (found.bets, found.profit, found.return_on_stake, found.max_drawdown_ratio) == (0, 0.0, None, 0.0)


def test_one_bet_has_no_interval():
    """A single bet shows its profit, and no return that pretends to know more."""
    found = profit_curve([5.0, 0.0], [2.0, 3.0], [1, 0], bankroll=50, seed=1)
    assert (found.profit, found.return_on_stake) == (5.0, None)


def test_clusters_widen_the_interval():
    """Ten identical bets a day are one day, not ten bets."""
    won = np.repeat(np.tile([1, 0], 20), 10)
    stakes, odds = np.ones(won.size), np.full(won.size, 2.0)
    single = profit_curve(stakes, odds, won, bankroll=1000, seed=1).return_on_stake
    daily = profit_curve(
        stakes, odds, won, bankroll=1000, clusters=np.repeat(np.arange(40), 10), seed=1
    ).return_on_stake
    assert daily.high - daily.low > 2 * (single.high - single.low)


@pytest.mark.parametrize(
    ("stakes", "odds", "bankroll"),
    [([-1.0, 1.0], [2.0, 2.0], 10), ([1.0, 1.0], [1.0, 2.0], 10), ([1.0, 1.0], [2.0, 2.0], 0)],
)
def test_refusals(stakes, odds, bankroll):
    """Negative stakes, odds without a gain and an empty bankroll are refused."""
    with pytest.raises(MeasureError, match="allowed"):
        profit_curve(stakes, odds, [1, 0], bankroll=bankroll, seed=1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(1.01, 5), st.integers(0, 1)), min_size=2, max_size=30))
def test_curve_adds_up(bets):
    """The last bankroll is the first plus the profit; a drawdown is never negative; peaks never fall."""
    stakes, odds, won = (np.array(column) for column in zip(*bets, strict=True))
    if np.count_nonzero(stakes) < 2:
        stakes = stakes + 1.0
    found = profit_curve(stakes, odds, won, bankroll=500, seed=1)
    assert found.curve["bankroll"].iloc[-1] == pytest.approx(500 + found.profit)
    assert (found.curve["drawdown_ratio"] >= 0).all()
    assert (np.diff(found.curve["peak"]) >= 0).all()


def test_costs_are_paid_won_or_lost() -> None:
    """10 at 2.0 won and lost, 1 of costs each: +9 and −11; the return is −2 / 20."""
    found = profit_curve([10, 10], [2.0, 2.0], [1, 0], bankroll=100, costs=[1.0, 1.0], seed=1)
    assert found.curve["profit"].tolist() == [9.0, -11.0]
    assert found.return_on_stake.estimate == pytest.approx(-0.1)
    with pytest.raises(MeasureError, match="costs: got -1; 0 or more"):
        profit_curve([10, 10], [2.0, 2.0], [1, 0], bankroll=100, costs=[1.0, -1.0], seed=1)
