"""Every system keeps every rule: ours, a user's in FORECASTLE_SYSTEMS, and one that this suite writes itself."""

from __future__ import annotations

from itertools import islice

import pytest

from forecastle.contract.errors import ForecastleError
from tests.conformance.materialised import Materialised
from tests.conformance.rules import RULES

SHOWN = 10


@pytest.mark.parametrize("rule", RULES)
def test_conformance(made: Materialised, rule: str) -> None:
    """A system that fails says which rule it breaks, and how."""
    found = broken(made, rule)
    sentence = (RULES[rule].__doc__ or "").strip()
    assert found == [], "\n  ".join([f"{made.system.name} breaks the rule {rule!r}: {sentence}", *found])


def broken(made: Materialised, rule: str) -> list[str]:
    """The first ways in which a system breaks a rule; a fault of its own in the words that its user reads."""
    try:
        return list(islice(RULES[rule](made), SHOWN))
    except ForecastleError as error:
        return [str(error)]
