"""The stream log: rows, dead letters and offsets together or not at all, and nothing stored twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from forecastle.contract.errors import StoreError
from forecastle.store.stream_log import DeadLetter, StreamCounts, StreamLog, StreamRow


def row(offset: int, *, partition: int = 0, body: bytes = b"{}") -> StreamRow:
    return StreamRow(partition, offset, 100 + offset, 10, 20, body)


def dead(offset: int) -> DeadLetter:
    return DeadLetter(0, offset, 100, "price", "2", "max", "price is 2", b"{")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[StreamLog]:
    made = StreamLog(tmp_path / "toy.sqlite")
    yield made
    made.close()


def stored(log: StreamLog, source: str = "trades") -> list[tuple[int, int]]:
    return [(r.partition, r.offset) for batch in log.rows(source, after=0) for r in batch]


def test_a_batch_given_twice_is_stored_once(log: StreamLog) -> None:
    """What lies before the stored offset was stored already, be it a row or a dead letter; counts stay true."""
    batch = ([row(0), row(2)], [dead(1)])
    assert log.append("trades", *batch, following={0: 3}) == 2
    assert log.append("trades", *batch, following={0: 3}) == 0
    assert log.append("trades", [row(2), row(3)], [], following={0: 4}) == 1
    assert (stored(log), log.offsets("trades")) == ([(0, 0), (0, 2), (0, 3)], {0: 4})
    assert log.counts("trades") == StreamCounts(rows=3, dead_letters=1, last_sequence=3, applied_sequence=0)
    assert [letter.offset for letter in log.dead_letters("trades")] == [1]


def test_offsets_never_go_back(log: StreamLog) -> None:
    """An older batch that comes late moves nothing."""
    log.append("trades", [row(7)], [], following={0: 8, 1: 4})
    log.append("trades", [], [], following={0: 5})
    assert log.offsets("trades") == {0: 8, 1: 4}


def test_sources_and_partitions_are_apart(log: StreamLog) -> None:
    """The same offset of another partition or source is another event."""
    log.append("trades", [row(0), row(0, partition=1)], [], following={0: 1, 1: 1})
    assert log.append("quotes", [row(0)], [], following={0: 1}) == 1
    assert (stored(log), stored(log, "quotes")) == ([(0, 0), (1, 0)], [(0, 0)])


def test_a_batch_that_fails_leaves_nothing(log: StreamLog) -> None:
    """Neither its rows nor its offsets."""
    with pytest.raises(StoreError, match="cannot be written"):
        log.append("trades", [row(0), row(1, body=None)], [], following={0: 2})  # type: ignore[arg-type]
    assert (stored(log), log.offsets("trades")) == ([], {})


def test_forgetting_keeps_what_is_young_or_not_yet_held(log: StreamLog) -> None:
    """Both conditions must hold; sequence numbers are never given again, and the total stays."""
    log.append("trades", [row(n) for n in range(5)], [], following={0: 5})
    assert log.forget("trades", through=4, arrived_before_us=102) == 2
    assert log.forget("trades", through=5, arrived_before_us=10_000) == 3
    log.append("trades", [row(5)], [], following={0: 6})
    assert [r.sequence for batch in log.rows("trades", after=0) for r in batch] == [6]
    assert log.counts("trades").rows == 6


def test_the_lag_begins_after_what_is_online(log: StreamLog) -> None:
    """The arrival of the first row that is not online yet; none when all are."""
    log.append("trades", [row(0), row(1)], [], following={0: 2})
    assert log.arrival("trades", after=0) == 100
    log.applied("trades", 1)
    assert (log.counts("trades").applied_sequence, log.arrival("trades", after=1)) == (1, 101)
    assert log.arrival("trades", after=2) is None


def test_identity_stays_with_the_file(log: StreamLog, tmp_path: Path) -> None:
    """Opened again it is the same log, another file is another one; a file that is no log is told."""
    again, other = StreamLog(tmp_path / "toy.sqlite"), StreamLog(tmp_path / "other.sqlite")
    assert again.identity == log.identity != other.identity
    again.close()
    other.close()
    (tmp_path / "bad.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="stream log"):
        StreamLog(tmp_path / "bad.sqlite")
