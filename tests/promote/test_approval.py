"""Approval: a named person, a bundle that waits, one champion; everything else is refused with what is wrong."""

from __future__ import annotations

import json
import multiprocessing
from datetime import timedelta
from pathlib import Path

import pytest

from forecastle.contract.errors import ConflictError, ForecastleError, LearnError
from forecastle.contract.system import Promote
from forecastle.promote.approval import approval_deadline, approve, awaiting
from forecastle.promote.gates import Decision, GateResult
from forecastle.promote.promote import Candidate, settle
from forecastle.promote.registry import Promotion
from tests.learn import ferries
from tests.learn.conftest import Built, Doors
from tests.promote.test_promote import sibling

MANUAL = Promote(approval="manual", expires=timedelta(days=7))
YES = Decision(promote=True, reasons=("all is well",), gates=(GateResult("rows", True, "all is well"),))
NO = Decision(promote=False, reasons=("99 test rows are too few",), gates=(GateResult("rows", False, "too few"),))


def wait(
    built: Built, doors: Doors, *, bundle: str = "", expected: Promotion | None = None, gates: Decision = YES
) -> str:
    """Settle a decision under manual approval; returns the bundle's hash."""
    candidate = Candidate("ferries", "trees", bundle or built.model.bundle, built.model.model_version)
    deadline = approval_deadline(MANUAL, now=ferries.NOW)
    made = settle(candidate, gates, built.model.evaluation, expected=expected, expires_at=deadline, **doors.open())
    assert made is None
    return candidate.bundle


def say_yes(doors: Doors, **changes: object) -> Promotion:
    asked = {"bundle": None, "by": "ann@example.org", "reason": "read the card", "declared": MANUAL, "now": ferries.NOW}
    return approve("ferries", **(asked | changes), **doors.open())


def test_only_manual_approval_waits() -> None:
    """A deadline where a person must agree, none where gates suffice."""
    assert approval_deadline(MANUAL, now=ferries.NOW) == ferries.NOW + timedelta(days=7)
    assert approval_deadline(Promote(), now=ferries.NOW) is None


def test_a_bundle_that_waits_answers_nobody(built, doors) -> None:
    """Its decision is recorded with the deadline; no champion, no pointer."""
    bundle = wait(built, doors)
    waiting = awaiting(doors.registry, "ferries", now=ferries.NOW)
    assert [(d.bundle, d.expires_at) for d in waiting] == [(bundle, ferries.NOW + timedelta(days=7))]
    assert doors.registry.champion("ferries") is None
    assert not doors.pointer.exists()


def test_a_named_person_makes_it_champion(built, doors) -> None:
    """The promotion names the person, the reason and the gates' decision; nothing waits any more."""
    bundle = wait(built, doors)
    made = say_yes(doors)
    decision = doors.registry.decisions("ferries")[0]
    assert (made.bundle, made.approved_by, made.reason) == (bundle, "ann@example.org", "read the card")
    assert made.decision_id == decision.decision_id
    assert doors.registry.champion("ferries") == made
    assert json.loads(doors.pointer.read_text())["bundle"] == bundle
    assert awaiting(doors.registry, "ferries", now=ferries.NOW) == []


@pytest.mark.parametrize("by", ["", "  ", "anonymous", "ROOT", "gates", "x", "--", "none"])
def test_nobody_in_particular_may_not_approve(built, doors, by) -> None:
    """A placeholder or a shared account is no person."""
    wait(built, doors)
    with pytest.raises(LearnError, match="needs a person's name"):
        say_yes(doors, by=by)
    assert doors.registry.champion("ferries") is None


def test_only_declared_approvers_may(built, doors) -> None:
    """Where the declaration names people, others are refused with the names."""
    wait(built, doors)
    declared = MANUAL.model_copy(update={"approvers": ["bob@example.org"]})
    with pytest.raises(LearnError, match=r"'ann@example.org' may not approve; promote.approvers names bob@example.org"):
        say_yes(doors, declared=declared)
    assert say_yes(doors, declared=declared, by="bob@example.org").approved_by == "bob@example.org"


@pytest.mark.parametrize(
    ("bundle", "says"), [("f" * 64, "names 0 bundles that were judged"), ("", "names 1 bundles"), ("zz", "names 0")]
)
def test_an_unknown_bundle_is_refused(built, doors, bundle, says) -> None:
    """No such hash, or too few digits: told what waits."""
    known = wait(built, doors)
    with pytest.raises(LearnError, match=says) as refusal:
        say_yes(doors, bundle=bundle)
    assert known[:12] in str(refusal.value)


