"""The small vocabulary of declarations: names, durations, schedules, dtypes, units.

Belongs here: annotated types and word lists that several declaration models share.
Does not belong here: the declarations themselves (`system.py`) or checks across them (`check.py`).
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StringConstraints

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
_FUNCTION_PATTERN = r"^[a-z][a-z0-9_]*:[a-z][a-z0-9_]*$"
_IMPORT_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+$"
_ESTIMATOR_PATTERN = rf"{_IMPORT_PATTERN}|{_FUNCTION_PATTERN}"
_SQL_PATTERN = r"^[a-z][a-z0-9_]{0,62}\.sql$"
_OWNER_PATTERN = r"^(team:[A-Za-z0-9_. -]+|[^@\s]+@[^@\s]+)$"
_ENVIRONMENT_PATTERN = r"^[A-Z][A-Z0-9_]{0,126}$"
_KAFKA_PATTERN = r"^(security|sasl|ssl|enable\.ssl|client|broker|socket|fetch|queued)[a-z.]{1,60}$"
_TOPIC_PATTERN = r"^[A-Za-z0-9._-]{1,249}$"
_TABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$"
_GRAPH_PATTERN = (
    r"^((source|features|models)/[a-z][a-z0-9_]{0,62}"
    r"|training_set|comparison|batch_predictions|predictions|outcomes)$"
)
_DURATION_PATTERN = r"^[0-9]{1,8} *[smhdw]$"

PATTERN_HINTS: Final = {
    NAME_PATTERN: "a name is at most 63 lower-case letters, digits and _, and begins with a letter",
    _FUNCTION_PATTERN: "write module:function, such as features:signals",
    _IMPORT_PATTERN: "write package.Class, such as lightgbm.LGBMClassifier",
    _ESTIMATOR_PATTERN: "write package.Class, such as lightgbm.LGBMClassifier, or module:function of the folder",
    _SQL_PATTERN: "write the name of a file in the system's folder, such as prices.sql",
    _OWNER_PATTERN: "write an address or team:NAME",
    _ENVIRONMENT_PATTERN: "write the name of an environment variable, such as LOANS_URL; its value stays outside",
    _KAFKA_PATTERN: "write a setting of librdkafka about security, the client or fetching, such as security.protocol",
    _TOPIC_PATTERN: "a Kafka topic is at most 249 letters, digits, dots, underscores and dashes",
    _TABLE_PATTERN: "write table or schema.table",
    _GRAPH_PATTERN: "write source/NAME, features/NAME, models/NAME, training_set, comparison, batch_predictions, "
    "predictions or outcomes",
}
"""What each pattern asks for, in words."""

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
FunctionPath = Annotated[str, StringConstraints(pattern=_FUNCTION_PATTERN)]
ImportPath = Annotated[str, StringConstraints(pattern=_IMPORT_PATTERN)]
EstimatorPath = Annotated[str, StringConstraints(pattern=_ESTIMATOR_PATTERN)]
SqlFile = Annotated[str, StringConstraints(pattern=_SQL_PATTERN)]
Owner = Annotated[str, StringConstraints(pattern=_OWNER_PATTERN)]
EnvironmentName = Annotated[str, StringConstraints(pattern=_ENVIRONMENT_PATTERN)]
KafkaSetting = Annotated[str, StringConstraints(pattern=_KAFKA_PATTERN)]
Topic = Annotated[str, StringConstraints(pattern=_TOPIC_PATTERN)]
SqlTable = Annotated[str, StringConstraints(pattern=_TABLE_PATTERN)]
TablePath = Annotated[str, StringConstraints(pattern=_GRAPH_PATTERN)]

Dtype = Literal["float64", "int64", "string", "bool", "timestamp", "date"]
NUMERIC_DTYPES: frozenset[str] = frozenset({"float64", "int64", "bool"})

Unit = Literal[
    "probability", "ratio", "percent", "percentage_points", "count", "usd", "gbp", "ntd", "ngn",
    "seconds", "minutes", "hours", "days", "weeks", "months", "years", "utc", "date", "id", "category",
    "text", "flag", "rank", "runs", "moneyline", "score", "log_usd", "log_count", "one",
]  # fmt: skip

MissingRule = Literal["refuse", "default", "last"]

_DURATION = re.compile(r"([0-9]{1,8}) *([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_duration(value: Any) -> timedelta:
    """A span of time written as a whole number and one unit: 30s, 20m, 36h, 7d, 2w.

    Raises:
        ValueError: anything else, or a timedelta that is negative or not of whole seconds.
    """
    if isinstance(value, timedelta):
        if value < timedelta(0) or value.microseconds:
            raise ValueError(f"got {value}; a duration is whole seconds and not negative")
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"got {value!r}; a duration is a whole number and s, m, h, d or w, such as 36h")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def format_duration(value: timedelta) -> str:
    """The text in the largest unit that `parse_duration` reads back as the same span."""
    seconds = int(value.total_seconds())
    for unit in ("w", "d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


def _not_zero(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("got 0s; it must be longer than nothing, such as 36h")
    return value


_DURATION_SCHEMA = Annotated[
    str, Field(pattern=_DURATION_PATTERN, description="A whole number and s, m, h, d or w, such as 36h.")
]

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration, json_schema_input_type=_DURATION_SCHEMA),
    PlainSerializer(format_duration, return_type=str),
]
PositiveDuration = Annotated[Duration, AfterValidator(_not_zero)]


def check_day(value: str) -> str:
    """The text itself, when it is a day of the calendar written year-month-day.

    Raises:
        ValueError: anything else.
    """
    try:
        found = date.fromisoformat(value).isoformat()
    except ValueError:
        found = ""
    if found != value:
        raise ValueError(f"got {value!r}; a day is year-month-day, such as 2026-01-31")
    return value


Day = Annotated[str, AfterValidator(check_day)]

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_CRON_FIELDS: Final = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _DAYS),
)
_CRON_PART = re.compile(r"(?:\*|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([1-9][0-9]?))?")


def check_cron(value: str) -> str:
    """The schedule itself, when it is five cron fields: minute, hour, day, month, weekday.

    Raises:
        ValueError: naming the field that is wrong. Format:
        https://man7.org/linux/man-pages/man5/crontab.5.html
    """
    fields = value.split()
    if len(fields) != len(_CRON_FIELDS):
        raise ValueError(f'got {value!r}; a schedule is minute, hour, day, month, weekday, such as "0 6 * * *"')
    for text, (name, low, high, words) in zip(fields, _CRON_FIELDS, strict=True):
        if not all(_is_cron_part(part, low, high, words) for part in text.lower().split(",")):
            raise ValueError(f"got {value!r}; {name} is {text!r}, which is not * or {low} to {high}")
    return value


def _is_cron_part(text: str, low: int, high: int, words: tuple[str, ...]) -> bool:
    match = _CRON_PART.fullmatch(text)
    if match is None:
        return False
    ends = []
    for end in match.group(1, 2):
        if end in words:
            ends.append(words.index(end) + low)
        elif end is not None:
            ends.append(int(end) if end.isdigit() else -1)
    return all(low <= end <= high for end in ends) and ends == sorted(ends)


Cron = Annotated[str, AfterValidator(check_cron)]
