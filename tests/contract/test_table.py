"""Contract → pandera: the tidy table of violations."""

from __future__ import annotations

import pandas as pd
import pytest

from forecastle.contract.column import Column
from forecastle.contract.table import VIOLATION_COLUMNS, table_schema, violations

COLUMNS = {
    "market_id": Column(dtype="int64", unit="id", min=0),
    "price": Column(dtype="float64", unit="probability", min=0, max=1),
    "platform": Column(dtype="string", allowed=["a", "b"], nullable=True, description="Where."),
}


def frame(**changed: list) -> pd.DataFrame:
    values = {"market_id": [1, 2, 3], "price": [0.1, 0.2, 0.3], "platform": ["a", None, "b"], **changed}
    return pd.DataFrame(values).astype({"platform": "str"}) if "platform" in values else pd.DataFrame(values)


def rows(found: pd.DataFrame) -> list[tuple]:
    return [tuple(None if pd.isna(v) else v for v in row) for row in found.itertuples(index=False, name=None)]


def test_a_good_table_has_an_empty_list_with_the_same_columns():
    """Nothing wrong is an empty table of the fixed columns and dtypes."""
    good, bad = violations(frame(), COLUMNS), violations(frame(price=[0.1, 2.0, 0.3]), COLUMNS)
    assert tuple(good.columns) == tuple(bad.columns) == VIOLATION_COLUMNS
    assert good.empty
    assert good.dtypes.tolist() == bad.dtypes.tolist()


def test_every_bad_value_is_one_row_in_order_of_columns_and_rows():
    """Position, column, value and the first rule broken; the index of the frame does not matter."""
    bad = frame(market_id=[-1, 2, -3], price=[2.0, -1.0, float("inf")], platform=["a", "c", "b"])
    bad.index = pd.Index([10, 10, 30])
    assert rows(violations(bad, COLUMNS)) == [
        (0, "market_id", -1, "min"),
        (2, "market_id", -3, "min"),
        (0, "price", 2.0, "max"),
        (1, "price", -1.0, "min"),
        (2, "price", float("inf"), "finite"),
        (1, "platform", "c", "allowed"),
    ]


def test_columns_too_many_and_too_few_are_told():
    """A renamed column is one missing and one unknown."""
    found = violations(frame().rename(columns={"price": "prize"}), COLUMNS)
    assert rows(found) == [(None, "price", None, "missing"), (None, "prize", None, "unknown")]


def test_the_order_of_columns_does_not_matter():
    """Columns are taken by name."""
    assert violations(frame()[["platform", "price", "market_id"]], COLUMNS).empty


def test_a_retyped_column_is_told_once():
    """Text where numbers should be is one fault of the column, with no echo for each row."""
    found = violations(frame(price=["0.1", "0.2", "x"]), COLUMNS)
    assert rows(found) == [(None, "price", None, "dtype")]


def test_an_integer_column_with_nulls_tells_the_nulls():
    """Nulls make pandas hold it as floats: the fault is the null, not the dtype; a fraction is the dtype."""
    found = violations(frame(market_id=[1.0, None, 2.5]), COLUMNS)
    assert [(row, rule) for row, _, _, rule in rows(found)] == [(1, "nullable"), (2, "dtype")]


def test_a_column_that_stands_twice_is_refused():
    """Which of the two would be meant cannot be known."""
    twice = pd.concat([frame(), frame()[["price"]]], axis="columns")
    with pytest.raises(ValueError, match="each column stands once"):
        violations(twice, COLUMNS)


def test_an_empty_table_is_a_good_one():
    """No rows break no rule."""
    assert violations(frame().iloc[:0], COLUMNS).empty


def test_the_schema_says_what_the_contract_says():
    """Names, nullability and descriptions reach pandera; no column is optional and no other allowed."""
    schema = table_schema(COLUMNS)
    assert list(schema.columns) == list(COLUMNS)
    assert schema.strict is True
    assert schema.columns["platform"].nullable
    assert schema.columns["platform"].description == "Where."
    assert all(column.required for column in schema.columns.values())
