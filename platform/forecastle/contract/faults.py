"""Contracts that no value could meet: what is wrong with one column or feature taken by itself.

Belongs here: fields of one contract that contradict each other, in words without a place.
Does not belong here: names that must exist, places and lines (`check.py`), values of rows (`request.py`,
`table.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from forecastle.contract.category import is_modelled
from forecastle.contract.column import Column, Feature
from forecastle.contract.request import check_value
from forecastle.contract.types import NUMERIC_DTYPES

Fault = tuple[str, str]
"""What is wrong, and a hint."""

_RANGED = frozenset({"float64", "int64"})
_DTYPES_HINT = "features are float64, int64, bool, or string with allowed: [...]"
_LISTED = {"string": str, "int64": int}


def column_faults(name: str, column: Column) -> Iterator[Fault]:
    """What contradicts itself in the contract of a column."""
    if column.dtype in _RANGED and column.unit is None:
        yield f"number {name!r} has no unit", "say what it counts, such as unit: count or unit: seconds"
    if column.dtype not in _RANGED and (column.min is not None or column.max is not None):
        yield f"{name!r} is {column.dtype}, which has no min or max", "leave them out"
    elif column.min is not None and column.max is not None and column.min > column.max:
        yield f"{name!r} has min {column.min:g} above max {column.max:g}", ""
    if column.allowed is not None:
        yield from _allowed_faults(name, column)


def feature_faults(name: str, feature: Feature, *, computed: bool) -> Iterator[Fault]:
    """What contradicts itself in the contract of a feature; `computed` says that a function makes it."""
    if not is_modelled(feature):
        told = "and lists no values" if feature.dtype == "string" else "which no model sees"
        yield f"feature {name!r} is {feature.dtype} {told}", _DTYPES_HINT
        return
    if computed and feature.dtype not in NUMERIC_DTYPES:
        yield f"feature {name!r} is computed and {feature.dtype}", "functions give numbers; make a text in a view's SQL"
    if computed and feature.missing == "last":
        yield f"feature {name!r} is computed and has no last value", "say missing: refuse or missing: default"
    if feature.missing == "default" and feature.default is None and not feature.nullable:
        yield f"feature {name!r} has no default and may not be null", "give it a default or nullable: true"
    if feature.default is not None:
        if feature.missing != "default":
            yield (
                f"feature {name!r} has a default that missing: {feature.missing} never uses",
                "say missing: default",
            )
        broken = check_value(name, _typed(feature.default, feature.dtype), feature)
        if broken is not None:
            yield f"default of feature {broken.text}", ""


def _allowed_faults(name: str, column: Column) -> Iterator[Fault]:
    kind = _LISTED.get(column.dtype)
    if kind is None:
        yield f"{name!r} is {column.dtype}, which has no allowed values", "allowed is for string and int64"
        return
    values = column.allowed or []
    wrong = [value for value in values if not isinstance(value, kind)]
    if wrong:
        yield f"{name!r} is {column.dtype} and allows {wrong[0]!r}", f"write {column.dtype} values"
    elif len(set(values)) < len(values):
        yield f"{name!r} allows a value twice", ""
    elif any(check_value(name, value, column) for value in values):
        yield f"{name!r} allows a value outside its own min and max", ""


def _typed(default: float | str, dtype: str) -> float | bool | str:
    """A default as the dtype holds it, where that loses nothing."""
    if isinstance(default, str):
        return default
    if dtype == "int64" and default.is_integer():
        return int(default)
    return bool(default) if dtype == "bool" and default in {0.0, 1.0} else default
