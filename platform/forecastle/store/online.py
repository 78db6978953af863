"""The online store: the newest row of each entity per feature view, read by key in microseconds.

Belongs here: what is stored and read, and the protocol that every store keeps.
Does not belong here: the stores (`online_sqlite.py`, `online_redis.py`), TTL and missing-value rules
(`serve/resolve.py`), which rows are pushed (`push.py`).
Standard library only: it is served. Times are integer microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

TIMEOUT_SECONDS: Final = 5.0
Key = Sequence[int | str]


class ViewColumns(Protocol):
    """What a reader says about a view: its name, its keys and the features it wants, in the order it wants
    them.
    """

    @property
    def name(self) -> str:
        """The view."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Entity key columns, in the order of the key given."""

    @property
    def features(self) -> tuple[str, ...]:
        """Features to read; values come back in this order."""


@dataclass(frozen=True, slots=True)
class OnlineView:
    """What a writer says about a view: key and feature columns with their contract dtypes."""

    name: str
    key_dtypes: Mapping[str, str]
    feature_dtypes: Mapping[str, str]

    @property
    def keys(self) -> tuple[str, ...]:
        """Entity key columns."""
        return tuple(self.key_dtypes)

    @property
    def features(self) -> tuple[str, ...]:
        """Feature columns."""
        return tuple(self.feature_dtypes)


class OnlineRow(NamedTuple):
    """The stored row of one entity in one view; `values` follow the features asked for, None is null."""

    values: tuple[Any, ...]
    event_at_us: int
    known_at_us: int


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest event and knowledge time stored for a view; None when it holds no row."""

    event_at_us: int | None
    known_at_us: int | None


class OnlineStore(Protocol):
    """What serving and pushing need of an online store; all implementations pass the same tests."""

    def write(self, view: OnlineView, rows: Iterable[Sequence[Any]]) -> int:
        """Store rows (keys, event_at_us, known_at_us, features) where none newer is; returns how many were
        stored.
        """

    def read(self, views: Sequence[ViewColumns], key: Key) -> dict[str, OnlineRow | None]:
        """Each view's stored row of one entity; None where there is none."""

    def read_many(self, views: Sequence[ViewColumns], keys: Sequence[Key]) -> list[dict[str, OnlineRow | None]]:
        """`read` of many entities, in the order of their keys."""

    def newest(self, view: str) -> Newest:
        """Newest times stored for a view."""

    def count(self, view: str) -> int:
        """Entities stored for a view."""

    def close(self) -> None:
        """Release files and connections."""
