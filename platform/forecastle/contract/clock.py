"""Clocks: the one way anything here learns what time it is.

Belongs here: the `Clock` type, the system's clock and a clock that replays history.
Does not belong here: reading the environment to choose one (`cli/`, `resources/`, the service's entry point).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """This moment, UTC."""
    return datetime.now(UTC)


def replay_clock(start: datetime) -> Clock:
    """A clock that stands at `start` now and goes on at real speed: yesterday's data asked yesterday's questions."""
    began = time.monotonic()
    return lambda: start + timedelta(seconds=time.monotonic() - began)


def clock_from(text: str | None) -> Clock:
    """The clock a configuration names: nothing for the system's, an ISO 8601 instant for a replay.

    Raises:
        ValueError: the text is not an instant with a zone.
    """
    if not text:
        return system_clock
    start = datetime.fromisoformat(text)
    if start.tzinfo is None:
        raise ValueError(f"got {text!r}; an instant needs its zone, such as 2026-08-21T12:00:00+00:00")
    return replay_clock(start.astimezone(UTC))