def test_what_gates_refused_nobody_can_approve(built, doors) -> None:
    """The refusal tells when and why the gates said no."""
    bundle = wait(built, doors, gates=NO)
    with pytest.raises(LearnError, match="it was refused on 2026-06-01 12:00:00 UTC: 99 test rows are too few"):
        say_yes(doors, bundle=bundle[:8])
    with pytest.raises(LearnError, match="nothing waits for approval; materialise"):
        say_yes(doors)


def test_an_approval_comes_too_late(built, doors) -> None:
    """At the deadline it is over: the data have moved on since."""
    bundle = wait(built, doors)
    with pytest.raises(LearnError, match="its approval was due by 2026-06-08 12:00:00 UTC"):
        say_yes(doors, bundle=bundle, now=ferries.NOW + timedelta(days=7))
    assert say_yes(doors, now=ferries.NOW + timedelta(days=7, microseconds=-1)).bundle == bundle


def test_a_decision_beside_another_champion_is_stale(built, doors) -> None:
    """Two wait, one is approved: the other was compared with a champion that is no more."""
    first, second = wait(built, doors), wait(built, doors, bundle=sibling(built, doors, note="other"))
    with pytest.raises(LearnError, match="waits for approval; name one of them with --bundle"):
        say_yes(doors)
    say_yes(doors, bundle=first)
    with pytest.raises(ConflictError, match="another promotion came first"):
        say_yes(doors, bundle=second)
    assert doors.registry.decisions("ferries")[0].reasons[0].startswith("refused, asked by ann@example.org")
    with pytest.raises(LearnError, match="is the champion already"):
        say_yes(doors, bundle=first)


def test_automatic_decisions_are_nothing_to_approve(built, doors) -> None:
    """A bundle that lost a race was decided without approval; it is judged again, not waved through."""
    candidate = Candidate("ferries", "trees", sibling(built, doors, note="other"), built.model.model_version)
    settle(Candidate("ferries", "trees", built.model.bundle, "1"), YES, None, expected=None, **doors.open())
    with pytest.raises(ConflictError):
        settle(candidate, YES, None, expected=None, **doors.open())
    with pytest.raises(LearnError, match=r"it was refused on .* asked by gates"):
        say_yes(doors, bundle=candidate.bundle)


class Catalogue:
    """MLflow that knows every version; the race is the registry's."""

    def require_version(self, system: str, *, version: str) -> None: ...

    def alias(self, system: str, *, version: str) -> None: ...


def _race(kind: str, folder: str, bundle: str, version: str, barrier, results) -> None:  # noqa: PLR0917
    """One process: a person who approves, or an automatic promotion decided beside no champion."""
    doors = Doors(Path(folder))
    opened = doors.open() | {"tracking": Catalogue()}
    barrier.wait()
    try:
        if kind == "person":
            made = approve("ferries", bundle=bundle, by="ann", reason="", declared=MANUAL, now=ferries.NOW, **opened)
        else:
            made = settle(Candidate("ferries", "trees", bundle, version), YES, None, expected=None, **opened)
        results.put(("won", made.bundle))
    except ForecastleError as error:
        results.put(("refused", type(error).__name__))


@pytest.mark.parametrize("others", [("person", "gates"), ("gates", "gates"), ("person", "person")])
def test_two_promotions_at_once_end_in_one_champion(built, doors, others) -> None:
    """Approval beside automatic promotion, two of either: one wins in real processes, the other one is refused."""
    bundles = [wait(built, doors, bundle=sibling(built, doors, note=f"racer {number}")) for number in range(2)]
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    racers = [
        context.Process(
            target=_race, args=(kind, str(doors.folder), bundle, built.model.model_version, barrier, results)
        )
        for kind, bundle in zip(others, bundles, strict=True)
    ]
    for racer in racers:
        racer.start()
    found = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()
    won = [bundle for outcome, bundle in found if outcome == "won"]
    assert [p.bundle for p in doors.registry.history("ferries")] == won
    assert len(won) == 1
    assert json.loads(doors.pointer.read_text())["bundle"] == won[0]
    assert [outcome for outcome in found if outcome[0] == "refused"] == [("refused", "ConflictError")]
    refusals = [d for d in doors.registry.decisions("ferries") if not d.promote]
    assert [d.bundle for d in refusals] == [bundle for bundle in bundles if bundle not in won]
