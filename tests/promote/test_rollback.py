"""Which earlier champion comes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from forecastle.contract.errors import LearnError
from forecastle.promote.registry import Promotion
from forecastle.promote.rollback import rollback_reason, rollback_target, withdrawal

A, B, C = ("a" * 64, "b" * 64, "b" * 10 + "c" * 54)


def history(*bundles: str) -> list[Promotion]:
    """Promotions of these bundles, the newest first, as the registry gives them."""
    at = datetime(2026, 6, 1, tzinfo=UTC)
    count = len(bundles)
    return [Promotion(count - i, "toy", bundle, "1", at, "gates", None, None) for i, bundle in enumerate(bundles)]


def test_the_champion_before_comes_back():
    """Promoted A, then B twice: without a name it is A, not the same bundle's earlier promotion."""
    assert rollback_target(history(B, B, A)).bundle == A


def test_a_bundle_is_named_by_its_first_digits():
    """Ten equal digits leave B and C open; eleven name one of them; the newest promotion of it is taken."""
    found = rollback_target(history(A, B, C, B), to="b" * 11)
    assert (found.bundle, found.promotion_id) == (B, 3)
    with pytest.raises(LearnError, match="names 2 former champions"):
        rollback_target(history(A, B, C), to="b" * 10)


@pytest.mark.parametrize(
    ("past", "to", "says"),
    [
        ((), None, "no champion to roll back from"),
        ((A, A), None, "only champion there ever was"),
        ((A, B), "aaaaaaaa", "is the champion already"),
        ((A, B), "bbbb", "8 digits or more"),
        ((A, B), "cccccccc", "names 0 former champions"),
    ],
)
def test_a_refusal_says_what_is_there(past, to, says):
    """Nothing earlier, the champion itself, too few digits or an unknown hash are refused with what would be right."""
    with pytest.raises(LearnError, match=says):
        rollback_target(history(*past), to=to)


@pytest.mark.parametrize(
    ("past", "rolled_back", "withdrawn"),
    [
        ((A, B, A), {3}, True),  # B was promoted after A, and a person went back to A
        ((C, A, B, A), {3}, True),  # what was promoted since changes nothing
        ((B, A, B, A), {3}, False),  # somebody brought it back
        ((A, B, A), set(), False),  # A came back by the gates
        ((B, A), {2}, False),  # the champion itself
        ((C, A), {2}, False),  # never promoted
    ],
)
def test_a_bundle_that_a_person_withdrew_is_known(past, rolled_back, withdrawn):
    """The act that ended its last time as champion was a rollback, whose sentence is told."""
    sentence = rollback_reason(B, by="ann", reason="odd answers at night")
    promotions = [replace(p, decision_id=p.promotion_id) for p in history(*past)]
    reasons = {p.promotion_id: (sentence,) if p.promotion_id in rolled_back else ("passed",) for p in promotions}
    assert withdrawal(B, promotions, reasons) == (sentence if withdrawn else None)
