"""Messages read by a contract: values as the log keeps them, times by the source's own rule."""

from __future__ import annotations

import json
from typing import Any

from forecastle.contract.source import Source
from forecastle.store.stream_events import EventReader, Message, to_time, to_us
from tests.store.trades import NOW, START

HOUR_US = 3_600_000_000


def source(**changes: Any) -> Source:
    columns = {
        "id": {"dtype": "int64", "unit": "id"},
        "at": {"dtype": "timestamp", "unit": "utc"},
        "size": {"dtype": "float64", "unit": "count", "nullable": True},
    }
    declared = {"kind": "stream", "event_at": "at", "known_at": {"delay": "2h"}, "key": ["id"], "columns": columns}
    return Source.model_validate({**declared, **changes, "columns": {**columns, **changes.get("columns", {})}})


def read(declared: Source, **event: Any) -> tuple[Any, Any]:
    message = Message(0, 0, json.dumps({"id": 1, "at": START.isoformat(), **event}).encode(), to_us(NOW))
    rows, dead = EventReader(declared).read([message])
    return (rows or [None])[0], (dead or [None])[0]


def test_values_are_kept_as_the_contract_has_them() -> None:
    """An integer given for a float is one, a time is microseconds, what nobody declared is left out."""
    row, _ = read(source(), size=3, more="x")
    assert json.loads(row.values_json) == {"id": 1, "at": to_us(START), "size": 3.0}
    assert b'"size":3.0' in row.values_json
    assert (row.event_at_us, row.known_at_us) == (to_us(START), to_us(START) + 2 * HOUR_US)


def test_a_time_in_another_zone_is_the_same_instant() -> None:
    """Offsets are read; 05:30 in +05:30 is midnight UTC."""
    row, _ = read(source(), at="2026-01-01T05:30:00+05:30")
    assert row.event_at_us == to_us(START)


def test_a_day_begins_at_midnight_of_its_zone() -> None:
    """1 January in Berlin begins at 23:00 UTC of the day before."""
    day = {"day": {"dtype": "date", "unit": "date"}}
    row, _ = read(source(event_at="day", time_zone="Europe/Berlin", columns=day), day="2026-01-01")
    assert row.event_at_us == to_us(START) - HOUR_US
    assert json.loads(row.values_json)["day"] == "2026-01-01"


def test_arrival_is_filled_by_the_platform() -> None:
    """Where arrived_at is declared it is ours, whatever the sender says, and may be the knowledge time."""
    arrived = {"arrived_at": {"dtype": "timestamp", "unit": "utc"}}
    row, _ = read(source(known_at="arrived_at", columns=arrived), arrived_at="1999-01-01T00:00:00Z")
    assert row.known_at_us == json.loads(row.values_json)["arrived_at"] == to_us(NOW)


def test_a_sender_s_clock_may_be_a_little_ahead() -> None:
    """Five minutes are forgiven; what claims to come from later is a dead letter, in the event's and in known time."""
    ahead = {seconds: to_time(to_us(NOW) + seconds * 1_000_000).isoformat() for seconds in (300, 301)}
    assert read(source(), at=ahead[300])[1] is None
    assert read(source(), at=ahead[301])[1].rule == "future"
    told = {"told_at": {"dtype": "timestamp", "unit": "utc"}}
    assert read(source(known_at="told_at", columns=told), told_at=ahead[301])[1].column == "told_at"


def test_keys_and_times_are_never_null() -> None:
    """Also where the contract forgot to say so."""
    nullable = {"id": {"dtype": "int64", "unit": "id", "nullable": True}}
    assert read(source(columns=nullable), id=None)[1].rule == "nullable"


def test_instants_survive_the_trip() -> None:
    """Microseconds and back, also before 1970."""
    for at_us in (0, -1, to_us(NOW) + 1, -(10**15)):
        assert to_us(to_time(at_us)) == at_us
