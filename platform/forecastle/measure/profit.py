"""What bets would have earned: the bankroll over time, its drawdowns, and return on stake with an interval.

Belongs here: profit of settled bets in the order they were placed. Does not belong here: prices and stakes
(`market.py`), Sharpe ratios and the chance of overfitting a backtest (`backtest.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_codes, as_finite, as_outcomes, same_length
from forecastle.measure.bootstrap import Interval, mean_interval

if TYPE_CHECKING:
    from forecastle.measure.arrays import FloatArray

CURVE_COLUMNS = ("bet", "stake", "profit", "bankroll", "peak", "drawdown_ratio")


@dataclass(frozen=True, slots=True, eq=False)
class ProfitCurve:
    """Result of n settled bets; money is in the unit of the stakes.

    `curve` has one row a bet (`CURVE_COLUMNS`), `drawdown_ratio` being the loss since the highest bankroll so
    far, as a share of it. `longest_drawdown_bets` counts bets from a peak until the bankroll is back there
    (or the end). `return_on_stake` is profit over money staked; None with fewer than two bets (or clusters)
    that had a stake.
    """

    curve: pd.DataFrame
    bets: int
    staked: float
    profit: float
    return_on_stake: Interval | None
    max_drawdown_ratio: float
    longest_drawdown_bets: int


def profit_curve(
    stakes: Any,
    decimal_odds: Any,
    won: Any,
    *,
    bankroll: float,
    costs: Any | None = None,
    clusters: Any | None = None,
    level: float = 0.95,
    seed: int,
) -> ProfitCurve:
    """Bankroll after each of n bets, in the order given: a win adds stake (odds - 1), a loss takes the stake.

    `won` is 0/1; a returned stake (push) is a bet at stake 0. `costs` (n, at least 0) are paid for each bet, won or
    lost: fees are costs, a commission on winnings lowers the odds. The interval of the return resamples bets, or
    whole `clusters` (days, games) of them.

    Raises:
        MeasureError: empty, missing or mismatched input, a negative stake, odds of at most 1, or a bankroll
            not above 0.
    """
    stake, profit = _settled(stakes, decimal_odds, won)
    profit -= _paid(costs, stake)
    if not 0 < bankroll < np.inf:
        raise MeasureError(f"bankroll: got {bankroll:g}; more than 0 is allowed; drawdowns are shares of it")
    after = bankroll + np.cumsum(profit)
    peak = np.maximum.accumulate(np.maximum(after, bankroll))
    drawdown = (peak - after) / peak
    values = (np.arange(1, stake.size + 1), stake, profit, after, peak, drawdown)
    return ProfitCurve(
        curve=pd.DataFrame(dict(zip(CURVE_COLUMNS, values, strict=True))),
        bets=int(np.count_nonzero(stake)),
        staked=float(stake.sum()),
        profit=float(profit.sum()),
        return_on_stake=_return(profit, stake, clusters, level, seed),
        max_drawdown_ratio=float(drawdown.max()),
        longest_drawdown_bets=_longest_run(drawdown > 0),
    )


def _settled(stakes: Any, decimal_odds: Any, won: Any) -> tuple[FloatArray, FloatArray]:
    stake, odds = as_finite(stakes, name="stake"), as_finite(decimal_odds, name="decimal odds")
    result = as_outcomes(won, name="won")
    same_length(stake=stake, decimal_odds=odds, won=result)
    if stake.min() < 0 or odds.min() <= 1:
        raise MeasureError(
            f"got smallest stake {stake.min():g} and smallest odds {odds.min():g}; "
            "stakes >= 0 and decimal odds > 1 are allowed"
        )
    return stake, stake * np.where(result == 1, odds - 1, -1.0)


def _paid(costs: Any | None, stake: FloatArray) -> FloatArray:
    if costs is None:
        return np.zeros_like(stake)
    paid = as_finite(costs, name="costs")
    same_length(stake=stake, costs=paid)
    if paid.min() < 0:
        raise MeasureError(f"costs: got {paid.min():g}; 0 or more is allowed; a rebate is a better price")
    return paid


def _return(profit: FloatArray, stake: FloatArray, clusters: Any | None, level: float, seed: int) -> Interval | None:
    staked = stake > 0
    units = np.arange(stake.size) if clusters is None else as_codes(clusters, name="cluster")[0]
    same_length(stake=stake, cluster=units)
    if np.unique(units[staked]).size < 2:
        return None
    chosen = None if clusters is None else units[staked]
    gains = profit[staked] / stake[staked]
    return mean_interval(gains, weights=stake[staked], clusters=chosen, level=level, seed=seed)


def _longest_run(flags: Any) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
