"""Checks of a declared decision rule: its arguments, its imports, one call with plain numbers.

Belongs here: faults that only a decision rule can have, in words without a place.
Does not belong here: names that must exist and functions that must stand in the folder (`check.py`), the rule
itself (`decision.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from forecastle.contract.code import ModuleText
from forecastle.contract.column import Feature
from forecastle.contract.decision import LIGHT_MODULES, PREDICT_AT, PROBABILITY, DecisionRule
from forecastle.contract.errors import ForecastleError, Problem
from forecastle.contract.faults import Fault
from forecastle.contract.system import Decide

_TRIAL_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)


def decision_arguments(declared: Decide) -> list[str]:
    """The names a rule is called with."""
    return list(dict.fromkeys([PROBABILITY, *declared.inputs, *declared.params]))


def decision_faults(declared: Decide, features: Mapping[str, Feature]) -> Iterator[Fault]:
    """Names of parameters that mean something else already."""
    for name in declared.params:
        if name in {PROBABILITY, PREDICT_AT, *features}:
            yield f"parameter {name!r} has the name of a feature or of what every rule is given", "rename it"


def import_problems(module: ModuleText, *, own: frozenset[str]) -> Iterator[Problem]:
    """Imports that a rule may not have: it is arithmetic, and every serving process loads it.

    Args:
        module: the rule's module as it was read.
        own: modules of the system's folder and relative imports (""); they are told elsewhere.
    """
    for name, line in module.imports:
        if name not in LIGHT_MODULES | own:
            hint = f"a decision rule may import {', '.join(sorted(LIGHT_MODULES - {'__future__'}))}"
            yield Problem(module.file, line, f"imports {name}", hint)


def trial_fault(rule: DecisionRule, features: Mapping[str, Feature]) -> Fault | None:
    """What is wrong with the answer to a probability of one half and plain values, and to missing ones.

    A rule must bear a missing value wherever the contract lets one through.
    """
    plain = {name: _plain(features[name]) for name in rule.inputs if name != PREDICT_AT}
    nulls = {name: None for name in plain if features[name].nullable}
    for values, what in ((plain, "plain numbers"), (plain | nulls, "null for each nullable input")):
        try:
            rule.decide(0.5, values, predict_at=_TRIAL_AT)
        except ForecastleError as error:
            return str(error), f"called with probability 0.5 and {what}"
    return None


def _plain(feature: Feature) -> float:
    """A value near one that the contract allows."""
    low = 1.0 if feature.min is None else max(1.0, feature.min)
    return low if feature.max is None else min(low, feature.max)
