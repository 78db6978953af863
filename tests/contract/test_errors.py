"""The one tree of errors, and hints."""

from __future__ import annotations

import inspect

import pytest

from forecastle.contract import errors
from forecastle.contract.errors import ContractError, ForecastleError, Problem, did_you_mean


def tree() -> list[type[BaseException]]:
    return [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, BaseException)]


def test_every_error_is_a_forecastle_error_and_stands_in_the_drawing():
    """One `except ForecastleError` catches every refusal, and the docstring draws the whole tree."""
    assert all(issubclass(c, ForecastleError) for c in tree())
    assert errors.__doc__ is not None
    assert [c.__name__ for c in tree() if c.__name__ not in errors.__doc__] == []


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("a.yaml", 3, "is wrong", "mend it"), "a.yaml:3: is wrong (mend it)"),
        (Problem("a.yaml", 3, "is wrong"), "a.yaml:3: is wrong"),
        (Problem("a.yaml", 0, "is not there"), "a.yaml: is not there"),
    ],
)
def test_a_problem_is_place_text_and_hint(problem: Problem, text: str):
    """A problem of a whole file has no line."""
    assert str(problem) == text


def test_a_contract_error_lists_its_problems():
    """The count comes first, then one line each."""
    both = ContractError([Problem("a", 1, "x"), Problem("a", 2, "y", "z")])
    assert str(both) == "2 problems in the declaration:\n  a:1: x\n  a:2: y (z)"
    assert str(ContractError(both.problems[:1])).startswith("1 problem in the declaration:")


@pytest.mark.parametrize(
    ("got", "allowed", "hint"),
    [
        ("prize", ["price", "volume"], "did you mean 'price'?"),
        ("zzz", ["b", "a"], "allowed: a, b"),
        ("zzz", [], ""),
        ("zzz", [f"w{i:02}" for i in range(14)], "allowed: " + ", ".join(f"w{i:02}" for i in range(12)) + ", …"),
    ],
)
def test_a_hint_names_the_closest_word_or_the_words(got: str, allowed: list[str], hint: str):
    """Close words are suggested; otherwise at most twelve of the allowed ones are listed."""
    assert did_you_mean(got, allowed) == hint
