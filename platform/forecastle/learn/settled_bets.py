"""What decisions of past predictions would have earned: each bet at the price it was decided on, by its outcome.

Belongs here: from predictions and the declared rule, prices and costs to bets, their profit and its sentence.
Does not belong here: the bankroll's arithmetic (`measure/profit.py`), the rule (`contract/decision.py`), pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from forecastle.contract.decision import PREDICT_AT
from forecastle.contract.errors import LearnError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.profit import Profit, Side
from forecastle.learn.build import cluster_column
from forecastle.measure.bootstrap import Interval, mean_interval
from forecastle.measure.market import closing_line_value, decimal_from_american
from forecastle.measure.profit import ProfitCurve, profit_curve

BET_COLUMNS: Final = (
    "predict_at", "settled_at", "cut", "cluster", "probability", "action", "stake_usd", "decimal_odds", "cost_usd",
    "won", "profit_usd", "bankroll_usd", "drawdown_ratio", "closing_line_value",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SettledBets:
    """Bets in the order in which they were settled (`BET_COLUMNS`), what they add up to, and how many had no price.

    `closing_line_value` is the mean over bets whose closing probability is known, whole clusters resampled: None where
    none is declared, or fewer than two clusters have one.
    """

    bets: pd.DataFrame
    curve: ProfitCurve
    decisions: int
    unpriced: int
    bankroll_usd: float
    closing_line_value: Interval | None = None

    @property
    def sentence(self) -> str:
        """Profit, return with its interval, drawdown and costs for a person."""
        c = self.curve
        interval = c.return_on_stake
        ends = f" [{interval.low:+.1%}, {interval.high:+.1%}]" if interval else ""
        rate = f"{c.profit / c.staked:+.1%}{ends}" if c.staked else "nothing was staked"
        unpriced = f" {self.unpriced} had no price and were not placed." if self.unpriced else ""
        closing = self.closing_line_value
        worth = (
            f" Closing line value {closing.estimate:+.1%} [{closing.low:+.1%}, {closing.high:+.1%}]." if closing else ""
        )
        return (
            f"{c.bets:,} bets of {self.decisions:,} decisions: profit {c.profit:+,.2f} USD on {c.staked:,.2f} staked "
            f"({rate}) after {self.bets['cost_usd'].sum():,.2f} of fees; largest drawdown {c.max_drawdown_ratio:.1%}, "
            f"longest {c.longest_drawdown_bets} bets.{unpriced}{worth}"
        )

    def metrics(self) -> dict[str, float]:
        """Flat numbers for a run's record: `profit.<name>`."""
        c = self.curve
        found = {
            "bets": float(c.bets), "staked_usd": c.staked, "usd": c.profit, "max_drawdown_ratio": c.max_drawdown_ratio,
        }  # fmt: skip
        if c.return_on_stake is not None:
            r = c.return_on_stake
            found |= {"return_ratio": r.estimate, "return_ratio_low": r.low, "return_ratio_high": r.high}
        if self.closing_line_value is not None:
            v = self.closing_line_value
            found |= {
                "closing_line_value": v.estimate,
                "closing_line_value_low": v.low,
                "closing_line_value_high": v.high,
            }
        return {f"profit.{name}": value for name, value in found.items()}

    def by_cut(self) -> pd.DataFrame:
        """Bets, stake, profit and return of each cut, oldest first."""
        grouped = self.bets.groupby("cut", sort=True)
        table = grouped.agg(
            bets=("won", "size"), won=("won", "sum"), staked_usd=("stake_usd", "sum"), profit_usd=("profit_usd", "sum")
        )
        return table.assign(return_ratio=table["profit_usd"] / table["staked_usd"]).reset_index()


def settle_bets(system: LoadedSystem, predictions: pd.DataFrame, *, seed: int = 0) -> SettledBets | None:
    """Let the declared rule decide each prediction and settle its bets; None without a declared profit or any bet.

    Stakes are shares of the bankroll at the start and do not grow with it. A bet is settled when its outcome became
    known; the interval of the return resamples whole clusters.

    Args:
        system: declares the rule, its profit, the cluster.
        predictions: of a backtest: probability, outcome, predict_at, known_at, cut, the rule's inputs and the prices.
        seed: of the resampling.

    Raises:
        DecisionError: the rule fails for a row.
        LearnError: the rule gives no stake, or one outside 0 to 1, for an action that is a bet.
    """
    rule, declared = system.decision_rule(), system.declaration.decide
    if rule is None or declared is None or declared.profit is None or predictions.empty:
        return None
    profit = declared.profit
    rows = predictions.sort_values(["known_at", "predict_at"], kind="stable").reset_index(drop=True)
    features = [name for name in rule.inputs if name != PREDICT_AT]
    inputs = {name: rows[name].to_numpy(np.float64, na_value=np.nan).tolist() for name in features}
    moments = [moment.to_pydatetime() for moment in rows["predict_at"]]
    made = [
        rule.decide(probability, {name: values[row] for name, values in inputs.items()}, predict_at=moments[row])
        for row, probability in enumerate(rows["probability"].astype(float))
    ]
    priced = {action: _decimal_odds(rows, side, profit) for action, side in profit.sides.items()}
    placed = pd.DataFrame([_bet(decision, row, profit, priced) for row, decision in enumerate(made)])
    wanted = placed["stake_usd"] > 0
    found = rows.join(placed)[wanted & placed["decimal_odds"].notna()].reset_index(drop=True)
    if found.empty:
        return None
    unpriced = int((wanted & placed["decimal_odds"].isna()).sum())
    return _settled(found.assign(cluster=found[cluster_column(system)]), profit, len(rows), unpriced, seed=seed)


