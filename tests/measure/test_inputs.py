"""Unclean input into every public function: a refusal that says what to do, or the documented limit value."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from inspect import isgenerator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.measure.isotonic import Cells, pool_ties
from tests.measure.public_functions import CALLS, Call, public_functions

FUNCTIONS = public_functions()
BROKEN = ("empty", "missing", "infinite", "shorter", "text", "two-dimensional")
CONSTANT = ("first", "smallest", "largest")

# (function, kind of input) that is welcome, and why: the docstring says so.
WELCOME: dict[tuple[str, str], str] = {}
# Numbers that may be missing or infinite in a limit case, by the function whose docstring says so.
MAY_BE_MISSING: dict[str, set[str]] = {}

DEGENERATE = {
    "one row": pool_ties([1], [0.3]),
    "no event": pool_ties(np.zeros(50), np.linspace(0.1, 0.9, 50)),
    "only events": pool_ties(np.ones(50), np.linspace(0.1, 0.9, 50)),
    "one probability": pool_ties(np.arange(50) % 2, np.full(50, 0.5)),
    "certain and right": pool_ties(np.arange(50) % 2, np.arange(50) % 2),
    "certain and wrong": pool_ties(np.arange(50) % 2, (np.arange(50) + 1) % 2),
    "weighted": pool_ties(np.arange(50) % 2, np.linspace(0.1, 0.9, 50), weights=np.linspace(0.0, 2.0, 50)),
}


def places(call: Call) -> Iterator[tuple[Any, ...]]:
    """Where a call holds an array of rows: ("args", i), ("options", name), with a key inside mappings."""
    for kind, items in (("args", enumerate(call.args)), ("options", call.options.items())):
        for key, value in items:
            if isinstance(value, np.ndarray | pd.DatetimeIndex):
                yield kind, key
            elif isinstance(value, Mapping):
                yield from ((kind, key, name) for name, inner in value.items() if isinstance(inner, np.ndarray))


def at(call: Call, place: tuple[Any, ...]) -> Any:
    value = getattr(call, place[0])[place[1]]
    return value[place[2]] if len(place) == 3 else value


def put(call: Call, place: tuple[Any, ...], value: Any) -> Call:
    if len(place) == 3:
        value = {**getattr(call, place[0])[place[1]], place[2]: value}
    if place[0] == "args":
        return replace(call, args=(*call.args[: place[1]], value, *call.args[place[1] + 1 :]))
    return replace(call, options={**call.options, place[1]: value})


def spoiled(values: Any, kind: str) -> Any:
    """The array with one fault; None where the fault has no meaning for it."""
    is_number = isinstance(values, np.ndarray) and values.dtype.kind in "fi"
    if kind == "empty":
        return values[:0]
    if kind == "shorter":
        return values[:-1] if len(values) > 2 else None
    if kind == "missing" and isinstance(values, pd.DatetimeIndex):
        return values[:-1].append(pd.DatetimeIndex([pd.NaT], tz="UTC"))
    if kind in ("missing", "infinite") and (is_number or kind == "missing"):
        changed = values.astype(float if is_number else object)
        changed[0] = (np.nan if kind == "missing" else np.inf) if is_number else None
        return changed
    if not is_number:
        return None
    if kind == "text":
        return np.array(["much"] * len(values), dtype=object)
    return values[:, None]


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every float of a result with the name of its field or column."""
    if isinstance(value, bool | str | int) or value is None:
        return
    if isinstance(value, float | np.floating):
        yield name, float(value)
    elif isinstance(value, np.ndarray):
        yield from ((name, float(v)) for v in value.ravel() if isinstance(v, float | np.floating))
    elif isinstance(value, pd.DataFrame):
        for column in value:
            yield from ((str(column), float(v)) for v in value[column] if isinstance(v, float | np.floating))
    elif is_dataclass(value):
        for one in fields(value):
            yield from numbers(getattr(value, one.name), one.name)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from numbers(inner, str(key))
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from numbers(inner, name)


def run(name: str, call: Call) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = FUNCTIONS[name](*call.args, **call.options)
        return list(result) if isgenerator(result) else result


def unsaid(name: str, result: Any) -> list[str]:
    allowed = MAY_BE_MISSING.get(name, set())
    return sorted({field for field, number in numbers(result) if not math.isfinite(number)} - allowed)


def test_every_public_function_has_a_call():
    """A new public function must be declared in `public_functions.CALLS`, a removed one taken out."""
    assert sorted(CALLS) == sorted(FUNCTIONS)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_valid_input_gives_finite_numbers(name):
    """The declared call works without a warning, and no number of its result is missing."""
    assert unsaid(name, run(name, CALLS[name])) == []


@pytest.mark.parametrize("name", sorted(CALLS))
def test_broken_input_is_refused(name):
    """Empty, missing, infinite, mismatched, textual and two-dimensional input raises, argument by argument."""
    accepted = []
    lengths = [len(at(CALLS[name], place)) for place in places(CALLS[name])]
    for place in places(CALLS[name]):
        for kind in BROKEN:
            value = spoiled(at(CALLS[name], place), kind)
            is_alone = kind == "shorter" and lengths.count(len(at(CALLS[name], place))) < 2
            if value is None or is_alone or (name, kind) in WELCOME:
                continue
            try:
                run(name, put(CALLS[name], place, value))
            except MeasureError as refusal:
                assert len(str(refusal)) > 30, "a refusal says what was got and what to do"
            except Exception as error:  # noqa: BLE001
                accepted.append(f"{place[1:]} {kind}: {type(error).__name__} {error}")
            else:
                accepted.append(f"{place[1:]} {kind}: accepted")
    assert accepted == []


@pytest.mark.parametrize("name", sorted(CALLS))
def test_constant_input_has_a_documented_answer(name):
    """One class only, one value only: a refusal, or a result in which no number goes missing unsaid."""
    found = []
    for place in places(CALLS[name]):
        values = at(CALLS[name], place)
        for value in {values.ravel()[0], min(values.ravel()), max(values.ravel())}:
            constant = np.full(values.shape, value) if isinstance(values, np.ndarray) else values[:1].repeat(len(values))
            try:
                found += [f"{place[1:]} = {value}: {field}" for field in unsaid(name, run(name, put(CALLS[name], place, constant)))]
            except MeasureError:
                continue
            except Exception as error:  # noqa: BLE001
                found.append(f"{place[1:]} = {value}: {type(error).__name__} {error}")
    assert found == []


@pytest.mark.parametrize("kind", sorted(DEGENERATE))
@pytest.mark.parametrize("name", sorted(name for name, c in CALLS.items() if any(isinstance(a, Cells) for a in c.args)))
def test_degenerate_cells_have_a_documented_answer(name, kind):
    """Pooled forecasts of one row, one class, one value or certain ones: a refusal or documented numbers."""
    call = CALLS[name]
    try:
        result = run(name, replace(call, args=(DEGENERATE[kind], *call.args[1:])))
    except MeasureError:
        return
    assert unsaid(name, result) == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", sorted(name for name, c in CALLS.items() if any(type(a) is float for a in c.args)))
def test_missing_and_infinite_scalars(name, number):
    """A scalar argument that is not finite is refused, or the answer is a number or None."""
    call = CALLS[name]
    for i, value in enumerate(call.args):
        if type(value) is float and (name, "scalar") not in WELCOME:
            try:
                result = run(name, put(call, ("args", i), number))
            except MeasureError:
                continue
            assert unsaid(name, result) == []
