"""One value of one request against its contract, and the proof that tables are judged by the same rules."""

from __future__ import annotations

import datetime as dt
import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from forecastle.contract.column import Column
from forecastle.contract.request import INT64_LIMIT, RULES, Bounds, bounds_of, check_value, shown
from forecastle.contract.table import violations

PRICE = Column(dtype="float64", unit="usd", min=0, max=10)


def rule(value: Any, **contract: Any) -> str | None:
    found = check_value("x", value, Column(unit="one", **contract))
    return None if found is None else found.rule


@pytest.mark.parametrize(
    ("value", "broken"),
    [
        (0, None), (0.0, None), (10, None), (-0.0, None), (5e-324, None),
        (None, "nullable"), ("1", "dtype"), (True, "dtype"), ([1], "dtype"), ({}, "dtype"), (10**30, "dtype"),
        (math.nan, "finite"), (math.inf, "finite"), (-math.inf, "finite"),
        (-1e-9, "min"), (10.000001, "max"),
    ],
)  # fmt: skip
def test_a_float_is_a_finite_number_within_its_range(value: Any, broken: str | None):
    """Bounds are inclusive; a text, a truth or a list is no number; NaN is no null."""
    assert rule(value, dtype="float64", min=0, max=10) == broken


@pytest.mark.parametrize(
    ("value", "broken"),
    [
        (0, None), (3, None), (INT64_LIMIT - 1, None), (-INT64_LIMIT, None),
        (1.0, "dtype"), (1.5, "dtype"), (math.nan, "dtype"), (True, "dtype"), ("3", "dtype"),
        (INT64_LIMIT, "dtype"), (-INT64_LIMIT - 1, "dtype"), (None, "nullable"),
    ],
)  # fmt: skip
def test_an_integer_is_whole_and_fits_64_bits(value: Any, broken: str | None):
    """1.0 is a float in JSON and stays one."""
    assert rule(value, dtype="int64") == broken


@pytest.mark.parametrize(
    ("dtype", "value", "broken"),
    [
        ("bool", True, None), ("bool", 1, "dtype"), ("bool", "true", "dtype"), ("bool", None, "nullable"),
        ("string", "", None), ("string", 1, "dtype"), ("string", None, "nullable"),
        ("date", "2026-06-01", None), ("date", "2026-02-30", "dtype"), ("date", "2026-06-01T00:00", "dtype"),
        ("date", "20260601", "dtype"), ("date", 20260601, "dtype"),
        ("timestamp", "2026-06-01T12:00:00Z", None), ("timestamp", "2026-06-01T12:00:00+02:00", None),
        ("timestamp", "2026-06-01T12:00:00", "dtype"), ("timestamp", "noon", "dtype"), ("timestamp", 0, "dtype"),
    ],
)  # fmt: skip
def test_the_other_dtypes(dtype: str, value: Any, broken: str | None):
    """A truth is true or false, a date is ISO 8601, and a timestamp has its zone."""
    assert rule(value, dtype=dtype) == broken


def test_null_is_a_value_where_the_contract_says_so():
    """A nullable column takes null and nothing else new."""
    assert rule(None, dtype="float64", nullable=True) is None
    assert rule(math.nan, dtype="float64", nullable=True) == "finite"


def test_the_first_broken_rule_is_told():
    """A value outside its range that is not among the allowed ones breaks its range."""
    assert rule(7, dtype="int64", max=3, allowed=[1, 2]) == "max"
    assert rule(3, dtype="int64", max=3, allowed=[1, 2]) == "allowed"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "price is null; a value is required"),
        ("9", "price is '9' (str); float64 is required"),
        (math.nan, "price is nan; a finite number is required"),
        (-1, "price is -1; at least 0 usd is allowed"),
        (10.5, "price is 10.5; at most 10 usd is allowed"),
    ],
)
def test_a_violation_says_name_value_and_what_is_allowed(value: Any, text: str):
    """The sentence is for the person who sent the request: name, value, rule, unit."""
    found = check_value("price", value, PRICE)
    assert found is not None
    assert (found.feature, found.text) == ("price", text)


def test_a_number_without_a_unit_word_has_none_in_its_sentence():
    """`one` and `category` are no words to read."""
    found = check_value("x", 2, Column(dtype="int64", unit="category", max=1))
    assert found is not None
    assert found.text == "x is 2; at most 1 is allowed"


