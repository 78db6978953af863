"""The decision rule of prediction markets: which side to buy at the market's price, and for how much.

Belongs here: edge, juice limit and stake of one market at its newest price; it knows no other market and no
bankroll. It imports nothing of ours, so that an audit finds the rule of a trade in the trade's own bundle.
Does not belong here: fees and depth (`decide.profit` in system.yaml declares costs), how a position is closed.
"""

from __future__ import annotations

from typing import Any


def bet(
    *,
    probability: float,
    market_price: float | None,
    days_to_resolution: float | None,
    edge_min: float,
    price_max: float,
    kelly_fraction: float,
    stake_share_max: float,
) -> dict[str, Any]:
    """Buy the side that is worth more than it costs, pass, or say that the market has closed.

    A share of either side pays 1; its edge is probability minus price.

    Args:
        probability: of yes, calibrated.
        market_price: of a yes share, 0 to 1; a no share costs the rest.
        days_to_resolution: until the scheduled close, below zero once it has passed; None where nobody knows.
        edge_min: smallest edge worth a bet.
        price_max: juice limit: the dearest share that is bought.
        kelly_fraction, stake_share_max: share of the full Kelly stake, and cap as a share of the bankroll.
    """
    if days_to_resolution is not None and days_to_resolution < 0:
        days = -days_to_resolution
        return {"action": "closed", "reasons": [f"the market was to close {days:.1f} days ago"]}
    if market_price is None:
        return _pass("there is no price", edge=None, price=None)
    yes = (probability - market_price, "buy_yes", probability, market_price)
    no = (market_price - probability, "buy_no", 1.0 - probability, 1.0 - market_price)
    edge, action, chance, price = max(yes, no)
    if edge < edge_min:
        return _pass(f"the edge is below {edge_min:g}", edge=edge, price=price)
    if not 0.0 < price <= price_max:
        return _pass(f"the price is above {price_max:g}", edge=edge, price=price)
    stake = _stake(chance, 1.0 / price, fraction=kelly_fraction, cap=stake_share_max)
    reasons = ["the stake is capped"] if stake == stake_share_max else []
    return {"action": action, "reasons": reasons, "edge": edge, "price": price, "stake_share": stake}


def _stake(chance: float, odds: float, *, fraction: float, cap: float) -> float:
    """A fraction of (p · odds - 1) / (odds - 1) (Kelly 1956, Bell System Technical Journal 35, 917), capped."""
    return min(max(fraction * ((chance * odds - 1.0) / (odds - 1.0)), 0.0), cap)


def _pass(reason: str, *, edge: float | None, price: float | None) -> dict[str, Any]:
    return {"action": "pass", "reasons": [reason], "edge": edge, "price": price, "stake_share": 0.0}
