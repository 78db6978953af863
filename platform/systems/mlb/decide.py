"""Which side of a game to bet on at the bookmaker's moneyline, and for how much: nothing after the cut-off.

Belongs here: value and juice of one line, the stake, the cut-off. It imports nothing of ours, so that a bundle keeps
the rule it was promoted with; every limit is a parameter.
Does not belong here: what makes the probability (`features.py`), what bets have earned (the library settles them).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any


def bet(
    *,
    probability: float,
    predict_at: datetime,
    starts_at_seconds: float | None,
    ml_home: float | None,
    ml_away: float | None,
    cutoff_minutes: float,
    value_min: float,
    juice_max: float,
    kelly_fraction: float,
    stake_share_max: float,
) -> dict[str, Any]:
    """BET on the side with the larger value score p · odds - 1, PASS, or say that the cut-off has passed.

    Args:
        probability: that the home team wins, calibrated.
        predict_at: moment of the prediction, UTC.
        starts_at_seconds: scheduled start, seconds since 1970 UTC.
        ml_home, ml_away: American moneylines of the home team and of the visitors.
        cutoff_minutes: so long before the start the last prediction is made.
        value_min: smallest value score worth a bet.
        juice_max: largest margin of the bookmaker that is paid.
        kelly_fraction, stake_share_max: share of the full Kelly stake, and cap as a share of the bankroll.
    """
    left_minutes = None if starts_at_seconds is None else (starts_at_seconds - predict_at.timestamp()) / 60.0
    if left_minutes is not None and left_minutes < cutoff_minutes:
        return _closed(left_minutes, cutoff_minutes=cutoff_minutes)
    if left_minutes is None or ml_home is None or ml_away is None:
        return _pass("there is no line", value_score=None, juice=None)
    value_score, action, odds, juice = _better_side(probability, _decimal(ml_home), _decimal(ml_away))
    if juice > juice_max:
        return _pass(f"the juice is above {juice_max:g}", value_score=value_score, juice=juice)
    if value_score < value_min:
        return _pass(f"the value is below {value_min:g}", value_score=value_score, juice=juice)
    stake = _stake(value_score, odds, fraction=kelly_fraction, cap=stake_share_max)
    reasons = ["the stake is capped"] if stake == stake_share_max else []
    return _made(action, reasons, "BET", value_score=value_score, juice=juice, odds=odds, stake_share=stake)


def _better_side(probability: float, odds_home: float, odds_away: float) -> tuple[float, str, float, float]:
    """Value score, action and odds of the side that is worth more, and the juice of both."""
    home = (probability * odds_home - 1.0, "bet_home", odds_home)
    away = ((1.0 - probability) * odds_away - 1.0, "bet_away", odds_away)
    return (*max(home, away), 1.0 / odds_home + 1.0 / odds_away - 1.0)


def _stake(value_score: float, odds: float, *, fraction: float, cap: float) -> float:
    """A fraction of (p · odds - 1) / (odds - 1) (Kelly 1956, Bell System Technical Journal 35, 917), capped."""
    return min(max(fraction * (value_score / (odds - 1.0)), 0.0), cap)


def _decimal(moneyline: float) -> float:
    """What a stake of 1 returns, itself included."""
    return 1.0 + (moneyline / 100.0 if moneyline > 0 else 100.0 / -moneyline)


def _closed(left_minutes: float, *, cutoff_minutes: float) -> dict[str, Any]:
    when = f"starts in {left_minutes:.1f} minutes" if left_minutes > 0 else f"started {-left_minutes:.1f} minutes ago"
    return {"action": "closed", "reasons": [f"the game {when}; the cut-off is {cutoff_minutes:g} minutes before"]}


def _pass(reason: str, *, value_score: float | None, juice: float | None) -> dict[str, Any]:
    return _made("pass", [reason], "PASS", value_score=value_score, juice=juice, odds=None, stake_share=0.0)


def _made(action: str, reasons: list[str], verdict: str, **numbers: float | None) -> dict[str, Any]:
    return {"action": action, "reasons": reasons, "verdict": verdict, **numbers}
