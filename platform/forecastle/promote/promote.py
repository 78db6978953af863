"""Promotion, one recorded act: decision, registry, pointer, alias.

Belongs here: applying a decision, and rolling back by the same act.
Does not belong here: the gates (`gates.py`), the rows kept (`registry.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from forecastle.contract.errors import BundleError, ConflictError
from forecastle.learn.bundle import load_bundle
from forecastle.learn.evaluate import Evaluation
from forecastle.learn.golden import golden_faults
from forecastle.learn.tracking import Tracking
from forecastle.promote.gates import Decision
from forecastle.promote.registry import Promotion, Registry, publish_pointer


@dataclass(frozen=True, slots=True)
class Candidate:
    """A bundle that asks to become champion."""

    system: str
    model: str
    bundle: str
    model_version: str


def settle(
    candidate: Candidate,
    decision: Decision,
    evaluation: Evaluation | None,
    *,
    registry: Registry,
    tracking: Tracking,
    bundles: Path,
    pointer: Path,
    expected: Promotion | None,
    approved_by: str = "gates",
    expires_at: datetime | None = None,
) -> Promotion | None:
    """Record a decision and, when it says so, make the candidate champion; returns the new promotion or None.

    `evaluation` is the evidence (None where a person decided, as in a rollback), `expected` the champion the
    decision was made against, `approved_by` who or what said so. With `expires_at` a decision to promote changes
    nothing yet: until then a person may approve it (`approval.approve`). A champion that passes once more stays what
    it is since when it was promoted: nothing is recorded. Pointer and alias are set to the registry's champion
    whatever the decision: a run that was killed between them is mended by the next.

    Raises:
        BundleError: the bundle on disk is not the one that was evaluated, or does not give its golden rows.
        LearnError: MLflow does not know the candidate's version. Nothing is recorded in either case.
        ConflictError: another promotion came first; the decision and its refusal stay recorded, the champion stays.
    """
    evidence = {"gates": decision.evidence, "metrics": _finite(evaluation) if evaluation else {}}
    check_candidate(candidate, tracking=tracking, bundles=bundles)
    if decision.promote and is_champion(candidate, expected):
        announce(candidate.system, registry=registry, tracking=tracking, pointer=pointer)
        return None
    waits = expires_at if decision.promote else None
    decision_id = _record(registry, candidate, decision, evidence, expected=expected, expires_at=waits)
    try:
        if not decision.promote or waits is not None:
            return None
        return promote_recorded(candidate, registry, decision_id, expected=expected, approved_by=approved_by)
    finally:
        announce(candidate.system, registry=registry, tracking=tracking, pointer=pointer)


def is_champion(candidate: Candidate, champion: Promotion | None) -> bool:
    """Whether a candidate is the very bundle that answers already."""
    return champion is not None and champion.bundle == candidate.bundle


def promote_recorded(
    candidate: Candidate,
    registry: Registry,
    decision_id: int,
    *,
    expected: Promotion | None,
    approved_by: str,
    reason: str = "",
) -> Promotion:
    """Make a candidate champion by a decision that is recorded; when another came first, that is recorded as well.

    Raises:
        ConflictError: another promotion came first; the champion stays.
    """
    try:
        return registry.promote(
            candidate.system,
            bundle=candidate.bundle,
            model_version=candidate.model_version,
            approved_by=approved_by,
            expected=expected,
            decision_id=decision_id,
            reason=reason,
        )
    except ConflictError as conflict:
        refusal = Decision(promote=False, reasons=(f"refused, asked by {approved_by}: {conflict}",), gates=())
        _record(registry, candidate, refusal, {"refused_decision_id": decision_id})
        raise


def rollback(reason: str) -> Decision:
    """The decision of a person who wants an older bundle back; `settle` applies it like any other."""
    return Decision(promote=True, reasons=(reason,), gates=())


def check_candidate(candidate: Candidate, *, tracking: Tracking, bundles: Path) -> None:
    """All that can refuse a bundle, before anything is recorded.

    Raises:
        BundleError: the bundle on disk is damaged, of another system, or does not give its golden rows.
        LearnError: MLflow does not know the version.
    """
    bundle = load_bundle(bundles / candidate.bundle, expected_hash=candidate.bundle)
    faults = golden_faults(bundle)
    if bundle.system != candidate.system:
        faults = (f"it is of system {bundle.system!r}, asked was {candidate.system!r}", *faults)
    if faults:
        raise BundleError(f"bundle {bundle.hash[:12]} may not answer: {'; '.join(faults[:3])}; train again")
    tracking.require_version(candidate.system, version=candidate.model_version)


def _record(
    registry: Registry,
    candidate: Candidate,
    decision: Decision,
    evidence: Mapping[str, Any],
    *,
    expected: Promotion | None = None,
    expires_at: datetime | None = None,
) -> int:
    return registry.record_decision(
        candidate.system,
        model=candidate.model,
        bundle=candidate.bundle,
        model_version=candidate.model_version,
        promote=decision.promote,
        reasons=decision.reasons,
        evidence=evidence,
        expected=expected,
        expires_at=expires_at,
    )


def announce(system: str, *, registry: Registry, tracking: Tracking, pointer: Path) -> None:
    """Let serving's pointer and MLflow's alias name the registry's champion."""
    champion = publish_pointer(pointer, registry, system=system)
    if champion is not None:
        tracking.alias(system, version=champion.model_version)


def _finite(evaluation: Evaluation) -> dict[str, float]:
    """JSON has no infinity: log loss of a certain and wrong baseline is left out of the record, Brier stays."""
    return {name: value for name, value in evaluation.metrics().items() if abs(value) < float("inf")}
