"""Streams in a declaration: what contradicts itself is told with its line, and key columns come from the SQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from forecastle.contract.errors import ContractError
from forecastle.contract.load import load_system
from forecastle.contract.stream_check import key_columns

Edit = Callable[[str, str, str], int]

FILE = 'kind: csv\n    path: "${DATA}/readings.csv"\n'


@pytest.fixture
def streaming(rain: Path, edit: Edit) -> Path:
    """The rain system with readings as a stream that its view follows."""
    edit("system.yaml", FILE, "kind: stream\n")
    edit("system.yaml", "    ttl: 2d\n", "    ttl: 2d\n    stream: readings\n")
    return rain


def told(folder: Path) -> list[tuple[str, str]]:
    with pytest.raises(ContractError) as caught:
        load_system(folder)
    return [(problem.text, problem.hint) for problem in caught.value.problems]


def test_a_stream_loads(streaming: Path, edit: Edit) -> None:
    """Declared whole, with and without a topic."""
    loaded = load_system(streaming).declaration
    assert (loaded.sources["readings"].kafka, loaded.feature_views["weather"].stream) == (None, "readings")
    edit("weather.sql", "AVG(", "MAX(")
    text = (streaming / "system.yaml").read_text()
    kafka = "kind: stream\n    history: 30d\n    kafka: {bootstrap: {env: BROKERS}, topic: rain.readings}\n"
    (streaming / "system.yaml").write_text(text.replace("kind: stream\n", kafka))
    source = load_system(streaming).declaration.sources["readings"]
    assert source.kafka is not None
    assert (source.kafka.topic, source.kafka.bootstrap.env) == ("rain.readings", "BROKERS")


ARRIVED = "read_at: {dtype: timestamp, unit: utc}\n      arrived_at: {dtype: timestamp, unit: utc, nullable: true}"
CASES: dict[str, tuple[str, str, str, str]] = {
    "a path": (
        "kind: stream\n", 'kind: stream\n    path: "${DATA}/x.csv"\n',
        "path stands beside kind stream", "name a topic with kafka, or post events to /stream"),
    "known from another": (
        "known_at: {delay: 5m}", "known_at: {latest: days, on: [station]}",
        "a stream takes known_at from another source", "name a column, such as arrived_at"),
    "arrival that may be null": (
        "read_at: {dtype: timestamp, unit: utc}", ARRIVED,
        "column 'arrived_at' is timestamp and nullable", "the platform fills arrived_at: a timestamp, never null"),
    "no such stream": (
        "stream: readings", "stream: reading",
        "stream names 'reading', which is no stream", "did you mean 'readings'?"),
    "a file followed": (
        "stream: readings", "stream: days", "stream names 'days', which is no stream", "allowed: readings"),
    "not online": (
        "stream: readings", "stream: readings\n    online: false",
        "stream stands beside online: false", "events renew online rows: leave one of them out"),
    "history of a file": (
        "kind: parquet\n", "kind: parquet\n    history: 3d\n",
        "history stands beside kind parquet", "say kind: stream, or leave it out"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_stream_that_contradicts_itself_is_told(streaming: Path, edit: Edit, case: str) -> None:
    """One fault at a time, with what to do about it."""
    old, new, text, hint = CASES[case]
    edit("system.yaml", old, new)
    assert (text, hint) in told(streaming)


def test_a_view_must_tell_its_keys_from_one_event(streaming: Path, edit: Edit) -> None:
    """A key that no event carries cannot say whom an event touches."""
    edit("weather.sql", "shaped.station AS station_id", "CAST(1 AS BIGINT) AS station_id")
    text = "station_id cannot be told from one event of 'readings'"
    assert (text, "give each key from one column of readings") in told(streaming)


def test_a_key_s_column_has_the_key_s_dtype(streaming: Path, edit: Edit) -> None:
    """Entities are looked for by the event's own value."""
    edit("system.yaml", "keys: {station_id: int64}", "keys: {station_id: string}")
    text = "key 'station_id' is string, its column 'station' of 'readings' int64"
    assert (text, "declare one dtype") in told(streaming)


def test_a_stream_that_the_sql_does_not_read_renews_nothing(streaming: Path, edit: Edit) -> None:
    """The view would never change by its events."""
    edit("system.yaml", 'kind: parquet\n    path: "${DATA}/days.parquet"\n', "kind: stream\n")
    edit("system.yaml", "stream: readings", "stream: days")
    assert ("stream names 'days', which the SQL does not read", "it reads readings") in told(streaming)


def test_key_columns_are_those_that_alone_tell_the_key() -> None:
    """By hand: a tells both keys by one column each, b only one of them, c tells the first by two columns."""
    lineage = {
        "user": (("a", "user_id"), ("b", "user_id"), ("c", "u1"), ("c", "u2")),
        "item": (("a", "sku"), ("c", "item")),
    }
    assert key_columns(lineage, ("user", "item")) == {"a": {"user": "user_id", "item": "sku"}}
