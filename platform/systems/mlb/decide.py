"""The decision rule of baseball: BET on one side or PASS, and nothing at all after the cut-off.

Belongs here: arithmetic on one calibrated probability and named features; every number of the rule is a parameter.
Does not belong here: anything that reads a clock, a file or another module: the rule travels in the bundle.
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
    """Bet on the side whose moneyline pays more than it should, pass, or say that the cut-off has passed.

    The value score of a side is p odds - 1; the stake a fraction of Kelly's (p odds - 1) / (odds - 1) (Kelly 1956, Bell
    System Technical Journal 35, 917), never more than the cap.

    Args:
        probability: that the home team wins, calibrated.
        predict_at: moment of the prediction, UTC.
        starts_at_seconds: scheduled start, seconds since 1970 UTC.
        ml_home: American moneyline of the home team.
        ml_away: of the visitors.
        cutoff_minutes: so long before the start the last prediction is made.
        value_min: smallest value score worth a bet.
        juice_max: largest margin of the bookmaker that is paid.
        kelly_fraction: share of the full Kelly stake.
        stake_share_max: cap on the stake, as a share of the bankroll.
    """
    if starts_at_seconds is not None:
        left_minutes = (starts_at_seconds - predict_at.timestamp()) / 60.0
        if left_minutes < cutoff_minutes:
            return _closed(left_minutes, cutoff_minutes=cutoff_minutes)
    if starts_at_seconds is None or ml_home is None or ml_away is None:
        return _pass("there is no line", value_score=None, juice=None)
    odds_home, odds_away = _decimal(ml_home), _decimal(ml_away)
    juice = 1.0 / odds_home + 1.0 / odds_away - 1.0
    home = (probability * odds_home - 1.0, "bet_home", odds_home)
    away = ((1.0 - probability) * odds_away - 1.0, "bet_away", odds_away)
    value_score, action, odds = max(home, away)
    if juice > juice_max:
        return _pass(f"the juice is above {juice_max:g}", value_score=value_score, juice=juice)
    if value_score < value_min:
        return _pass(f"the value is below {value_min:g}", value_score=value_score, juice=juice)
    stake = min(max(kelly_fraction * (value_score / (odds - 1.0)), 0.0), stake_share_max)
    reasons = ["the stake is capped"] if stake == stake_share_max else []
    return {
        "action": action,
        "reasons": reasons,
        "verdict": "BET",
        "value_score": value_score,
        "juice": juice,
        "odds": odds,
        "stake_share": stake,
    }


def _closed(left_minutes: float, *, cutoff_minutes: float) -> dict[str, Any]:
    when = f"starts in {left_minutes:.1f} minutes" if left_minutes > 0 else f"started {-left_minutes:.1f} minutes ago"
    return {"action": "closed", "reasons": [f"the game {when}; the cut-off is {cutoff_minutes:g} minutes before"]}


def _decimal(moneyline: float) -> float:
    """What a stake of 1 returns, itself included."""
    return 1.0 + (moneyline / 100.0 if moneyline > 0 else 100.0 / -moneyline)


def _pass(reason: str, *, value_score: float | None, juice: float | None) -> dict[str, Any]:
    return {
        "action": "pass",
        "reasons": [reason],
        "verdict": "PASS",
        "value_score": value_score,
        "juice": juice,
        "odds": None,
        "stake_share": 0.0,
    }
