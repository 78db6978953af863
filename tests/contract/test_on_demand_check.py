"""On-demand functions: what they may be given, and one call that shows what they give."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from forecastle.contract.column import Feature
from forecastle.contract.on_demand_check import call_faults, input_faults
from forecastle.contract.system import OnDemand

NUMBER = Feature(dtype="float64", unit="ratio", min=3.0)
WORD = Feature(dtype="string", allowed=["calm", "rough"])
GROUP = OnDemand.model_validate(
    {"function": "features:sea", "inputs": ["wind"], "features": {"strain": {"dtype": "float64", "unit": "score"}}}
)


def faults(function: Callable[..., Any]) -> list[tuple[str, str]]:
    """Of the group above, whose function this is."""
    return list(call_faults(GROUP, {"wind": NUMBER}, function=lambda _: function))


def test_a_word_is_no_input() -> None:
    """Its place among the inputs, and what to do instead; numbers are fine."""
    ((index, (text, hint)),) = input_faults(["wind", "sky"], {"wind": NUMBER, "sky": WORD})
    assert (index, text) == (1, "input 'sky' is string, and functions take numbers")
    assert "CASE" in hint


def test_a_function_that_gives_what_it_declares_has_no_fault() -> None:
    """It is called with a number that the contract allows, and its warnings are its own."""

    def sea(*, wind: float) -> dict[str, float]:
        warnings.warn("rough", stacklevel=1)
        assert wind == 3.0
        return {"strain": wind}

    assert faults(sea) == []


@pytest.mark.parametrize(
    ("given", "text", "hint"),
    [
        ({"strein": 1.0}, "does not give feature 'strain'", "did you mean 'strein'?"),
        ({"strain": 1.0, "more": 2.0}, "gives undeclared feature 'more'", "declare it"),
        (None, "fails: TypeError: 'NoneType' object is not iterable", "one plain number"),
    ],
)
def test_what_it_gives_wrong_is_named(given: Any, text: str, hint: str) -> None:
    """A feature misspelt, one too many, and none at all."""
    told = faults(lambda *, wind: given)
    assert any(text in fault and hint in advice for fault, advice in told), told
