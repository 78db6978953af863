"""A tidy table as a Markdown table, and how a single value is written: Dagster metadata, cards, reports.

Belongs here: text of values and tables.
Does not belong here: which rows and columns to show (the caller selects), HTML pages (`report`).
"""

from __future__ import annotations

import math
import numbers
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING = "–"

_ESCAPES = str.maketrans({"|": "\\|", "\n": " ", "<": "&lt;", ">": "&gt;", "*": "\\*", "`": "\\`"})


def value_text(value: Any) -> str:
    """One value for a person: numbers to four significant digits, times in UTC, missing as a dash.

    Numbers from 1,000 up keep their integer digits, with thousands separated; below 0.0001 they are written
    as 1.234e-05; booleans are yes and no.
    """
    if value is None or value is pd.NaT or value is pd.NA:
        return NOTHING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, numbers.Real):
        return _number_text(value)
    if isinstance(value, datetime):
        return _time_text(value)
    if isinstance(value, list | tuple):
        return ", ".join(value_text(item) for item in value)
    return str(value)


def markdown_table(table: pd.DataFrame, *, names: Mapping[str, str] | None = None, max_rows: int | None = None) -> str:
    """`table` as a Markdown table, numbers to the right; its index is not shown.

    `names` gives columns other headings. Beyond `max_rows` a last line says how many rows are not shown.
    """
    shown = table if max_rows is None else table.head(max_rows)
    headings = [_cell((names or {}).get(str(column), str(column))) for column in table.columns]
    rules = ["---:" if pd.api.types.is_numeric_dtype(dtype) else "---" for dtype in table.dtypes]
    lines = [_line(headings), _line(rules)]
    lines += [_line([_cell(value_text(value)) for value in row]) for row in shown.itertuples(index=False)]
    if len(shown) < len(table):
        lines += ["", f"… and {len(table) - len(shown):,} more rows"]
    return "\n".join(lines)


def _number_text(value: Any) -> str:
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    number = float(value)
    if math.isnan(number):
        return NOTHING
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    return f"{number:,.0f}" if abs(number) >= 999.95 else f"{number:.4g}"


def _time_text(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat(sep=" ", timespec="minutes")
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _cell(text: str) -> str:
    return text.translate(_ESCAPES)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
