"""Contract → pandera schema, for whole tables, with the same rule words as requests (`request.py`).

Belongs here: the compiler and the tidy table of violations.
Does not belong here: what to do with rows that break a rule (`store/`).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
import pandera.errors
import pandera.pandas as pa

from forecastle.contract.column import Column
from forecastle.contract.request import RULES

VIOLATION_COLUMNS: Final = ("row", "column", "value", "rule")

# pandas holds an int64 or bool with nulls as float64 or object, and a date always as object: those three are
# told by their values.
_PANDAS_DTYPE: Final = {"float64": "float64", "string": "str", "timestamp": pd.DatetimeTZDtype("us", "UTC")}
_PANDERA_RULES: Final = {
    "not_nullable": "nullable",
    "column_in_schema": "unknown",
    "column_in_dataframe": "missing",
}
_OF_COLUMN: Final = frozenset({"unknown", "missing", "dtype"})

_Row = tuple[int | None, str, Any, str]


def table_schema(columns: Mapping[str, Column]) -> pa.DataFrameSchema:
    """A strict, lazy pandera schema: every named column once, no other, order free."""
    return pa.DataFrameSchema({name: _column(column) for name, column in columns.items()}, strict=True, ordered=False)


def violations(frame: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    """Every value that breaks its contract: row (position, Int64), column, value, rule (the first one it
    breaks).

    Rules are those of `request.check_value`, plus `missing` (a column is absent) and `unknown` (one too
    many). A column held in another dtype is one row with no position, and nothing further is told about it.

    Raises:
        ValueError: a column name stands twice.
    """
    if not frame.columns.is_unique:
        raise ValueError(f"got {list(frame.columns)}; each column stands once; rename or drop one")
    try:
        table_schema(columns).validate(frame.reset_index(drop=True), lazy=True)
    except pandera.errors.SchemaErrors as error:
        return _tidy(error.failure_cases, columns)
    return _frame([])


def _column(column: Column) -> pa.Column:
    checks = []
    if column.dtype == "int64":
        checks.append(_check(_whole, "dtype"))
    if column.dtype in {"bool", "date"}:
        checks.append(_check(_instances(column.dtype), "dtype"))
    if column.dtype == "float64":
        checks.append(_check(lambda values: ~np.isinf(values), "finite"))
    low, high = column.min, column.max
    if column.dtype == "int64":
        # Compared as integers: as floats, neighbours above 2**53 are equal.
        low, high = None if low is None else math.ceil(low), None if high is None else math.floor(high)
    if low is not None:
        checks.append(pa.Check.ge(low, error="min"))
    if high is not None:
        checks.append(pa.Check.le(high, error="max"))
    if column.allowed is not None:
        checks.append(pa.Check.isin(column.allowed, error="allowed"))
    return pa.Column(
        _PANDAS_DTYPE.get(column.dtype),
        checks=checks,
        nullable=column.nullable,
        description=column.description or None,
    )


def _check(rule: Callable[[pd.Series[Any]], Any], name: str) -> pa.Check:
    return pa.Check(rule, error=name, ignore_na=True)


def _whole(values: pd.Series[Any]) -> pd.Series[bool]:
    """Integers, or floats that hold one without loss."""
    if values.dtype == np.dtype("int64"):
        return pd.Series(True, index=values.index)
    if values.dtype != np.dtype("float64"):
        return pd.Series(False, index=values.index)
    whole: pd.Series[bool] = np.isfinite(values) & (values == np.floor(values)) & (values.abs() < 2.0**63)
    return whole


def _instances(dtype: str) -> Callable[[pd.Series[Any]], pd.Series[bool]]:
    kinds: dict[str, tuple[type, ...]] = {"bool": (bool, np.bool_), "date": (dt.date,)}

    def check(values: pd.Series[Any]) -> pd.Series[bool]:
        # A datetime is a date to Python, and no date to us.
        return values.map(lambda v: isinstance(v, kinds[dtype]) and not isinstance(v, dt.datetime)).astype(bool)

    return check


def _tidy(cases: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    """The cases of pandera with our words: one row per value, in the order of columns and rows."""
    rows = [_row(case) for case in cases.to_dict("records")]
    retyped = {name for row, name, _, rule in rows if row is None and rule == "dtype"}
    # A check that broke off on values of another dtype has no position: the dtype is the fault, and it is told.
    rows = [r for r in rows if r[3] in _OF_COLUMN or (r[0] is not None and r[1] not in retyped)]
    order = {name: position for position, name in enumerate(columns)}
    rank = {rule: position for position, rule in enumerate(RULES)}
    rows.sort(key=lambda r: (order.get(r[1], len(order)), -1 if r[0] is None else r[0], rank.get(r[3], -1)))
    first: dict[tuple[str, int | None], _Row] = {}
    for row in rows:
        first.setdefault((row[1], row[0]), row)
    return _frame(list(first.values()))


def _row(case: Mapping[Any, Any]) -> _Row:
    check, failure, index = str(case["check"]), case["failure_case"], case["index"]
    if check.startswith("dtype("):
        # The column as a whole: pandera may still name the first value it could not convert.
        return None, str(case["column"]), None, "dtype"
    rule = _PANDERA_RULES.get(check, check)
    if rule in {"unknown", "missing"}:
        return None, str(failure), None, rule
    return None if pd.isna(index) else int(index), str(case["column"]), failure, rule


def _frame(rows: list[_Row]) -> pd.DataFrame:
    columns = list(zip(*rows, strict=True)) or [()] * len(VIOLATION_COLUMNS)
    dtypes = ("Int64", "str", "object", "str")
    return pd.DataFrame(
        {
            name: pd.Series(list(values), dtype=dtype)
            for name, values, dtype in zip(VIOLATION_COLUMNS, columns, dtypes, strict=True)
        }
    )
