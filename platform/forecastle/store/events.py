"""Events: feature rows that were pushed, on disk before they are acknowledged, in one queue file per system.

Belongs here: the record, appending each (view, event id) once, reading on from where a consumer stood.
Does not belong here: checking rows (`serve/push_events.py`), the online store, what a stream worker computes.
A consumer reads `since(position)`, does its work, then acknowledges: at least once, so its work must be repeatable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from forecastle.contract.errors import ConflictError
from forecastle.store.durable_file import DISK_LIMIT_BYTES, DurableFile


@dataclass(frozen=True, slots=True)
class Event:
    """One pushed feature row. `sequence` is 0 until the queue has given one; `*_json` hold JSON text.

    Times count microseconds since 1970 UTC. `event_id` is the sender's word or the digest of the row, unique within
    its view; `content_sha256` is the row's digest: it tells a repeat from another row under the same id.
    """

    view: str
    event_id: str
    content_sha256: str
    entity_json: str
    event_at_us: int
    known_at_us: int
    features_json: str
    received_at_us: int
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Appended:
    """What one append did: events stored now, and those that had been stored before."""

    stored: int
    repeated: int


FORGET_ROWS: Final = 10_000
ONLINE: Final = "online"
"""The consumer that brings pushed feature rows to the online store."""

_COLUMNS: Final = tuple(field.name for field in fields(Event))
_LIST: Final = ", ".join(_COLUMNS)
_INSERT: Final = (
    f"INSERT INTO events ({', '.join(_COLUMNS[:-1])}) VALUES ({', '.join('?' * (len(_COLUMNS) - 1))}) "
    "ON CONFLICT (view, event_id) DO NOTHING"
)
_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS events (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  view TEXT NOT NULL, event_id TEXT NOT NULL, content_sha256 TEXT NOT NULL, entity_json TEXT NOT NULL,
  event_at_us INTEGER NOT NULL, known_at_us INTEGER NOT NULL, features_json TEXT NOT NULL,
  received_at_us INTEGER NOT NULL, UNIQUE (view, event_id)
) STRICT""",
    # Of one view the newest, asked many times a second: without it every look would pass all events of the view.
    "CREATE INDEX IF NOT EXISTS events_of ON events (view)",
    "CREATE TABLE IF NOT EXISTS consumers (consumer TEXT PRIMARY KEY, sequence INTEGER NOT NULL) STRICT",
)
_values = attrgetter(*_COLUMNS[:-1])


class EventQueue:
    """A durable queue of events; several processes and threads may append and read."""

    def __init__(self, path: Path, *, disk_limit_bytes: int = DISK_LIMIT_BYTES) -> None:
        """Open or create the queue; it never grows beyond `disk_limit_bytes`.

        Raises:
            StoreError: the file cannot be made or is no event queue.
        """
        self._file = DurableFile(path, what="event queue", schema=_SCHEMA, disk_limit_bytes=disk_limit_bytes)

    def append(self, events: Sequence[Event]) -> Appended:
        """Store events by one transaction; one whose (view, event_id) is there already changes nothing.

        Raises:
            ConflictError: an event id is there with another content; nothing of this append is stored.
            StoreError: the queue cannot be written.
        """
        with self._file.transaction() as connection:
            stored = connection.executemany(_INSERT, map(_values, events)).rowcount
            if stored < len(events):
                for event in events:
                    known = connection.execute(
                        "SELECT content_sha256 FROM events WHERE view = ? AND event_id = ?",
                        (event.view, event.event_id),
                    ).fetchone()
                    if known[0] != event.content_sha256:
                        raise ConflictError(
                            f"event {event.event_id!r} of {event.view} has another content already; give it a new id"
                        )
        return Appended(max(stored, 0), len(events) - max(stored, 0))

    def since(self, sequence: int, *, view: str | None = None, limit: int = 10_000) -> list[Event]:
        """Up to `limit` events after a sequence number, in the order in which they were stored; of one view or all."""
        where, values = ("AND view = ?", [view]) if view is not None else ("", [])
        rows = self._file.fetch(
            f"SELECT {_LIST} FROM events WHERE sequence > ? {where} ORDER BY sequence LIMIT ?",
            [sequence, *values, limit],
        )
        return [Event(*row) for row in rows]

    def count(self, sequence: int, *, view: str) -> int:
        """How many events of a view were stored after a sequence number."""
        asked = "SELECT count(*) FROM events WHERE sequence > ? AND view = ?"
        ((count,),) = self._file.fetch(asked, (sequence, view))
        return int(count)

    def position(self, consumer: str) -> int:
        """The sequence number up to which a consumer has acknowledged; 0 at first."""
        rows = self._file.fetch("SELECT sequence FROM consumers WHERE consumer = ?", (consumer,))
        return int(rows[0][0]) if rows else 0

    def acknowledge(self, consumer: str, sequence: int) -> None:
        """A consumer has done its work up to and with a sequence number; it never goes back."""
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT INTO consumers (consumer, sequence) VALUES (?, ?) ON CONFLICT (consumer)"
                " DO UPDATE SET sequence = max(sequence, excluded.sequence)",
                (consumer, sequence),
            )

    def consumers(self) -> tuple[str, ...]:
        """Everyone who has acknowledged anything, be it 0, sorted."""
        return tuple(str(row[0]) for row in self._file.fetch("SELECT consumer FROM consumers ORDER BY consumer"))

    def pending(self, consumer: str) -> int:
        """Events that a consumer has not acknowledged yet."""
        rows: list[tuple[Any, ...]] = self._file.fetch(
            "SELECT count(*) FROM events WHERE sequence >"
            " coalesce((SELECT sequence FROM consumers WHERE consumer = ?), 0)",
            (consumer,),
        )
        return int(rows[0][0])

    def views(self) -> tuple[str, ...]:
        """Every view that has an event, sorted."""
        return tuple(str(row[0]) for row in self._file.fetch("SELECT DISTINCT view FROM events ORDER BY view"))

    def forget(self, view: str, *, consumer: str, received_before_us: int) -> int:
        """Remove a view's events that its consumer has acknowledged and that came before a time; how many.

        The newest event of the view stays. The id of a removed event is forgotten: sent again, it is new.
        """
        (newest,) = self._file.fetch("SELECT coalesce(max(sequence), 0) FROM events WHERE view = ?", (view,))[0]
        through, removed = min(self.position(consumer), newest - 1), 0
        while True:  # in small transactions: whoever appends waits for none of them long
            with self._file.transaction() as connection:
                count = connection.execute(
                    "DELETE FROM events WHERE sequence IN (SELECT sequence FROM events WHERE sequence <= ?"
                    " AND view = ? AND received_at_us < ? ORDER BY sequence LIMIT ?)",
                    (through, view, received_before_us, FORGET_ROWS),
                ).rowcount
            removed += count
            if count < FORGET_ROWS:
                return removed

    def close(self) -> None:
        """Close the queue."""
        self._file.close()
