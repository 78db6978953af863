"""Promotion as one act: recorded, pointed at, aliased; a bundle that is not whole is refused before any of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from datetime import timedelta

import pytest

from forecastle.contract.errors import BundleError, ConflictError, LearnError
from forecastle.learn.bundle import BundleParts, load_bundle, write_bundle
from forecastle.promote.gates import Decision, GateResult
from forecastle.promote.promote import Candidate, rollback, settle
from forecastle.promote.registry import write_pointer
from tests.learn.conftest import Built, Doors

YES = Decision(promote=True, reasons=("all is well",), gates=(GateResult("rows", True, "all is well"),))
NO = Decision(promote=False, reasons=("too few",), gates=(GateResult("rows", False, "too few"),))


def candidate(built: Built, **changes: str) -> Candidate:
    found = Candidate("ferries", "trees", built.model.bundle, built.model.model_version)
    return dataclasses.replace(found, **changes)


def sibling(built: Built, doors: Doors, *, golden_shift: float = 0.0, **facts: str) -> str:
    """Another bundle of the same model: other facts, or golden rows that are not the model's."""
    bundle = built.bundle
    golden = dataclasses.replace(bundle.golden, raw=tuple(raw + golden_shift for raw in bundle.golden.raw))
    parts = BundleParts(
        bundle.feature_set, bundle.model_bytes, bundle.calibrator, bundle.reference, golden, bundle.card,
        {**bundle.facts, **facts},
    )  # fmt: skip
    return write_bundle(doors.bundles, parts)


def state(doors: Doors) -> tuple[object, ...]:
    pointer = doors.pointer.read_text() if doors.pointer.exists() else None
    return doors.registry.history("ferries"), doors.registry.decisions("ferries"), pointer


def alias(mlflow, doors: Doors) -> str | None:
    client = mlflow.MlflowClient(doors.tracking.uri, doors.tracking.uri)
    found = client.get_registered_model("ferries").aliases.get("champion")
    return None if found is None else str(found)


def test_a_promotion_reaches_registry_pointer_and_alias(built, doors, mlflow) -> None:
    """One act leaves a decision with its evidence, a promotion that names it, the pointer and MLflow's alias."""
    promotion = settle(candidate(built), YES, built.model.evaluation, expected=None, **doors.open())
    decision = doors.registry.decisions("ferries")[0]
    assert doors.registry.champion("ferries") == promotion
    assert (promotion.bundle, promotion.decision_id) == (built.model.bundle, decision.decision_id)
    assert promotion.approved_by == "gates"
    assert decision.evidence["gates"] == YES.evidence
    assert decision.evidence["metrics"]["model.brier"] == built.model.evaluation.value("model", "brier")
    assert json.loads(doors.pointer.read_text())["bundle"] == built.model.bundle
    assert alias(mlflow, doors) == built.model.model_version


def test_a_refusal_is_recorded_and_changes_nothing_else(built, doors, mlflow) -> None:
    """A refused candidate leaves its decision; champion, pointer and alias stay."""
    settle(candidate(built), YES, built.model.evaluation, expected=None, **doors.open())
    history, _, pointer = state(doors)
    other = candidate(built, bundle=sibling(built, doors, note="other"))
    expected = doors.registry.champion("ferries")
    assert settle(other, NO, built.model.evaluation, expected=expected, **doors.open()) is None
    assert [d.promote for d in doors.registry.decisions("ferries")] == [False, True]
    assert doors.registry.decisions("ferries")[0].reasons == ("too few",)
    assert (state(doors)[0], state(doors)[2]) == (history, pointer)
    assert alias(mlflow, doors) == built.model.model_version


def test_a_champion_that_passes_again_is_no_new_promotion(built, doors, mlflow) -> None:
    """The same bundle judged once more: it stays champion since its first promotion, also where a person approves.

    A pointer that was lost meanwhile is written again, and a refusal of the champion is recorded like any other.
    """
    first = settle(candidate(built), YES, built.model.evaluation, expected=None, **doors.open())
    before = state(doors)
    doors.pointer.unlink()
    again = {"expected": first, **doors.open()}
    assert settle(candidate(built), YES, built.model.evaluation, **again) is None
    due = first.promoted_at + timedelta(days=7)
    assert settle(candidate(built), YES, built.model.evaluation, expires_at=due, **again) is None
    assert state(doors) == before
    assert alias(mlflow, doors) == built.model.model_version
    assert settle(candidate(built), NO, built.model.evaluation, **again) is None
    assert [d.promote for d in doors.registry.decisions("ferries")] == [False, True]


def test_a_refusal_without_a_champion_leaves_no_pointer(built, doors, mlflow) -> None:
    """The first candidate refused: a decision, and nothing that answers."""
    assert settle(candidate(built), NO, built.model.evaluation, expected=None, **doors.open()) is None
    assert not doors.pointer.exists()
    assert alias(mlflow, doors) is None


