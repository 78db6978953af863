"""Clocks: the one way anything here learns what time it is.

Belongs here: the `Clock` type, the system's clock and a clock that replays history.
Does not belong here: reading the environment to choose one (`cli/`, `resources/`, the service's entry point).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

Clock = Callable[[], datetime]

_NEEDED: Final = "an instant needs its zone, such as 2026-08-21T12:00:00+00:00"


def system_clock() -> datetime:
    """This moment, UTC."""
    return datetime.now(UTC)


def replay_clock(start: datetime) -> Clock:
    """A clock that stands at `start` now and goes on at real speed: old data is asked old questions.

    Raises:
        ValueError: `start` has no zone.
    """
    if start.tzinfo is None:
        raise ValueError(f"got {start.isoformat()}; {_NEEDED}")
    begin, began = start.astimezone(UTC), time.monotonic()
    return lambda: begin + timedelta(seconds=time.monotonic() - began)


def clock_from(text: str | None) -> Clock:
    """The clock a configuration names: nothing for the system's, an ISO 8601 instant for a replay.

    Raises:
        ValueError: the text is not an instant with a zone.
    """
    if not text:
        return system_clock
    try:
        start = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"got {text!r}; {_NEEDED}") from error
    return replay_clock(start)
