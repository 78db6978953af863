"""The decision rule of prediction markets: which side to buy at the market's price, and for how much.

Belongs here: arithmetic on one calibrated probability and named features; every number of the rule is a parameter.
Does not belong here: anything that reads a clock, a file or another module: the rule travels in the bundle.
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

    A share of either side pays 1. Its edge is probability minus price; the stake is a fraction of Kelly's share of
    the bankroll, (p · odds − 1) / (odds − 1) with odds = 1 / price (Kelly 1956, Bell System Technical Journal 35,
    917), and never more than the cap.

    Args:
        probability: of yes, calibrated.
        market_price: of a yes share, 0 to 1; a no share costs the rest.
        days_to_resolution: until the scheduled close, below zero once it has passed; None where nobody knows.
        edge_min: smallest edge worth a bet.
        price_max: juice limit: the dearest share that is bought.
        kelly_fraction: share of the full Kelly stake.
        stake_share_max: cap on the stake, as a share of the bankroll.
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
    odds = 1.0 / price
    stake = min(max(kelly_fraction * ((chance * odds - 1.0) / (odds - 1.0)), 0.0), stake_share_max)
    reasons = ["the stake is capped"] if stake == stake_share_max else []
    return {"action": action, "reasons": reasons, "edge": edge, "price": price, "stake_share": stake}


def _pass(reason: str, *, edge: float | None, price: float | None) -> dict[str, Any]:
    return {"action": "pass", "reasons": [reason], "edge": edge, "price": price, "stake_share": 0.0}
