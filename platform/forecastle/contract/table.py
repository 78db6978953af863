"""Contract → pandera schema, for whole tables, with the same rule words as requests (`request.py`).

Belongs here: the compiler and the tidy table of violations.
Does not belong here: what to do with rows that break a rule (`store/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
import pandera.errors
import pandera.pandas as pa

from forecastle.contract.system import Column

VIOLATION_COLUMNS: Final = ("row", "column", "value", "rule")

_PANDAS_DTYPE: Final = {
    "float64": "float64",
    "int64": "int64",
    "bool": "bool",
    "string": "str",
    "timestamp": pd.DatetimeTZDtype("us", "UTC"),
    "date": "object",
}


def table_schema(columns: Mapping[str, Column]) -> pa.DataFrameSchema:
    """A strict, lazy pandera schema: every named column, no other, order free."""
    return pa.DataFrameSchema(
        {name: _column(column) for name, column in columns.items()}, strict=True, ordered=False
    )


def violations(frame: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    """Every value that breaks its contract: columns row (position), column, value, rule.

    Rules are those of `request.check_value`, plus `missing` (a column is absent) and `unknown` (one too many).
    """
    plain = frame.reset_index(drop=True)
    try:
        table_schema(columns).validate(plain, lazy=True)
    except pandera.errors.SchemaErrors as error:
        return _tidy(error.failure_cases, columns)
    return pd.DataFrame({name: [] for name in VIOLATION_COLUMNS})


def _column(column: Column) -> pa.Column:
    nullable = column.nullable
    # pandas has no null integer or boolean in its plain dtypes: a nullable one is held as float64 or object.
    dtype: Any = _PANDAS_DTYPE[column.dtype]
    if nullable and column.dtype == "int64":
        dtype = "float64"
    if nullable and column.dtype in {"bool", "string"}:
        dtype = "object" if column.dtype == "bool" else "str"
    checks = []
    if column.dtype == "float64":
        checks.append(pa.Check(lambda values: ~np.isinf(values), name="finite", ignore_na=True))
    if column.min is not None:
        checks.append(pa.Check.ge(column.min, name="min"))
    if column.max is not None:
        checks.append(pa.Check.le(column.max, name="max"))
    if column.allowed is not None:
        checks.append(pa.Check.isin(column.allowed, name="allowed"))
    return pa.Column(dtype, checks=checks, nullable=nullable, description=column.description or None)


def _tidy(cases: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    rows = []
    for case in cases.to_dict("records"):
        check = str(case["check"])
        if check == "column_in_schema":
            rows.append((None, str(case["failure_case"]), None, "unknown"))
        elif check == "column_in_dataframe":
            rows.append((None, str(case["failure_case"]), None, "missing"))
        else:
            index = case["index"]
            rule = _rule(check)
            rows.append((None if pd.isna(index) else int(index), str(case["column"]), case["failure_case"], rule))
    order = {name: position for position, name in enumerate(columns)}
    tidy = pd.DataFrame(rows, columns=pd.Index(VIOLATION_COLUMNS))
    key = tidy["column"].map(order).fillna(len(order))
    return tidy.assign(_key=key).sort_values(["_key", "row"], kind="stable").drop(columns="_key").reset_index(drop=True)


def _rule(check: str) -> str:
    if check.startswith("dtype"):
        return "dtype"
    return {"not_nullable": "nullable"}.get(check, check)
