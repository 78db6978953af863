"""Three compilers of one contract: SQL, pandera and the request validator say the same rule of the same value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.column import Feature
from forecastle.contract.request import check_value
from forecastle.contract.table import violations
from forecastle.store.rules import broken_rules, describe_violation, rule_case

RULES = ("nullable", "finite", "min", "max", "allowed")
_SQL = {"float64": "DOUBLE", "int64": "BIGINT", "string": "VARCHAR", "bool": "BOOLEAN"}
# What a frame of the warehouse has: null integers are float64, null booleans are objects.
_PANDAS = {"float64": "float64", "int64": "int64", "string": "str", "bool": "bool"}
_WITH_NULLS = {**_PANDAS, "int64": "float64", "bool": "object"}


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


@st.composite
def contracts(draw: st.DrawFn) -> tuple[Feature, Any]:
    """A contract and a value of its dtype, near the contract's edges as often as not."""
    dtype = draw(st.sampled_from(sorted(_SQL)))
    fields: dict[str, Any] = {"dtype": dtype, "nullable": draw(st.booleans())}
    if dtype in {"float64", "int64"}:
        low, high = sorted(draw(st.tuples(st.integers(-5, 5), st.integers(-5, 5))))
        fields |= {
            "unit": "count",
            "min": draw(st.sampled_from([None, low])),
            "max": draw(st.sampled_from([None, high])),
        }
    if dtype in {"int64", "string"} and draw(st.booleans()):
        pool = st.integers(-5, 5) if dtype == "int64" else st.sampled_from(["a", "b", "it's", ""])
        fields["allowed"] = draw(st.lists(pool, min_size=1, max_size=3, unique=True))
    values: dict[str, st.SearchStrategy[Any]] = {
        "float64": st.floats(allow_nan=False) | st.sampled_from([float("inf"), -5.0, 5.0, 0.1]),
        "int64": st.integers(-7, 7) | st.integers(-(2**62), 2**62),
        "string": st.sampled_from(["a", "b", "it's", "", "A", "ü"]),
        "bool": st.booleans(),
    }
    return Feature.model_validate(fields), draw(st.none() | values[dtype])


def by_sql(engine: duckdb.DuckDBPyConnection, contract: Feature, value: Any) -> str | None:
    engine.execute(f"CREATE OR REPLACE TABLE t (x {_SQL[contract.dtype]})")
    engine.execute("INSERT INTO t VALUES (?)", [value])
    (row,) = engine.execute(f"SELECT {rule_case('x', contract)} FROM t").fetchall()
    return None if row[0] is None else str(row[0])


def by_pandera(contract: Feature, value: Any) -> set[str]:
    dtype = (_WITH_NULLS if value is None else _PANDAS)[contract.dtype]
    frame = pd.DataFrame({"x": pd.Series([value], dtype=dtype)})
    return set(violations(frame, {"x": contract})["rule"])


@settings(max_examples=100, deadline=None)
@given(contracts())
def test_sql_request_and_table_name_the_same_rule(
    engine: duckdb.DuckDBPyConnection, drawn: tuple[Feature, Any]
) -> None:
    """For any contract and value of its dtype: all three accept, or all three refuse by the same word."""
    contract, value = drawn
    found = check_value("x", value, contract)
    request = None if found is None else found.rule
    assert by_sql(engine, contract, value) == request
    table = by_pandera(contract, value)
    assert (request in table) if request else not table


@pytest.mark.parametrize("rule", [*RULES, "dtype"])
def test_every_rule_has_its_sentence(rule: str) -> None:
    """What a reader is told names column, rule, limit and a value."""
    contract = Feature.model_validate({"dtype": "int64", "unit": "count", "min": 1, "max": 3, "allowed": [1, 2]})
    assert describe_violation("x", contract, rule, 4, "9").startswith(f"x: 4 row(s) break {rule} (allowed: ")


def test_rules_of_a_table_are_counted(engine: duckdb.DuckDBPyConnection) -> None:
    """One sentence per column and rule, with how many rows break it."""
    engine.execute("CREATE OR REPLACE TABLE t AS SELECT * FROM (VALUES (1.0), (-1.0), (-2.0), (NULL)) AS v(x)")
    contract = Feature.model_validate({"dtype": "float64", "unit": "ratio", "min": 0})
    told = broken_rules(engine, "t", {"x": contract})
    assert "break min" in told[0]
    assert "break nullable" in told[1]
