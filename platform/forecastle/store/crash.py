"""Named points at which a test may kill the process, so that every crash between two writes is a case we ran.

Belongs here: the registry of points and the hook that kills. Code under test is handed a hook; the default
does nothing.
Does not belong here: reading the environment to arm a point (the test's own process, `resources/`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import count
from typing import Final

from forecastle.contract.errors import StoreError, did_you_mean

CrashHook = Callable[[str], None]

CRASH_POINTS: Final = (
    "publish.start",
    "publish.after_write",
    "publish.after_audit",
    "publish.after_rename",
    "publish.after_commit",
)
"""Every point that a publish passes; a test enumerates them."""

STREAM_CRASH_POINTS: Final = (
    "stream.after_take",
    "stream.before_commit",
    "stream.after_commit",
    "stream.after_compute",
    "stream.after_online",
    "stream.after_compact",
)
"""Every point that the stream worker passes; a test enumerates them."""


def no_crash(point: str) -> None:
    """The hook of every ordinary run: nothing happens at any point."""
    del point


def crash_hook(armed: str) -> CrashHook:
    """A hook that kills this process at `point[:signal[:nth]]` (SIGKILL, first passage, unless said).

    Raises:
        StoreError: the point is not in the registry or the signal has no such name.
    """
    point, _, rest = armed.partition(":")
    signal_name, _, nth = rest.partition(":")
    known = (*CRASH_POINTS, *STREAM_CRASH_POINTS)
    if point not in known:
        raise StoreError(f"got the crash point {point!r}; {did_you_mean(point, known)}")
    if signal_name and signal_name not in signal.Signals.__members__:
        raise StoreError(f"got the signal {signal_name!r}; use a name such as SIGKILL or SIGTERM")
    number = signal.Signals[signal_name or "SIGKILL"]
    passages = count(1)
    wanted = int(nth or 1)

    def hook(passed: str) -> None:
        if passed == point and next(passages) == wanted:
            os.kill(os.getpid(), number)

    return hook