def test_allowed_values_are_listed():
    """A wrong word is told with the right ones."""
    found = check_value("region", "nroth", Column(dtype="string", allowed=["north", "south"]))
    assert found is not None
    assert found.text == "region is 'nroth'; allowed: north, south"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a" * 80, "a" * 80),
        ("a" * 81, "a" * 79 + "…"),
        (1.5, 1.5),
        (True, True),
        (None, None),
        ([1, 2], "list"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_what_is_repeated_in_an_answer_is_short(value: Any, kept: Any):
    """Neither a megabyte of text nor an integer of five thousand digits comes back, and NaN as a word, not as null."""
    assert shown(value) == kept


def test_a_huge_integer_is_told_by_its_size():
    """Python refuses to write out so many digits; log2(10**5000) = 5000 · log2(10) = 16,609.6."""
    assert shown(10**5000) == "an integer of 16610 bits"
    assert rule(10**5000, dtype="float64") == "dtype"


@pytest.mark.parametrize("column", [PRICE, Column(dtype="int64"), Column(dtype="string")])
def test_a_violation_keeps_a_json_value(column: Column):
    """NaN cannot be written in JSON, so it is kept as text, whichever rule it breaks."""
    found = check_value("x", math.nan, column)
    assert found is not None
    assert found.value == "nan"


_BOUNDS = st.none() | st.integers(-5, 5).map(float) | st.floats(-5, 5)


@st.composite
def contracts(draw: st.DrawFn) -> Column:
    dtype = draw(st.sampled_from(["float64", "int64", "bool", "string"]))
    ranged, listed = dtype in {"float64", "int64"}, dtype in {"int64", "string"}
    words: Any = st.integers(-6, 6) if dtype == "int64" else st.sampled_from(["a", "b", ""])
    return Column(
        dtype=dtype,
        unit="one",
        nullable=draw(st.booleans()),
        min=draw(_BOUNDS) if ranged else None,
        max=draw(_BOUNDS) if ranged else None,
        allowed=draw(st.none() | st.lists(words, min_size=1, max_size=3, unique=True)) if listed else None,
    )


_VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-8, 8)
    | st.sampled_from([INT64_LIMIT - 1, -INT64_LIMIT, 2**53 + 1])
    | st.floats(-8, 8)
    | st.sampled_from([math.inf, -math.inf])
    | st.sampled_from(["a", "b", "c", "", "1", "nan"])
)


def held(values: list[Any], dtype: str) -> pd.Series[Any]:
    """Values as an honest reader of a file holds them: in the dtype if they fit it, as objects if not."""
    numbers = [v for v in values if v is not None]
    whole = all(isinstance(v, int) and not isinstance(v, bool) for v in numbers)
    number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in numbers)
    if dtype == "float64" and number:
        return pd.Series([math.nan if v is None else float(v) for v in values], dtype="float64")
    if dtype == "int64" and whole and len(numbers) == len(values):
        return pd.Series(values, dtype="int64")
    if dtype == "int64" and number and not (whole and any(abs(v) > 2**53 for v in numbers)):
        return pd.Series([math.nan if v is None else float(v) for v in values], dtype="float64")
    if dtype == "string" and all(isinstance(v, str) for v in numbers):
        return pd.Series(values, dtype="str")
    return pd.Series(values, dtype="object")


def table_rules(values: list[Any], column: Column) -> list[str | None]:
    found = violations(pd.DataFrame({"x": held(values, column.dtype)}), {"x": column})
    whole = found.loc[found["row"].isna(), "rule"].tolist()
    by_row = dict(zip(found["row"].dropna().astype(int), found.loc[found["row"].notna(), "rule"], strict=True))
    return [whole[0] if whole else by_row.get(row) for row in range(len(values))]


@settings(max_examples=100, deadline=None)
@example(Column(dtype="int64", unit="one", max=2.0**53), 2**53 + 1)
@example(Column(dtype="float64", unit="one", max=1), math.inf)
@example(Column(dtype="int64", unit="one", min=0.5), 0)
@example(Column(dtype="int64", unit="one"), None)
@example(Column(dtype="bool", nullable=True), None)
@example(Column(dtype="bool"), "a")
@given(contracts(), _VALUES)
def test_the_two_compilers_of_a_contract_agree_on_one_value(column: Column, value: Any):
    """The same bad value breaks the same rule, in a request and in a table; a good one breaks none in either."""
    # A table has no other way to hold a whole number beside a null than 3.0; a request tells 3.0 from 3.
    assume(not (column.dtype == "int64" and isinstance(value, float) and value.is_integer()))
    scalar = check_value("x", value, column)
    assert table_rules([value], column) == [scalar.rule if scalar else None]


