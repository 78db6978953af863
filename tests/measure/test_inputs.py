"""Unclean input into every public function: a refusal that says what to do, or the documented limit value."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from inspect import isgenerator, signature
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.measure.isotonic import Cells, pool_ties
from tests.measure.public_functions import CALLS, Call, public_functions

FUNCTIONS = public_functions()
BROKEN = ("empty", "missing", "infinite", "shorter", "text", "two-dimensional")

# Kinds of input that are welcome, by the function whose docstring says so.
ELEMENTWISE = {"empty", "two-dimensional"}
EVERYTHING = ELEMENTWISE | {"missing", "infinite", "text"}
WELCOME: dict[str, set[str]] = {
    "arrays.as_numbers": ELEMENTWISE,
    "arrays.same_length": {"missing", "infinite", "text", "two-dimensional"},  # lengths are all it looks at
    "bootstrap.interval_of": {"missing", "infinite"},  # undefined and infinite replicates
    "calibrators.inside": EVERYTHING,  # arithmetic of the serving path: `apply` has checked the score
    "calibrators.log_odds": EVERYTHING,
    "calibrators.sigmoid": EVERYTHING,
    "clocks.ahead_rows": {"empty", "missing", "infinite", "two-dimensional"},  # a missing time is not ahead
    "clocks.clock_gap": {"empty", "missing", "infinite"},  # rows without a time are left out
    "confidence_sequence.asymptotic_half_width": ELEMENTWISE,
    "confidence_sequence.asymptotic_log_e": ELEMENTWISE,
    "confidence_sequence.boundary": ELEMENTWISE,
    "confidence_sequence.log_mixture": ELEMENTWISE,
    "cumulative.brownian_maximum_survival": {"infinite"},
    "cumulative.brownian_range_survival": {"infinite"},
    "distance.ks_distance": {"shorter"},  # two samples of any sizes
    "distance.wasserstein_distance": {"shorter"},
    "drift.drift_table": {"missing", "infinite", "shorter"},  # counted as nulls; windows of any size
    "drift.unit_change": {"missing", "infinite", "shorter"},
    "intervals.clopper_pearson": ELEMENTWISE,
    "intervals.two_proportions": ELEMENTWISE,
    "intervals.wilson": ELEMENTWISE,
    "monitoring.maturity_curve": {"empty"},  # nobody waits for a label; an arrived one is needed all the same
    "multiple.benjamini_hochberg": {"empty"},
    "multiple.benjamini_yekutieli": {"empty"},
    "multiple.holm": {"empty"},
    "nuisance.default_models": EVERYTHING,  # only asks if 0/1
    "nuisance.is_binary": EVERYTHING,
    "records.json_ready": EVERYTHING,  # any value has a JSON form
    "reference.as_column": {"missing", "infinite", "text"},  # nulls are counted, text is a category
    "reference.category_counts": {"missing"},
    "reference.kind_of": {"empty", "missing"},
    "reference.reference": {"missing", "infinite", "text"},
    "reference.sorted_values": {"missing", "infinite"},
}
# Numbers that may be missing or infinite in a limit case, by the function whose docstring says so.
SMALL_OR_SINGLE = {"p_value", "q_value", "ratio_high", "expected_over_observed"}
ONE_CLASS = {"in_the_large", "in_the_large_standard_error"}
MAY_BE_MISSING: dict[str, set[str]] = {
    "bootstrap.interval_of": {"estimate"},
    "calibration_report.calibration_report": SMALL_OR_SINGLE | ONE_CLASS | {"threshold", "ratio", "high"},
    "calibration_tests.expected_over_observed": {"ratio", "high"},
    "calibration_tests.hosmer_lemeshow": {"statistic"},
    "calibration_tests.spiegelhalter_test": {"z"},
    "comparison.paired_test": {"statistic"},
    "confidence_sequence.asymptotic_sequence": {"low", "high"},
    "cumulative.cumulative_calibration": {"range_in_sigma", "maximum_in_sigma"},
    "curves.roc_curve": {"threshold"},
    "drift.drift_table": {
        "chi2_p_value", "ks", "ks_p_value", "l_infinity", "median_ratio", "tail_rate", "tail_rate_expected",
        "unseen_rate", "unseen_rate_expected", "wasserstein_sd",
    },
    "fairness.group_auc": {"auc"},
    "fairness.group_rates": {"rate"},
    "multiclass.multiclass_calibration": {"p_value", "q_value"},
    "periods.calibration_by_period": ONE_CLASS,
    "quality.quality_bands": {"expected", "low", "high"},
    "ranking.rank_users": {"hit", "recall", "ndcg"},
    "scores.skill": {""},
    "segments.segment_calibration": SMALL_OR_SINGLE,
}  # fmt: skip

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


def spoiled(values: Any, kind: str) -> Any:  # noqa: PLR0911
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
    if isinstance(value, float | np.floating):
        yield name, float(value)
    elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
        yield from ((name, number) for number in value.ravel().tolist())
    elif isinstance(value, tuple | list):
        yield from (found for inner in value for found in numbers(inner, name))
    else:
        yield from (found for key, inner in parts(value).items() for found in numbers(inner, key))


def parts(value: Any) -> dict[str, Any]:
    """Fields of a record, columns of a table, entries of a mapping; nothing of anything else."""
    if isinstance(value, pd.DataFrame):
        return {str(key): column for key, column in value.to_dict(orient="list").items()}
    if is_dataclass(value):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    return {str(key): inner for key, inner in value.items()} if isinstance(value, Mapping) else {}


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


def refusal_of(name: str, call: Call) -> str:
    """Empty when the call is refused with a sentence; else what happened instead."""
    try:
        run(name, call)
    except MeasureError as refusal:
        return "" if len(str(refusal)) > 30 else f"refused without a remedy: {refusal}"
    except Exception as error:  # noqa: BLE001  # any other exception is the finding
        return f"{type(error).__name__}: {error}"
    return "accepted"


@pytest.mark.parametrize("name", sorted(CALLS))
def test_broken_input_is_refused(name):
    """Empty, missing, infinite, mismatched, textual and two-dimensional input raises, argument by argument."""
    call, found = CALLS[name], {}
    lengths = [len(at(call, place)) for place in places(call)]
    for place in places(call):
        has_company = lengths.count(len(at(call, place))) > 1
        for kind in set(BROKEN) - WELCOME.get(name, set()):
            value = spoiled(at(call, place), kind)
            if value is not None and (has_company or kind != "shorter"):
                found[place[1:], kind] = refusal_of(name, put(call, place, value))
    assert {case: happened for case, happened in found.items() if happened} == {}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_constant_input_has_a_documented_answer(name):
    """One class only, one value only: a refusal, or a result in which no number goes missing unsaid."""
    call, found = CALLS[name], []
    for place in places(call):
        values = at(call, place)
        for value in {values.ravel()[0], min(values.ravel()), max(values.ravel())}:
            is_array = isinstance(values, np.ndarray)
            constant = np.full(values.shape, value) if is_array else values[:1].repeat(len(values))
            try:
                result = run(name, put(call, place, constant))
            except MeasureError:
                continue
            found += [(place[1:], value, field) for field in unsaid(name, result)]
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
        if type(value) is float:
            try:
                result = run(name, put(call, ("args", i), number))
            except MeasureError:
                continue
            assert unsaid(name, result) == []


@pytest.mark.parametrize("name", sorted(CALLS))
def test_missing_options_are_refused(name):
    """A level, tolerance, threshold or share that is NaN is refused: compared with NaN nothing would ever alarm."""
    call, found = CALLS[name], {}
    given = {key: option.default for key, option in signature(FUNCTIONS[name]).parameters.items()} | call.options
    for key, value in given.items():
        if type(value) is float and key not in {"score", "reference"}:
            found[key] = refusal_of(name, put(call, ("options", key), math.nan))
        elif isinstance(value, Mapping) and all(type(share) is float for share in value.values()):
            found[key] = refusal_of(name, put(call, ("options", key), dict.fromkeys(value, math.nan)))
    assert {key: happened for key, happened in found.items() if happened} == {}
