"""Decision rules: from a probability and named features to an action with its reasons, by a system's own function.

Belongs here: the rule as it travels in a bundle, calling it, and what counts as a decision.
Does not belong here: rules of any system (its `decide.py`), HTTP, where the probability comes from.
Standard library only: it is served. A rule is a pure function: no clock, no file, no import beyond `LIGHT_MODULES`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from forecastle.contract.errors import BundleError, DecisionError
from forecastle.contract.feature_set import load_module
from forecastle.contract.types import NAME_PATTERN

CLOSED: Final = "closed"
"""The action that says: it is too late, there is nothing to predict any more."""
PREDICT_AT: Final = "predict_at"
"""The input that is no feature: the moment of the prediction, a datetime in UTC."""
PROBABILITY: Final = "probability"
LIGHT_MODULES: Final = frozenset({"__future__", "collections", "dataclasses", "datetime", "decimal", "math", "typing"})

_NAME: Final = re.compile(NAME_PATTERN)
_KEPT: Final = ("action", "reasons")


@dataclass(frozen=True)
class DecisionRule:
    """One declared rule with the source text of its module; `inputs` are features by name, or `predict_at`."""

    system: str
    function: str
    inputs: tuple[str, ...]
    params: Mapping[str, bool | int | float | str]
    code: str

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` gives an equal rule."""
        return {
            "system": self.system,
            "function": self.function,
            "inputs": list(self.inputs),
            "params": dict(self.params),
            "code": self.code,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DecisionRule:
        """Read what `to_json` wrote.

        Raises:
            BundleError: a key is missing.
        """
        try:
            rule = cls(data["system"], data["function"], tuple(data["inputs"]), dict(data["params"]), data["code"])
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"a decision rule cannot be read: {error!r}; build the bundle again") from error
        return rule

    @cached_property
    def compiled(self) -> Callable[..., Any]:
        """The function itself, from the code this rule carries (never from the working tree).

        Raises:
            BundleError: the code does not run or lacks the function.
        """
        module, _, name = self.function.partition(":")
        try:
            found: Callable[..., Any] = getattr(load_module(module, self.code, origin=self.system), name)
        except Exception as error:  # a bundle's own code may raise anything
            text = f"{self.function} of {self.system!r} cannot be loaded: {error!r}; build the bundle again"
            raise BundleError(text) from error
        return found

    def decide(self, probability: float, values: Mapping[str, Any], *, predict_at: datetime) -> dict[str, Any]:
        """The decision for one probability: `action`, `reasons`, and whatever numbers the rule adds.

        Args:
            probability: calibrated, 0 to 1.
            values: at least every input by name, numbers; None or NaN is missing. The rule is given floats and
                None, so that one row and a column of rows say the same.
            predict_at: the moment of the prediction, tz-aware UTC.

        Raises:
            DecisionError: the rule fails, or what it gives is no decision.
        """
        given = {name: predict_at if name == PREDICT_AT else _number(values[name]) for name in self.inputs}
        try:
            made = self.compiled(probability=probability, **given, **self.params)
        except Exception as error:  # a system's own code may raise anything
            raise DecisionError(f"{self.function} fails for {PROBABILITY} {probability}: {error!r}") from error
        return _checked(made, self.function)


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _checked(made: Any, function: str) -> dict[str, Any]:
    if not isinstance(made, Mapping) or not isinstance(made.get("action"), str) or not _NAME.match(made["action"]):
        raise DecisionError(f"{function} gives {made!r}; a mapping with an action (a name such as accept) is needed")
    reasons = made.get("reasons", ())
    if not isinstance(reasons, list | tuple) or not all(isinstance(reason, str) and reason for reason in reasons):
        raise DecisionError(f"{function} gives reasons {reasons!r}; a list of texts is needed")
    for name, value in made.items():
        if name in _KEPT:
            continue
        finite = not isinstance(value, float) or math.isfinite(value)
        if not (isinstance(name, str) and _NAME.match(name) and isinstance(value, bool | int | float | str | None)):
            raise DecisionError(f"{function} gives {name!r}: {value!r}; names with numbers, texts or null are kept")
        if not finite:
            raise DecisionError(f"{function} gives {name} {value}; a finite number or null is needed")
    return {"action": made["action"], "reasons": list(reasons)} | {n: v for n, v in made.items() if n not in _KEPT}