def test_the_second_of_two_promotions_is_refused(built, doors) -> None:
    """Two decisions against the same champion: the later one is recorded and refused, the pointer stays."""
    settle(candidate(built), YES, built.model.evaluation, expected=None, **doors.open())
    other = candidate(built, bundle=sibling(built, doors, note="other"))
    with pytest.raises(ConflictError, match="another promotion came first"):
        settle(other, YES, built.model.evaluation, expected=None, **doors.open())
    assert [p.bundle for p in doors.registry.history("ferries")] == [built.model.bundle]
    refusal, *earlier = doors.registry.decisions("ferries")
    assert [d.promote for d in earlier] == [True, True]
    assert (refusal.promote, refusal.bundle) == (False, other.bundle)
    assert "refused, asked by gates: ferries: another promotion came first" in refusal.reasons[0]
    assert refusal.evidence == {"refused_decision_id": earlier[0].decision_id}
    assert json.loads(doors.pointer.read_text())["bundle"] == built.model.bundle


def test_rollback_is_the_same_act(built, doors) -> None:
    """An older bundle comes back by a decision, a promotion and the pointer, with who said so and why."""
    first = settle(candidate(built), YES, built.model.evaluation, expected=None, **doors.open())
    newer = candidate(built, bundle=sibling(built, doors, note="newer"))
    second = settle(newer, YES, built.model.evaluation, expected=first, **doors.open())
    older = Candidate("ferries", "trees", first.bundle, first.model_version)
    why = rollback("answers were late since noon")
    third = settle(older, why, None, expected=second, approved_by="ann@example.org", **doors.open())
    assert [p.bundle for p in doors.registry.history("ferries")] == [first.bundle, newer.bundle, first.bundle]
    assert (third.approved_by, third.previous_id) == ("ann@example.org", second.promotion_id)
    assert doors.registry.decisions("ferries")[0].reasons == ("answers were late since noon",)
    assert json.loads(doors.pointer.read_text())["promotion_id"] == third.promotion_id


def test_a_run_killed_after_the_registry_is_mended_by_the_next(built, doors, mlflow) -> None:
    """Pointer and alias that a killed run left behind follow the registry at the next decision, a refusal too."""
    first = settle(candidate(built), YES, built.model.evaluation, expected=None, **doors.open())
    newer = sibling(built, doors, note="newer")
    second = doors.registry.promote(
        "ferries", bundle=newer, model_version=built.model.model_version, approved_by="gates", expected=first
    )
    write_pointer(doors.pointer, first)
    settle(candidate(built), NO, built.model.evaluation, expected=second, **doors.open())
    assert json.loads(doors.pointer.read_text())["bundle"] == newer


def damage(kind: str, built: Built, doors: Doors) -> Candidate:
    folder = doors.bundles / built.model.bundle
    if kind == "gone":
        shutil.rmtree(folder)
    elif kind == "changed":
        (folder / "model.txt").write_bytes((folder / "model.txt").read_bytes() + b" ")
    elif kind == "golden":
        return candidate(built, bundle=sibling(built, doors, golden_shift=1e-9))
    elif kind == "system":
        return candidate(built, system="streams")
    return candidate(built)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("gone", r"manifest\.json cannot be read"),
        ("changed", r"model\.txt is"),
        ("golden", "may not answer: golden row 0"),
        ("system", "may not answer: it is of system 'ferries', asked was 'streams'"),
    ],
)
@pytest.mark.parametrize("decision", [YES, NO])
def test_a_bundle_that_is_not_whole_records_nothing(built, doors, kind, told, decision) -> None:
    """A bundle that is gone, changed, of other golden rows or of another system: an error, and all as it was."""
    asked = damage(kind, built, doors)
    before = state(doors)
    with pytest.raises(BundleError, match=told):
        settle(asked, decision, built.model.evaluation, expected=None, **doors.open())
    assert state(doors) == before == ([], [], None)


def test_a_version_that_mlflow_does_not_know_is_refused(built, doors) -> None:
    """Promotion fails closed: without its catalogue entry a bundle is not promoted and nothing is recorded."""
    with pytest.raises(LearnError, match="MLflow has no version 99 of ferries"):
        settle(candidate(built, model_version="99"), YES, built.model.evaluation, expected=None, **doors.open())
    assert state(doors) == ([], [], None)


def test_the_promoted_bundle_loads_by_the_recorded_hash(built, doors) -> None:
    """What the registry names is what loads."""
    promotion = settle(candidate(built), YES, built.model.evaluation, expected=None, **doors.open())
    assert load_bundle(doors.bundles / promotion.bundle, expected_hash=promotion.bundle).hash == promotion.bundle
