"""The decision rule of churn: whom it pays to contact before they leave.

Belongs here: arithmetic on one calibrated probability and named features; every number of the rule is a parameter.
Does not belong here: anything that reads a clock, a file or another module: the rule travels in the bundle.
"""

from __future__ import annotations

from typing import Any


def retain(
    *,
    probability: float,
    revenue_180d_gbp: float | None,
    risk_min: float,
    contact_cost_gbp: float,
    kept_share: float,
    margin_share: float,
) -> dict[str, Any]:
    """Contact a customer at high risk when what a contact saves on average is more than it costs; else leave.

    The gain of a contact is probability × kept_share × margin_share × half a year's revenue, minus its cost.

    Args:
        probability: of no order in the next 90 days, calibrated.
        revenue_180d_gbp: what the customer spent in the last 180 days, less what came back.
        risk_min: smallest probability that makes the high-risk list.
        contact_cost_gbp: cost of one contact.
        kept_share: share of leaving customers that a contact keeps.
        margin_share: margin on what a kept customer spends.
    """
    if revenue_180d_gbp is None:
        return {"action": "leave", "reasons": ["nobody knows what the customer spends"], "gain_gbp": None}
    saved = probability * kept_share * margin_share * max(revenue_180d_gbp, 0.0)
    gain = saved - contact_cost_gbp
    reasons = []
    if probability < risk_min:
        reasons.append(f"the risk is below {risk_min:g}")
    if gain <= 0.0:
        reasons.append(f"a contact costs {contact_cost_gbp:g} GBP and saves {saved:.2f}")
    return {"action": "leave" if reasons else "contact", "reasons": reasons, "gain_gbp": gain}
