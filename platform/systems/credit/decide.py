"""The decision rule of credit: leave the limit, look at the account, or stop new purchases, with reason codes.

Belongs here: arithmetic on one calibrated probability and named features; every number of the rule is a parameter.
Does not belong here: anything that reads a clock, a file or another module: the rule travels in the bundle.
"""

from __future__ import annotations

from typing import Any


def judge(
    *,
    probability: float,
    pay_status: int | None,
    late_share_6m: float | None,
    utilisation: float | None,
    paid_share_3m: float | None,
    refer_min: float,
    decline_min: float,
    utilisation_max: float,
    paid_share_min: float,
    codes_max: int,
) -> dict[str, Any]:
    """Accept below `refer_min`, decline from `decline_min` on, refer to a person between and where facts are missing.

    A client who is not accepted is told why: each reason code stands for a line of a declared scorecard that the
    client is beyond, the furthest beyond first. None of them reads sex, age or education.

    Args:
        probability: of being two months late or more on the next statement, calibrated.
        pay_status: of the newest statement: months of delay; 0 and below are none.
        late_share_6m: share of the newest six statements with two months of delay or more.
        utilisation: newest bill over the limit.
        paid_share_3m: paid over billed in three months; None where nothing was billed.
        refer_min: smallest probability that a person looks at.
        decline_min: smallest probability that is declined.
        utilisation_max: above this share of the limit the bill itself is a reason.
        paid_share_min: below this share of the bills the payments are a reason.
        codes_max: most codes that are told.
    """
    beyond = {
        "R1 the newest statement is late": float(max(pay_status or 0, 0)),
        "R2 statements of the last six months were late": 2.0 * (late_share_6m or 0.0),
        "R3 the bill is near the limit": _over(utilisation, utilisation_max),
        "R4 payments are small beside the bills": _over(paid_share_min, paid_share_3m) / max(paid_share_min, 1e-9),
    }
    missing = pay_status is None or utilisation is None
    action = "decline" if probability >= decline_min else "refer" if probability >= refer_min or missing else "accept"
    if action == "accept":
        return {"action": action, "reasons": []}
    codes = sorted((code for code, much in beyond.items() if much > 0.0), key=lambda code: (-beyond[code], code))
    if missing:
        codes.insert(0, "R8 the newest statement is not known")
    # The model adds up what no single line of the scorecard is beyond.
    return {"action": action, "reasons": codes[:codes_max] or ["R9 several small signs together"]}


def _over(value: float | None, limit: float | None) -> float:
    """How far a value lies above a limit; 0 below it and where either is missing."""
    return 0.0 if value is None or limit is None else max(value - limit, 0.0)
