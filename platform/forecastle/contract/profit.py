"""Declared profit of a decision rule: which action is which bet, at what price, with what costs.

Belongs here: the fields under `decide.profit:`.
Does not belong here: what they may not say together (`profit_check.py`), the rule (`decision.py`), money made by it
(`learn/settled_bets.py`, `measure/profit.py`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from forecastle.contract.column import Declared
from forecastle.contract.types import Name

PRICES = ("price", "decimal_odds", "american_odds")


class Side(Declared):
    """What one action bets on, and the feature that held its price when it was decided: one of the three."""

    outcome: Literal[0, 1] = Field(description="The outcome that pays.")
    price: Name | None = Field(
        None, description="Price, 0 to 1, of a share that pays 1 for outcome 1; a share of outcome 0 costs the rest."
    )
    decimal_odds: Name | None = Field(None, description="What a stake of 1 returns on this side, itself included.")
    american_odds: Name | None = Field(None, description="+150 wins 150 on 100, -200 wins 100 on 200.")

    @property
    def priced_by(self) -> tuple[str, str]:
        """Which of the three it names, and the feature."""
        return next((kind, name) for kind in PRICES if (name := getattr(self, kind)) is not None)


class Profit(Declared):
    """What decisions earn once outcomes are known: every bet is settled at the price it was decided on, less costs."""

    sides: dict[Name, Side] = Field(min_length=1, description="Actions that are bets; any other action stakes nothing.")
    stake: Name | None = Field(
        None, description="Number of the decision that is the stake, as a share of the bankroll at the start."
    )
    closing: Name | None = Field(
        None,
        description="Label column with the market's last probability of outcome 1, without margin.",
    )
    stake_ratio: float = Field(0.01, gt=0, le=1, description="Stake of every bet where the decision gives none.")
    bankroll_usd: float = Field(1_000.0, gt=0, description="Money at the start; stakes do not grow with it.")
    fee_ratio: float = Field(0.0, ge=0, lt=1, description="Paid on every stake, won or lost.")
    commission_ratio: float = Field(0.0, ge=0, lt=1, description="Kept back from winnings.")
    slippage: float = Field(0.0, ge=0, lt=0.5, description="How much dearer than its price a share is bought.")
