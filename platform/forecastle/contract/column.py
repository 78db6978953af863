"""The contract of one column or feature, and the base of everything that may be declared.

Belongs here: what a value may be, what happens when a feature's value is missing.
Does not belong here: where columns come from (`source.py`), which features there are (`system.py`), compiling a
contract (`table.py`, `request.py`).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from forecastle.contract.types import Dtype, MissingRule, Owner, Unit


class Declared(BaseModel):
    """Base of every declaration: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Column(Declared):
    """The contract of one column: what a value may be."""

    dtype: Dtype
    unit: Unit | None = Field(None, description="What the number counts; required for numbers.")
    min: float | None = Field(None, description="Smallest value allowed, in the unit.")
    max: float | None = Field(None, description="Largest value allowed, in the unit.")
    nullable: bool = False
    allowed: list[str | int] | None = Field(None, min_length=1, description="The only values allowed.")
    description: str = ""
    owner: Owner | None = None


class Feature(Column):
    """The contract of one feature, with what to do when its value is missing or stale at request time."""

    missing: MissingRule = Field("refuse", description="refuse the request, use the default, or the last value.")
    default: float | str | None = Field(None, description="Used by `missing: default`; null where nullable.")
    request: bool = Field(True, description="May a request give this value itself?")
