"""Contract → scalar validator, for one value in one request.

Belongs here: the rules a single value must meet, with the same rule words as tables (`table.py`).
Does not belong here: HTTP, resolving features, table validation. Standard library only: it is the hot path.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from forecastle.contract.column import Column

INT64_LIMIT: Final = 2**63

RULES: Final = ("nullable", "dtype", "finite", "min", "max", "allowed")
"""What a value can break, in the order in which the first one is told."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One value that breaks one rule of its contract; `row` counts from 0 where many rows are checked."""

    feature: str
    value: Any
    rule: str
    text: str
    row: int | None = None


def check_value(name: str, value: Any, column: Column) -> Violation | None:
    """The first of `RULES` that a JSON value breaks.

    Numbers are numbers: a boolean, a numeric string or 1.5 for int64 is a `dtype` violation. An integer is
    taken for float64. Null is None: NaN is no null here, it breaks `finite`. Times are ISO 8601 text; a
    timestamp has its zone.
    """
    if value is None and column.nullable:
        return None
    rule = _type_rule(value, column) or _limit_rule(value, column)
    if rule is None:
        return None
    return Violation(name, shown(value), rule, f"{name} is {_sentence(value, rule, column)}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Values of exactly this Python type between these limits, both included, break no rule of a column."""

    kind: type[Any]
    low: float
    high: float


def bounds_of(column: Column) -> Bounds | None:
    """What is certainly allowed, for a quick yes before `check_value`; None where only that can tell."""
    if column.allowed is not None or column.dtype not in ("float64", "int64"):
        return None
    if column.dtype == "int64":
        least, most = -INT64_LIMIT, INT64_LIMIT - 1
        low = least if column.min is None else max(column.min, least)
        return Bounds(int, low, most if column.max is None else min(column.max, most))
    widest = sys.float_info.max
    return Bounds(float, -widest if column.min is None else column.min, widest if column.max is None else column.max)


def shown(value: Any) -> Any:
    """A value as it may be repeated in a JSON answer: never longer than eighty characters, NaN and infinity as text."""
    if isinstance(value, int) and not -INT64_LIMIT <= value < INT64_LIMIT:
        # Its digits may be more than Python is willing to write out.
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bool | int | float) or value is None:
        return value
    text = value if isinstance(value, str) else type(value).__name__
    return text if len(text) <= 80 else f"{text[:79]}…"


def _type_rule(value: Any, column: Column) -> str | None:
    if value is None:
        return "nullable"
    if not _has_dtype(value, column.dtype):
        return "dtype"
    return "finite" if isinstance(value, float) and not math.isfinite(value) else None


def _limit_rule(value: Any, column: Column) -> str | None:
    if column.min is not None and value < column.min:
        return "min"
    if column.max is not None and value > column.max:
        return "max"
    return "allowed" if column.allowed is not None and value not in column.allowed else None


def _has_dtype(value: Any, dtype: str) -> bool:
    if dtype == "float64":
        return isinstance(value, float) or _is_int64(value)
    if dtype == "int64":
        return _is_int64(value)
    if dtype == "bool":
        return isinstance(value, bool)
    return isinstance(value, str) and (dtype == "string" or _is_time(value, dtype))


def _is_int64(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -INT64_LIMIT <= value < INT64_LIMIT


def _is_time(text: str, dtype: str) -> bool:
    try:
        if dtype == "date":
            return len(text) == 10 and date.fromisoformat(text) is not None
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _sentence(value: Any, rule: str, column: Column) -> str:
    unit = f" {column.unit}" if column.unit and column.unit not in {"one", "category"} else ""
    if rule == "nullable":
        return "null; a value is required"
    if rule == "dtype":
        return f"{shown(value)!r} ({type(value).__name__}); {column.dtype} is required"
    if rule == "finite":
        return f"{value}; a finite number is required"
    if rule == "min":
        return f"{value}; at least {column.min:g}{unit} is allowed"
    if rule == "max":
        return f"{value}; at most {column.max:g}{unit} is allowed"
    return f"{shown(value)!r}; allowed: {', '.join(map(str, column.allowed or ()))}"
