"""The decision rule of credit_loans: pay out, ask a person, or decline, with what is expected of the loan and why.

Belongs here: interest that is earned against what a late loan loses, and reasons for the person who is asked. What
a late loan loses is a parameter, since the files do not say; nothing of ours is imported: a bundle holds its rule.
Does not belong here: habits of past loans (the views), other terms that could be offered.
"""

from __future__ import annotations

from typing import Any


def judge(
    *,
    probability: float,
    amount_ngn: float | None,
    interest_ratio: float | None,
    late_share_365d: float | None,
    newest_days_late: float | None,
    loss_ratio: float,
    refer_min: float,
    days_late_max: float,
    late_share_max: float,
    codes_max: int,
) -> dict[str, Any]:
    """Accept what is expected to pay; refer risky loans and what cannot be judged; decline what is expected to lose.

    Args:
        probability: of not being paid back on time, calibrated.
        amount_ngn: lent.
        interest_ratio: interest and fees over the amount.
        late_share_365d: share of late ones of the loans paid back within a year; None where there are none.
        newest_days_late: delay of the newest of them.
        loss_ratio: share of the amount that a late loan loses; the declared one, and so `expected_ngn`, is a guess.
        refer_min: smallest probability that a person looks at.
        days_late_max, late_share_max: a longer delay of the newest loan, a larger share of late ones is a reason.
        codes_max: most reason codes that are told.
    """
    if amount_ngn is None or interest_ratio is None:
        return {"action": "refer", "expected_ngn": None, "reasons": ["R8 the terms of the loan are not known"]}
    expected = amount_ngn * (interest_ratio * (1.0 - probability) - loss_ratio * probability)
    action = "decline" if expected < 0.0 else "refer" if probability >= refer_min else "accept"
    told = {
        "R1 the newest loan was paid back late": (newest_days_late or 0.0) > days_late_max,
        "R2 loans of the last year were late": (late_share_365d or 0.0) > late_share_max,
        "R3 no loan was paid back within a year": late_share_365d is None,
        "R4 interest is small beside the risk": interest_ratio * (1.0 - probability) < loss_ratio * probability,
    }
    # The model adds up what no single line is beyond.
    codes = [code for code, holds in told.items() if holds] or ["R9 several small signs together"]
    reasons = [] if action == "accept" else codes[:codes_max]
    return {"action": action, "expected_ngn": round(expected, 2), "reasons": reasons}
