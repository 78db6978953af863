"""The declaration of one report of a system's own: a pure function over tables of its graph.

Belongs here: the fields under `reports:` and how a table of the graph is named there.
Does not belong here: what they may not say together (`report_check.py`), making one (`learn/report.py`).
"""

from __future__ import annotations

from pydantic import Field

from forecastle.contract.column import Declared
from forecastle.contract.types import FunctionPath, Name, TablePath


class Report(Declared):
    """Tables of the graph in, one tidy table out; a picture of it and a check where they are declared."""

    function: FunctionPath = Field(
        description="module:function; it is given tables (pandas) and params by name and returns one pandas table."
    )
    tables: dict[Name, TablePath] = Field(
        min_length=1,
        description="Argument → table: source/NAME, features/NAME, models/NAME (the model's test rows with its "
        "probability), training_set, comparison, batch_predictions, predictions or outcomes.",
    )
    params: dict[Name, bool | int | float | str] = Field(
        default_factory=dict, description="Thresholds and whatever else the function is given by name."
    )
    check: Name | None = Field(
        None, description="Column that holds PASS, FAIL or null (not judged); a single FAIL fails the check."
    )
    draw: FunctionPath | None = Field(
        None, description="module:function; it is given the table and returns a matplotlib Figure."
    )
    description: str = Field(min_length=1)


def kind_and_name(table: str) -> tuple[str, str | None]:
    """Kind of asset that a declared table is, and its name where the kind has several."""
    kind, _, name = table.partition("/")
    return kind, name or None
