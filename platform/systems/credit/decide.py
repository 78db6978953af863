"""The decision rule of credit: leave the limit, look at the account, or stop new purchases, with reason codes.

Belongs here: three bands of the probability, and the scorecard that says why; its limits are parameters. It imports
nothing of ours: a decision can be read again with the rule that its bundle carried.
Does not belong here: what moved the model's number (`/explain`), the audit of groups (the gates).
"""

from __future__ import annotations

from typing import Any


def judge(
    *,
    probability: float,
    pay_status: int | None,
    late_share_6m: float | None,
    utilisation: float | None,
    paid_share_2m: float | None,
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
        paid_share_2m: paid over billed in two months; None where nothing was billed.
        refer_min, decline_min: smallest probabilities that a person looks at, and that are declined.
        utilisation_max: above this share of the limit the bill itself is a reason.
        paid_share_min: below this share of the bills the payments are a reason.
        codes_max: most codes that are told.
    """
    missing = pay_status is None or utilisation is None
    action = "decline" if probability >= decline_min else "refer" if probability >= refer_min or missing else "accept"
    beyond = {
        "R1 the newest statement is late": float(max(pay_status or 0, 0)),
        "R2 statements of the last six months were late": 2.0 * (late_share_6m or 0.0),
        "R3 the bill is near the limit": _over(utilisation, utilisation_max),
        "R4 payments are small beside the bills": _over(paid_share_min, paid_share_2m) / max(paid_share_min, 1e-9),
    }
    return {"action": action, "reasons": [] if action == "accept" else _codes(beyond, missing=missing)[:codes_max]}


def _codes(beyond: dict[str, float], *, missing: bool) -> list[str]:
    """Lines of the scorecard that the client is beyond, the furthest first."""
    told = ["R8 the newest statement is not known"] if missing else []
    told += sorted((code for code, much in beyond.items() if much > 0.0), key=lambda code: (-beyond[code], code))
    # The model adds up what no single line of the scorecard is beyond.
    return told or ["R9 several small signs together"]


def _over(value: float | None, limit: float | None) -> float:
    """How far a value lies above a limit; 0 below it and where either is missing."""
    return 0.0 if value is None or limit is None else max(value - limit, 0.0)
