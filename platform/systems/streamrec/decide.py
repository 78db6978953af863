"""The decision rule of streamrec: which films are worth a place on the page.

Belongs here: arithmetic on one calibrated probability and named features; every number of the rule is a parameter.
Does not belong here: anything that reads a clock, a file or another module: the rule travels in the bundle.
"""

from __future__ import annotations

from typing import Any


def place(*, probability: float, liked_share: float | None, like_min: float, lift_min: float) -> dict[str, Any]:
    """Show a film that is likely enough to be liked, and by this user at least as likely as by anybody; else leave it.

    Args:
        probability: that the user likes the film within 7 days, calibrated.
        liked_share: share of all active users who like it, above 0.
        like_min: smallest probability that is worth a place.
        lift_min: smallest probability in units of that share.
    """
    if liked_share is None or liked_share <= 0.0:
        return {"action": "leave", "reasons": ["nobody knows how the film did"], "lift_ratio": None}
    lift = probability / liked_share
    reasons = []
    if probability < like_min:
        reasons.append(f"the probability is below {like_min:g}")
    if lift < lift_min:
        reasons.append(f"others like it more: lift {lift:.2f}, {lift_min:g} is asked")
    return {"action": "leave" if reasons else "show", "reasons": reasons, "lift_ratio": lift}
