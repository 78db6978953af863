"""Streams in a declaration: what contradicts itself is told with its line, and key columns come from the SQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from forecastle.contract.errors import ContractError
from forecastle.contract.load import load_system
from forecastle.contract.stream_check import key_columns

Edit = Callable[[str, str, str], int]

STREAM = """\
    kind: stream
    event_at: day
    known_at: told_at
    key: [station, day]
"""
FILE = """\
    kind: parquet
    path: "${DATA}/days.parquet"
    event_at: day
    known_at: told_at
    key: [station, day]
"""


@pytest.fixture
def streaming(system: Path, edit: Edit) -> Path:
    """The rain system with days as a stream that its view follows."""
    edit("system.yaml", FILE, STREAM)
    edit("system.yaml", "    ttl: 2d\n", "    ttl: 2d\n    stream: days\n")
    return system


def told(folder: Path) -> list[tuple[str, str]]:
    with pytest.raises(ContractError) as caught:
        load_system(folder)
    return [(problem.text, problem.hint) for problem in caught.value.problems]


def test_a_stream_loads(streaming: Path) -> None:
    """Declared whole, with and without a topic."""
    loaded = load_system(streaming).declaration
    assert (loaded.sources["days"].kafka, loaded.feature_views["weather"].stream) == (None, "days")
    text = (streaming / "system.yaml").read_text()
    kafka = "kind: stream\n    history: 30d\n    kafka: {bootstrap: {env: BROKERS}, topic: rain.days}\n"
    (streaming / "system.yaml").write_text(text.replace("kind: stream\n", kafka))
    source = load_system(streaming).declaration.sources["days"]
    assert source.kafka is not None
    assert (source.kafka.topic, source.kafka.bootstrap.env) == ("rain.days", "BROKERS")


CASES: dict[str, tuple[str, str, str, str]] = {
    "a path": ("kind: stream\n", 'kind: stream\n    path: "${DATA}/x.csv"\n', "path stands beside kind stream",
               "name a topic with kafka, or post events to /stream"),
    "known from another": ("known_at: told_at", "known_at: {latest: readings, on: [station]}",
                           "a stream takes known_at from another source", "name a column, such as arrived_at"),
    "arrival that may be null": ("told_at: {dtype: timestamp, unit: utc}",
                                 "told_at: {dtype: timestamp, unit: utc}\n      arrived_at: {dtype: timestamp, unit: utc, nullable: true}",
                                 "column 'arrived_at' is timestamp and nullable",
                                 "the platform fills arrived_at: a timestamp, never null"),
    "no such stream": ("stream: days", "stream: dayz", "stream names 'dayz', which is no stream", "did you mean 'days'?"),
    "a file followed": ("stream: days", "stream: readings", "stream names 'readings', which is no stream", "allowed: days"),
    "not online": ("stream: days", "stream: days\n    online: false", "stream stands beside online: false",
                   "events renew online rows: leave one of them out"),
    "history of a file": ("kind: csv\n", "kind: csv\n    history: 3d\n", "history stands beside kind csv",
                          "say kind: stream, or leave it out"),
    "a topic that is none": ("kind: stream\n", 'kind: stream\n    kafka: {bootstrap: {env: B}, topic: "a b"}\n',
                             "topic is 'a b'", "a Kafka topic is at most 249 letters, digits, dots, underscores and dashes"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_stream_that_contradicts_itself_is_told(streaming: Path, edit: Edit, case: str) -> None:
    """One fault at a time, with what to do about it."""
    old, new, text, hint = CASES[case]
    edit("system.yaml", old, new)
    assert (text, hint) in told(streaming)


def test_a_view_must_tell_its_keys_from_one_event(streaming: Path) -> None:
    """A key computed from another source cannot say whom an event touches."""
    sql = (streaming / "weather.sql").read_text()
    (streaming / "weather.sql").write_text(sql.replace("days.station", "days.rained"))
    assert any("stream" in text or "key" in text for text, _ in told(streaming))


def test_key_columns_are_those_that_alone_tell_the_key() -> None:
    """By hand: a tells both keys by one column each, b only one of them, c tells the first by two columns."""
    lineage = {
        "user": (("a", "user_id"), ("b", "user_id"), ("c", "u1"), ("c", "u2")),
        "item": (("a", "sku"), ("c", "item")),
    }
    assert key_columns(lineage, ("user", "item")) == {"a": {"user": "user_id", "item": "sku"}}
