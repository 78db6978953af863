"""Contract → scalar validator, for one value in one request.

Belongs here: the rules a single value must meet, with the same rule words as tables (`table.py`).
Does not belong here: HTTP, resolving features, table validation. Standard library only: it is the hot path.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from forecastle.contract.system import Column

INT64_LIMIT: Final = 2**63


@dataclass(frozen=True, slots=True)
class Violation:
    """One value that breaks one rule of its contract."""

    feature: str
    value: Any
    rule: str
    text: str


def check_value(name: str, value: Any, column: Column) -> Violation | None:
    """The first rule that a JSON value breaks, in the order nullable, dtype, finite, min, max, allowed.

    Numbers are numbers: a boolean, a numeric string or 1.5 for int64 is a `dtype` violation. An integer is taken for
    float64.
    """
    if value is None:
        if column.nullable:
            return None
        return Violation(name, None, "nullable", f"{name} is null; a value is required")
    if not _has_dtype(value, column.dtype):
        return Violation(
            name,
            shown(value),
            "dtype",
            f"{name} is {shown(value)!r} ({type(value).__name__}); {column.dtype} is required",
        )
    if isinstance(value, float) and not math.isfinite(value):
        return Violation(name, str(value), "finite", f"{name} is {value}; a finite number is required")
    if column.min is not None and value < column.min:
        return Violation(
            name, value, "min", f"{name} is {value}; at least {column.min:g}{_unit(column)} is allowed"
        )
    if column.max is not None and value > column.max:
        return Violation(
            name, value, "max", f"{name} is {value}; at most {column.max:g}{_unit(column)} is allowed"
        )
    if column.allowed is not None and value not in column.allowed:
        words = ", ".join(map(str, column.allowed))
        return Violation(name, shown(value), "allowed", f"{name} is {shown(value)!r}; allowed: {words}")
    return None


def shown(value: Any) -> Any:
    """A value as it may be repeated in an answer: never longer than eighty characters."""
    if isinstance(value, bool | int | float) or value is None:
        return value if not isinstance(value, int) or abs(value) < INT64_LIMIT else f"{str(value)[:76]}…"
    text = value if isinstance(value, str) else type(value).__name__
    return text if len(text) <= 80 else f"{text[:79]}…"


def _has_dtype(value: Any, dtype: str) -> bool:
    if dtype == "float64":
        return isinstance(value, float) or (_is_int(value) and abs(value) < INT64_LIMIT)
    if dtype == "int64":
        return _is_int(value) and -INT64_LIMIT <= value < INT64_LIMIT
    if dtype == "bool":
        return isinstance(value, bool)
    return isinstance(value, str)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _unit(column: Column) -> str:
    return f" {column.unit}" if column.unit and column.unit not in {"one", "category"} else ""
