"""One message of a stream becomes a row that keeps its source's contract, or a dead letter that says why not.

Belongs here: reading JSON strictly, the contract value by value, the event's two times.
Does not belong here: where messages come from (`stream_inputs.py`), where they go (`stream_log.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from forecastle.contract.column import Column
from forecastle.contract.request import check_value, shown
from forecastle.contract.source import ARRIVED_AT, KnownAt, Source
from forecastle.store.stream_log import DeadLetter, StreamRow

BODY_BYTES_MAX: Final = 1 << 20
BODY_BYTES_KEPT: Final = 4096
AHEAD: Final = timedelta(minutes=5)
"""How far a sender's clock may be ahead of ours: beyond that an event claims to come from the future."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came: where it stands in its stream, its bytes, when we took it (microseconds since 1970)."""

    partition: int
    offset: int
    body: bytes
    arrived_at_us: int


class _BrokenError(Exception):
    """One rule that a message breaks."""

    def __init__(self, column: str, value: Any, rule: str, text: str) -> None:
        super().__init__(text)
        self.column, self.value, self.rule, self.text = column, value, rule, text


class EventReader:
    """Reads messages of one source; holds no state between them."""

    def __init__(self, source: Source) -> None:
        """Prepare the contract: keys and times are never null."""
        required = {*source.key, *source.time_columns().values()}
        self._columns = {
            name: column.model_copy(update={"nullable": False}) if name in required else column
            for name, column in source.columns.items()
        }
        self._given = {name: column for name, column in self._columns.items() if name != ARRIVED_AT}
        self._fills_arrival = ARRIVED_AT in self._columns
        self._zones = {name: ZoneInfo(source.zone_of(name)) for name in self._columns}
        self._event_column = source.event_at
        self._known = source.known_at
        self._ahead_us = AHEAD // _MICROSECOND

    def read(self, messages: Iterable[Message]) -> tuple[list[StreamRow], list[DeadLetter]]:
        """Every message, in order, as a row or as a dead letter."""
        rows, dead = [], []
        for message in messages:
            try:
                rows.append(self._row(message))
            except _BrokenError as broken:
                dead.append(_dead_letter(message, broken))
        return rows, dead

    def _row(self, message: Message) -> StreamRow:
        values = self._values(message)
        event_at_us = known_at_us = self._instant(self._event_column, values, message)
        if isinstance(self._known, KnownAt):
            known_at_us += self._known.delay // _MICROSECOND
        else:
            known_at_us = self._instant(str(self._known), values, message)
        encoded = msgspec.json.encode(values)
        return StreamRow(message.partition, message.offset, message.arrived_at_us, event_at_us, known_at_us, encoded)

    def _values(self, message: Message) -> dict[str, Any]:
        """The contract's columns of one message; others are left out."""
        given = _object(message.body)
        values: dict[str, Any] = {}
        for name, column in self._given.items():
            value = given.get(name)
            fault = check_value(name, value, column)
            if fault is not None:
                rule = "missing" if name not in given else fault.rule
                raise _BrokenError(name, shown(value), rule, fault.text)
            values[name] = _stored(value, column)
        if self._fills_arrival:
            values[ARRIVED_AT] = message.arrived_at_us
        return values

    def _instant(self, name: str, values: dict[str, Any], message: Message) -> int:
        """A time column in microseconds since 1970 UTC; a date is its midnight in the column's zone."""
        at_us: int = values[name] if self._columns[name].dtype == "timestamp" else self._midnight(name, values[name])
        if at_us > message.arrived_at_us + self._ahead_us:
            told, arrived = to_time(at_us).isoformat(), to_time(message.arrived_at_us).isoformat()
            raise _BrokenError(name, told, "future", f"{name} is {told}, but the event arrived at {arrived}")
        return at_us

    def _midnight(self, column: str, day: str) -> int:
        at = date.fromisoformat(day)
        return to_us(datetime(at.year, at.month, at.day, tzinfo=self._zones[column]))


def to_us(at: datetime) -> int:
    """Microseconds since 1970 UTC, exact."""
    return (at - _EPOCH) // _MICROSECOND


def to_time(at_us: int) -> datetime:
    """The instant of a number of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=at_us)


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > BODY_BYTES_MAX:
        raise _BrokenError("", f"{len(body)} bytes", "size", f"{len(body)} bytes; at most {BODY_BYTES_MAX} are read")
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _BrokenError("", "", "json", f"is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise _BrokenError("", type(found).__name__, "json", f"is a JSON {type(found).__name__}; an object is required")
    return found


def _stored(value: Any, column: Column) -> Any:
    """A checked value as the log keeps it."""
    if value is None:
        return None
    if column.dtype == "timestamp":
        return to_us(datetime.fromisoformat(value))
    return float(value) if column.dtype == "float64" else value


def _dead_letter(message: Message, broken: _BrokenError) -> DeadLetter:
    return DeadLetter(
        message.partition,
        message.offset,
        message.arrived_at_us,
        broken.column,
        str(broken.value),
        broken.rule,
        broken.text,
        message.body[:BODY_BYTES_KEPT],
    )
