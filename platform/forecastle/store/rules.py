"""Contract rules as SQL: which stored types a dtype takes, and which rule a value breaks.

Belongs here: the third compiler of the contract, for tables too large for pandas; the words are those of
`request.py`.
Does not belong here: what happens to rows that break a rule (`sources.py`, `feature_views.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import duckdb

from forecastle.contract.column import Column
from forecastle.store.sql import SQL_TYPE, quote_ident, quote_text

_INTEGER: Final = r"U?(TINY|SMALL)INT|U?INTEGER|BIGINT"
ACCEPTED: Final = {
    "float64": re.compile(rf"^(DOUBLE|FLOAT|DECIMAL\(.*\)|{_INTEGER}|UBIGINT|HUGEINT)$"),
    "int64": re.compile(rf"^({_INTEGER})$"),
    "string": re.compile(r"^(VARCHAR|ENUM\(.*\))$"),
    "bool": re.compile(r"^BOOLEAN$"),
    "timestamp": re.compile(r"^TIMESTAMP"),
    "date": re.compile(r"^DATE$"),
}
"""DuckDB types that hold a contract dtype without loss: narrower numbers are widened, text is never parsed.
"""


def takes(dtype: str, found: str) -> bool:
    """May a column of DuckDB type `found` stand for the contract's dtype?"""
    return ACCEPTED[dtype].match(found) is not None


def rule_case(name: str, column: Column, *, required: bool = False, unparsed: str | None = None) -> str:
    """SQL that gives the first rule a value of column `name` breaks, in the contract's order, or null.

    `required` forbids null whatever the contract says (keys, times); `unparsed` is SQL that is true where a
    text could not be read as the dtype.
    """
    value = quote_ident(name)
    cases = [] if unparsed is None else [(unparsed, "dtype")]
    if required or not column.nullable:
        cases.append((f"{value} IS NULL", "nullable"))
    if column.dtype == "float64":
        cases.append((f"NOT isfinite({value})", "finite"))
    if column.min is not None:
        cases.append((f"{value} < {column.min!r}", "min"))
    if column.max is not None:
        cases.append((f"{value} > {column.max!r}", "max"))
    if column.allowed is not None:
        cases.append((f"{value} NOT IN ({', '.join(_literal(v) for v in column.allowed)})", "allowed"))
    if not cases:
        return "NULL::VARCHAR"
    return "CASE " + " ".join(f"WHEN {condition} THEN '{rule}'" for condition, rule in cases) + " END"


def broken_rules(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    columns: Mapping[str, Column],
    *,
    required: Sequence[str] = (),
) -> list[str]:
    """One sentence per column and rule that rows of a relation break, with how many rows and one of the
    values.
    """
    problems = []
    for name, column in columns.items():
        rule = rule_case(name, column, required=name in required)
        found = connection.execute(
            f"SELECT rule, count(*), any_value(value) FROM (SELECT {rule} AS rule, "
            f"{quote_ident(name)}::VARCHAR AS value"
            f" FROM {relation}) WHERE rule IS NOT NULL GROUP BY rule ORDER BY rule"
        ).fetchall()
        problems += [describe_violation(name, column, str(r[0]), int(r[1]), r[2]) for r in found]
    return problems


def describe_violation(name: str, column: Column, rule: str, rows: int, example: object) -> str:
    """How a reader is told that values break a rule: column, rows, rule, what is allowed, a value."""
    allowed = {
        "dtype": column.dtype,
        "nullable": "never null",
        "finite": "a finite number",
        "min": f"at least {column.min}",
        "max": f"at most {column.max}",
        "allowed": ", ".join(map(str, column.allowed or ())),
    }[rule]
    return f"{name}: {rows} row(s) break {rule} (allowed: {allowed}; such as {example!r})"


def typed(name: str, dtype: str) -> str:
    """A column cast to its contract dtype under its own name."""
    return f"{quote_ident(name)}::{SQL_TYPE[dtype]} AS {quote_ident(name)}"


def _literal(value: str | int) -> str:
    return quote_text(value) if isinstance(value, str) else repr(value)