def answered_columns(system: LoadedSystem) -> list[str]:
    """Columns that settling bets reads: the rule's inputs, prices and closing; none without a declared profit."""
    declared = system.declaration.decide
    if declared is None or declared.profit is None:
        return []
    prices = [side.priced_by[1] for side in declared.profit.sides.values()]
    closing = [declared.profit.closing] if declared.profit.closing else []
    return list(dict.fromkeys([*(name for name in declared.inputs if name != PREDICT_AT), *prices, *closing]))


def _bet(decision: Mapping[str, Any], row: int, profit: Profit, priced: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Stake and odds of one decision; stake 0 where its action is no bet."""
    action = decision["action"]
    side = profit.sides.get(action)
    if side is None:
        return {"action": action, "stake_usd": 0.0, "decimal_odds": np.nan, "pays_on": np.nan}
    share = decision.get(profit.stake) if profit.stake else profit.stake_ratio
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise LearnError(
            f"decide.profit.stake: action {action!r} has {profit.stake} {share!r}; a share of the bankroll, 0 to 1, is "
            "needed"
        )
    return {
        "action": action,
        "stake_usd": share * profit.bankroll_usd,
        "decimal_odds": priced[action][row],
        "pays_on": side.outcome,
    }


def _decimal_odds(rows: pd.DataFrame, side: Side, profit: Profit) -> np.ndarray:
    """Decimal odds (n,) after slippage and commission; NaN where there was no price that could win anything."""
    kind, name = side.priced_by
    quoted = rows[name].to_numpy(np.float64, na_value=np.nan)
    known = np.isfinite(quoted)
    odds = np.full(len(rows), np.nan)
    if kind == "price":
        price = (quoted if side.outcome == 1 else 1.0 - quoted) + profit.slippage
        known &= price > profit.slippage
        odds[known] = 1.0 / price[known]
    elif kind == "american_odds":
        known &= np.abs(quoted) >= 100
        odds[known] = decimal_from_american(quoted[known]) if known.any() else np.nan
    else:
        odds[known] = quoted[known]
    odds[~(odds > 1)] = np.nan
    return 1.0 + (odds - 1.0) * (1.0 - profit.commission_ratio)


def _settled(found: pd.DataFrame, profit: Profit, decisions: int, unpriced: int, *, seed: int) -> SettledBets:
    costs = found["stake_usd"] * profit.fee_ratio
    won = (found["outcome"] == found["pays_on"]).astype(int)
    curve = profit_curve(
        found["stake_usd"], found["decimal_odds"], won,
        bankroll=profit.bankroll_usd, costs=costs, clusters=found["cluster"].to_numpy(), seed=seed,
    )  # fmt: skip
    worth = _closing_values(found, profit)
    bets = found.rename(columns={"known_at": "settled_at"}).assign(
        cost_usd=costs,
        won=won,
        profit_usd=curve.curve["profit"],
        bankroll_usd=curve.curve["bankroll"],
        drawdown_ratio=curve.curve["drawdown_ratio"],
        closing_line_value=worth,
    )
    mean = _mean_of_known(worth, found["cluster"].to_numpy(), seed=seed)
    return SettledBets(bets[list(BET_COLUMNS)], curve, decisions, unpriced, profit.bankroll_usd, mean)


def _closing_values(found: pd.DataFrame, profit: Profit) -> np.ndarray:
    """Value of each bet at the closing line (n,); NaN where no closing probability is declared or known."""
    values = np.full(len(found), np.nan)
    if profit.closing is not None:
        close = found[profit.closing].to_numpy(np.float64, na_value=np.nan)
        known = np.isfinite(close)
        if known.any():
            paid = np.where(found["pays_on"] == 1, close, 1.0 - close)[known]
            values[known] = closing_line_value(found["decimal_odds"].to_numpy(np.float64)[known], paid)
    return values


def _mean_of_known(values: np.ndarray, clusters: np.ndarray, *, seed: int) -> Interval | None:
    known = np.isfinite(values)
    if np.unique(clusters[known]).size < 2:
        return None
    return mean_interval(values[known], clusters=clusters[known], seed=seed)
