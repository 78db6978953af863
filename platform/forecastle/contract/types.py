"""The small vocabulary of declarations: names, durations, dtypes, units.

Belongs here: annotated types and word lists that several declaration models share.
Does not belong here: the declarations themselves (`system.py`) or checks across them (`check.py`).
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, StringConstraints

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
FunctionPath = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*:[a-z][a-z0-9_]*$")]
ImportPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w]*(\.[A-Za-z_][\w]*)+$")]
SqlFile = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}\.sql$")]
Cron = Annotated[str, StringConstraints(pattern=r"^(\S+\s+){4}\S+$")]

Dtype = Literal["float64", "int64", "string", "bool", "timestamp", "date"]
NUMERIC_DTYPES: frozenset[str] = frozenset({"float64", "int64", "bool"})

Unit = Literal[
    "probability", "ratio", "percent", "percentage_points", "count", "usd", "gbp", "ntd", "ngn",
    "seconds", "minutes", "hours", "days", "weeks", "months", "years", "utc", "date", "id", "category",
    "text", "flag", "rank", "runs", "moneyline", "score", "log_usd", "log_count", "one",
]  # fmt: skip

MissingRule = Literal["refuse", "default", "last"]

_DURATION = re.compile(r"^(\d+)\s*(s|m|h|d|w)$")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_duration(value: Any) -> timedelta:
    """A span of time written as a whole number and one unit: 30s, 20m, 36h, 7d, 2w."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"got {value!r}; a duration is a whole number and s, m, h, d or w, such as 36h")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as the same span."""
    seconds = int(value.total_seconds())
    for unit in ("w", "d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration, json_schema_input_type=str),
    PlainSerializer(format_duration, return_type=str),
]