@settings(max_examples=60, deadline=None)
@given(contracts(), st.data())
def test_the_two_compilers_agree_row_by_row(column: Column, data: st.DataObject):
    """In a column of values of the right dtype and nulls, exactly the rows that a request would refuse are told."""
    kind = {"float64": st.floats(-8, 8), "int64": st.integers(-8, 8), "bool": st.booleans(),
            "string": st.sampled_from(["a", "b", "c", ""])}[column.dtype]  # fmt: skip
    values = data.draw(st.lists(st.none() | kind, min_size=1, max_size=6))
    expected = [None if (v := check_value("x", value, column)) is None else v.rule for value in values]
    assert table_rules(values, column) == expected


def test_every_rule_has_a_value_that_breaks_it_in_both():
    """The agreement is not empty: each rule word is met, by a request and by a table."""
    contract = {"dtype": "int64", "unit": "one", "min": 0, "max": 5, "allowed": [1, 2, 9]}
    bad = {"nullable": None, "dtype": "a", "min": -1, "max": 6, "allowed": 3}
    for word, value in bad.items():
        found = check_value("x", value, Column(**contract))
        assert found is not None
        assert found.rule == word
        assert table_rules([value], Column(**contract)) == [word]
    assert table_rules([math.inf], PRICE) == [rule(math.inf, dtype="float64")] == ["finite"]
    assert {*bad, "finite"} == set(RULES)


def test_dates_and_times_agree():
    """A date column holds dates, a timestamp column UTC instants; text in either breaks dtype as in a request."""
    day = Column(dtype="date", unit="date")
    assert violations(pd.DataFrame({"x": [dt.date(2026, 6, 1)]}), {"x": day}).empty
    for bad in ("2026-06-01", dt.datetime(2026, 6, 1, tzinfo=dt.UTC)):
        frame = pd.DataFrame({"x": pd.Series([bad], dtype="object")})
        assert violations(frame, {"x": day})["rule"].tolist() == ["dtype"]
    moment = Column(dtype="timestamp", unit="utc")
    good = pd.Series(np.array(["2026-06-01"], dtype="datetime64[us]")).dt.tz_localize("UTC")
    assert violations(pd.DataFrame({"x": good}), {"x": moment}).empty
    for bad_times in (good.dt.tz_localize(None), good.dt.tz_convert("Europe/Berlin"), pd.Series(["2026-06-01"])):
        assert violations(pd.DataFrame({"x": bad_times}), {"x": moment})["rule"].tolist() == ["dtype"]


def test_no_check_warns():
    """Judging a table raises no warning, whatever the values are."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert table_rules([math.inf, -math.inf, None], PRICE) == ["finite", "finite", "nullable"]


@given(
    st.sampled_from(["float64", "int64", "bool", "string"]),
    st.none() | st.floats(-1e6, 1e6),
    st.none() | st.floats(-1e6, 1e6),
    st.floats() | st.integers() | st.booleans() | st.none() | st.text(max_size=3),
    st.booleans(),
)
def test_what_is_certainly_allowed_breaks_no_rule(dtype, low, high, value, is_listed):
    """A value of the right Python type within `bounds_of` passes `check_value` whatever the contract says."""
    column = Column(dtype=dtype, unit="one", min=low, max=high, allowed=[1, 2] if is_listed else None)
    bounds = bounds_of(column)
    if bounds is not None and type(value) is bounds.kind and bounds.low <= value <= bounds.high:
        assert check_value("x", value, column) is None


def test_bounds_tell_nothing_where_a_list_decides():
    """No bounds for listed values, texts and booleans; for numbers the declared limits, else the type's own."""
    assert bounds_of(Column(dtype="int64", unit="one", allowed=[1])) is None
    assert bounds_of(Column(dtype="bool")) is None
    assert bounds_of(Column(dtype="float64", unit="one", min=0, max=1)) == Bounds(float, 0, 1)
    assert bounds_of(Column(dtype="int64", unit="one")) == Bounds(int, -(2**63), 2**63 - 1)
    assert bounds_of(Column(dtype="float64", unit="one")).high < math.inf
