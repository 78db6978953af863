"""The stream log: events taken from streams, each once, with the offsets they were taken up to, in one SQLite file.

Belongs here: rows, dead letters and offsets in one transaction; reading them on; forgetting what the warehouse holds.
Does not belong here: checking events (`stream_events.py`), streams (`stream_inputs.py`), tables (`stream_source.py`).
Offsets stand with the rows they belong to, so a kill at any point loses and doubles nothing:
"Storing Offsets Outside Kafka",
https://kafka.apache.org/40/javadoc/org/apache/kafka/clients/consumer/KafkaConsumer.html
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from forecastle.store.durable_file import DISK_LIMIT_BYTES, DurableFile

READ_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class StreamRow:
    """One event that keeps its contract. `values_json` maps columns to values: timestamps in microseconds, dates as
    ISO text. Times count microseconds since 1970 UTC. `sequence` is 0 until the log has given one.
    """

    partition: int
    offset: int
    arrived_at_us: int
    event_at_us: int
    known_at_us: int
    values_json: bytes
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event that does not keep its contract: the first rule it breaks, in a sentence, and how its bytes begin."""

    partition: int
    offset: int
    arrived_at_us: int
    column: str
    value: str
    rule: str
    text: str
    body: bytes


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """What a log holds and has held of one source since it began."""

    rows: int
    dead_letters: int
    last_sequence: int
    applied_sequence: int


