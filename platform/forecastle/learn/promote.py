"""Promotion, one recorded act: decision, registry, pointer, alias.

Belongs here: applying a decision, and rolling back by the same act.
Does not belong here: the gates (`gates.py`), the rows kept (`registry.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forecastle.learn.bundle import load_bundle
from forecastle.learn.evaluate import Evaluation
from forecastle.learn.gates import Decision
from forecastle.learn.registry import Promotion, Registry, write_pointer
from forecastle.learn.tracking import Tracking


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
    evaluation: Evaluation,
    *,
    registry: Registry,
    tracking: Tracking,
    bundles: Path,
    pointer: Path,
    expected: Promotion | None,
) -> Promotion | None:
    """Record a decision and, when it says so, make the candidate champion; returns the new promotion or None.

    `expected` is the champion the decision was made against.

    Raises:
        BundleError: the bundle on disk is not the one that was evaluated; nothing is recorded.
        ConflictError: another promotion came first; the decision stays recorded, the champion stays.
    """
    load_bundle(bundles / candidate.bundle, expected_hash=candidate.bundle)
    decision_id = registry.record_decision(
        candidate.system,
        model=candidate.model,
        bundle=candidate.bundle,
        model_version=candidate.model_version,
        promote=decision.promote,
        reasons=decision.reasons,
        evidence={"gates": decision.evidence(), "metrics": _finite(evaluation)},
    )
    if not decision.promote:
        return None
    promotion = registry.promote(
        candidate.system,
        bundle=candidate.bundle,
        model_version=candidate.model_version,
        approved_by="gates",
        expected=expected,
        decision_id=decision_id,
    )
    write_pointer(pointer, promotion)
    tracking.alias(candidate.system, version=candidate.model_version)
    return promotion


def _finite(evaluation: Evaluation) -> dict[str, float]:
    """JSON has no infinity: log loss of a certain and wrong baseline is left out of the record, Brier stays."""
    return {name: value for name, value in evaluation.metrics().items() if abs(value) < float("inf")}
