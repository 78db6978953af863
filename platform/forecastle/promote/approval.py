"""Approval: a named person lets a bundle that passed its gates become champion.

Belongs here: which decisions wait, who may approve, and every reason why an approval comes to nothing.
Does not belong here: the gates (`gates.py`), the act itself (`promote.py`), how a person says it (the command line,
the run configuration of the promotion asset).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from forecastle.contract.errors import LearnError
from forecastle.contract.system import Promote
from forecastle.learn.tracking import Tracking
from forecastle.promote.promote import Candidate, announce, check_candidate, promote_recorded
from forecastle.promote.registry import Promotion, RecordedDecision, Registry
from forecastle.promote.rollback import PREFIX_LENGTH_MIN

# Accounts and placeholders that name nobody, and what the platform itself signs with.
NOBODY: Final = frozenset(
    {"admin", "anonymous", "anyone", "gates", "nobody", "none", "null", "rollout", "root", "system", "unknown", "user"}
)
_NAMED: Final = re.compile(r"\w.*\w", re.DOTALL)


def approval_deadline(declared: Promote, *, now: datetime) -> datetime | None:
    """Until when a decision made now waits for a person; None where none has to agree."""
    return now + declared.expires if declared.approval == "manual" else None


def awaiting(registry: Registry, system: str, *, now: datetime) -> list[RecordedDecision]:
    """Decisions that a person can still approve, newest first: not expired, and against the champion of now."""
    champion = registry.champion(system)
    return [d for d in registry.decisions(system) if _waits(d, champion=champion, now=now)]


def approve(
    system: str,
    *,
    bundle: str | None,
    by: str,
    reason: str,
    declared: Promote,
    registry: Registry,
    tracking: Tracking,
    bundles: Path,
    pointer: Path,
    now: datetime,
) -> Promotion:
    """Make the bundle of a waiting decision champion, by name and for ever in the registry.

    Args:
        bundle: its hash or at least the first eight digits; without it the one decision that waits.
        by: who approves; `reason` is why, in their words, and may be empty.
        declared: says who may.
        pointer: the file that serving watches; `bundles` the folder of the system's bundles.

    Raises:
        LearnError: nobody is named or they may not approve; no decision of that bundle waits, with what is wrong.
        BundleError: the bundle on disk is damaged.
        ConflictError: another promotion came first, while it waited or just now; that is recorded, the champion stays.
    """
    person = _person(by, declared)
    decision = _chosen(system, registry, bundle, now=now)
    # The champion that the decision was made beside, not the one of now: whoever came in between is no secret.
    expected = next((p for p in registry.history(system) if p.promotion_id == decision.expected_id), None)
    candidate = Candidate(system, decision.model, decision.bundle, decision.model_version)
    check_candidate(candidate, tracking=tracking, bundles=bundles)
    try:
        return promote_recorded(
            candidate, registry, decision.decision_id, expected=expected, approved_by=person, reason=reason.strip()
        )
    finally:
        announce(system, registry=registry, tracking=tracking, pointer=pointer)


def _person(by: str, declared: Promote) -> str:
    person = by.strip()
    if not _NAMED.fullmatch(person) or person.lower() in NOBODY:
        raise LearnError(f"an approval needs a person's name, got {by!r}; say who approves, such as ann@example.org")
    if declared.approvers and person not in declared.approvers:
        raise LearnError(f"{person!r} may not approve; promote.approvers names {', '.join(declared.approvers)}")
    return person


def _chosen(system: str, registry: Registry, bundle: str | None, *, now: datetime) -> RecordedDecision:
    decisions, champion = registry.decisions(system), registry.champion(system)
    waiting = [d for d in decisions if _waits(d, champion=champion, now=now)]
    listed = ", ".join(dict.fromkeys(d.bundle[:12] for d in waiting)) or "nothing"
    if bundle is None:
        if len({d.bundle for d in waiting}) == 1:
            return waiting[0]
        raise LearnError(f"{system}: {listed} waits for approval; {_next_step(waiting)}")
    if champion is not None and bundle and champion.bundle.startswith(bundle):
        raise LearnError(f"{system}: bundle {champion.bundle[:12]} is the champion already; nothing changes")
    fitting = [d for d in decisions if d.bundle.startswith(bundle)]
    if len(bundle) < PREFIX_LENGTH_MIN or len({d.bundle for d in fitting}) != 1:
        raise LearnError(
            f"{system}: {bundle!r} names {len({d.bundle for d in fitting})} bundles that were judged; give "
            f"{PREFIX_LENGTH_MIN} digits or more of one; {listed} waits for approval"
        )
    fault = _fault(fitting[0], now=now)
    if fault is not None:
        raise LearnError(f"{system}: bundle {fitting[0].bundle[:12]} cannot be approved: {fault}")
    return fitting[0]


def _next_step(waiting: Sequence[RecordedDecision]) -> str:
    return "name one of them with --bundle" if waiting else "materialise the promotion asset to have a bundle judged"


def _waits(decision: RecordedDecision, *, champion: Promotion | None, now: datetime) -> bool:
    live = champion.promotion_id if champion else None
    return _fault(decision, now=now) is None and decision.expected_id == live


def _fault(decision: RecordedDecision, *, now: datetime) -> str | None:
    """Why a decision is nothing that a person could approve, whoever is champion."""
    again = "have it judged again: materialise promotion"
    if not decision.promote:
        return f"it was refused on {_moment(decision.decided_at)}: {decision.reasons[0]}"
    if decision.expires_at is None:
        return f"it was decided when no approval was asked for; {again}"
    if decision.expires_at <= now:
        return f"its approval was due by {_moment(decision.expires_at)}; {again}"
    return None


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