_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS rows (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  source TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, arrived_at_us INTEGER NOT NULL,
  event_at_us INTEGER NOT NULL, known_at_us INTEGER NOT NULL, values_json BLOB NOT NULL
) STRICT""",
    "CREATE INDEX IF NOT EXISTS rows_of ON rows (source, sequence)",
    """CREATE TABLE IF NOT EXISTS dead_letters (
  source TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, arrived_at_us INTEGER NOT NULL,
  "column" TEXT NOT NULL, value TEXT NOT NULL, rule TEXT NOT NULL, text TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (source, partition, offset)
) STRICT""",
    """CREATE TABLE IF NOT EXISTS offsets (
  source TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (source, partition)
) STRICT""",
    """CREATE TABLE IF NOT EXISTS counts (
  source TEXT PRIMARY KEY, rows INTEGER NOT NULL, dead_letters INTEGER NOT NULL, last INTEGER NOT NULL,
  applied INTEGER NOT NULL
) STRICT""",
)
_COLUMNS: Final = "partition, offset, arrived_at_us, event_at_us, known_at_us, values_json, sequence"


class StreamLog:
    """The log of one system; one worker writes it, any number of processes read it.

    `identity` is another one for every new file: sequence numbers of one log mean nothing in another.
    """

    def __init__(self, path: Path, *, disk_limit_bytes: int = DISK_LIMIT_BYTES) -> None:
        """Open or create the log; it never grows beyond `disk_limit_bytes`.

        Raises:
            StoreError: the file cannot be made or is no stream log.
        """
        self._file = DurableFile(path, what="stream log", schema=_SCHEMA, disk_limit_bytes=disk_limit_bytes)
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT INTO identity SELECT ? WHERE NOT EXISTS (SELECT 1 FROM identity)", (uuid4().hex,)
            )
        ((self.identity,),) = self._file.fetch("SELECT id FROM identity")

    def append(
        self,
        source: str,
        rows: Sequence[StreamRow],
        dead_letters: Sequence[DeadLetter],
        *,
        following: Mapping[int, int],
    ) -> int:
        """Store what was taken and, in the same transaction, where to go on: partition → next offset.

        What lies before a partition's stored offset was stored before and changes nothing. Returns how many rows were
        stored.

        Raises:
            StoreError: the log cannot be written; nothing of this append is stored.
        """
        with self._file.transaction() as connection:
            at = _offsets(connection, source)
            fresh = [row for row in rows if row.offset >= at.get(row.partition, 0)]
            dead = [letter for letter in dead_letters if letter.offset >= at.get(letter.partition, 0)]
            _insert(connection, source, fresh, dead)
            connection.executemany(
                "INSERT INTO offsets VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = max(next, excluded.next)",
                ((source, partition, offset) for partition, offset in following.items()),
            )
            (last,) = connection.execute("SELECT max(sequence) FROM rows WHERE source = ?", (source,)).fetchone()
            connection.execute(
                "INSERT INTO counts VALUES (?, ?, ?, ?, 0) ON CONFLICT DO UPDATE SET rows = rows + excluded.rows,"
                " dead_letters = dead_letters + excluded.dead_letters, last = max(last, excluded.last)",
                (source, len(fresh), len(dead), last or 0),
            )
        return len(fresh)

    def offsets(self, source: str) -> dict[int, int]:
        """Partition → the first offset that was not taken yet."""
        return dict(self._file.fetch("SELECT partition, next FROM offsets WHERE source = ?", (source,)))

    def rows(self, source: str, *, after: int, through: int | None = None) -> Iterator[list[StreamRow]]:
        """Rows after a sequence number, through another, in batches and in the order in which they were stored."""
        while True:
            found = self._file.fetch(
                f"SELECT {_COLUMNS} FROM rows WHERE source = ? AND sequence > ? AND sequence <= ?"
                " ORDER BY sequence LIMIT ?",
                (source, after, 2**63 - 1 if through is None else through, READ_ROWS),
            )
            if not found:
                return
            yield [StreamRow(*row) for row in found]
            after = found[-1][-1]

    def dead_letters(self, source: str) -> list[DeadLetter]:
        """Every event that did not keep its contract, by partition and offset."""
        chosen = 'partition, offset, arrived_at_us, "column", value, rule, text, body'
        rows = self._file.fetch(
            f"SELECT {chosen} FROM dead_letters WHERE source = ? ORDER BY partition, offset", (source,)
        )
        return [DeadLetter(*row) for row in rows]

    def counts(self, source: str) -> StreamCounts:
        """How much was stored since the log began, how far, and how far of it is online."""
        rows: list[tuple[Any, ...]] = self._file.fetch(
            "SELECT rows, dead_letters, last, applied FROM counts WHERE source = ?", (source,)
        )
        return StreamCounts(*rows[0]) if rows else StreamCounts(0, 0, 0, 0)

    def arrival(self, source: str, *, after: int) -> int | None:
        """When the first row after a sequence number arrived, in microseconds; None when there is none."""
        rows = self._file.fetch(
            "SELECT arrived_at_us FROM rows WHERE source = ? AND sequence > ? ORDER BY sequence LIMIT 1",
            (source, after),
        )
        return int(rows[0][0]) if rows else None

    def applied(self, source: str, sequence: int) -> None:
        """Features of every row through a sequence number are online."""
        with self._file.transaction() as connection:
            connection.execute("UPDATE counts SET applied = ? WHERE source = ?", (sequence, source))

    def forget(self, source: str, *, through: int, arrived_before_us: int) -> int:
        """Remove rows through a sequence number that the warehouse holds and that arrived before a time; how many."""
        with self._file.transaction() as connection:
            return connection.execute(
                "DELETE FROM rows WHERE source = ? AND sequence <= ? AND arrived_at_us < ?",
                (source, through, arrived_before_us),
            ).rowcount

    def close(self) -> None:
        """Close the log."""
        self._file.close()


def _offsets(connection: sqlite3.Connection, source: str) -> dict[int, int]:
    return dict(connection.execute("SELECT partition, next FROM offsets WHERE source = ?", (source,)))


def _insert(connection: sqlite3.Connection, source: str, rows: Sequence[StreamRow], dead: Sequence[DeadLetter]) -> None:
    connection.executemany(
        "INSERT INTO rows (source, partition, offset, arrived_at_us, event_at_us, known_at_us, values_json)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((source, r.partition, r.offset, r.arrived_at_us, r.event_at_us, r.known_at_us, r.values_json)
         for r in rows),
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((source, d.partition, d.offset, d.arrived_at_us, d.column, d.value, d.rule, d.text, d.body)
         for d in dead),
    )  # fmt: skip
