"""The bundle under trial: which entities it answers, and what it says in the shadow of the champion.

Belongs here: following the challenger's pointer, sticky assignment, shadow predictions beside the answers.
Does not belong here: who becomes challenger and when it stops (`promote/rollout.py`), the steps of a prediction.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from forecastle.contract.errors import BundleError, ForecastleError
from forecastle.measure.assignment import assignment_value
from forecastle.serve.champion import CHALLENGER, Champion, load_champion, try_in_child
from forecastle.serve.pointer import Signature, pointed, signature
from forecastle.store.home import Home

SHADOW: Final = "shadow"
SHADOWS_LIMIT: Final = 64
logger = logging.getLogger("forecastle.serve")


@dataclass(frozen=True, slots=True)
class Challenger:
    """A verified bundle under trial: `share` of the entities by a salted hash, or the shadow of every answer."""

    bundle: Champion
    share: float
    salt: str
    is_shadow: bool

    def takes(self, entity: Mapping[str, Any] | None) -> bool:
        """Whether this entity is answered by the challenger: always the same for one salt, whatever the process.

        A larger share keeps every entity of a smaller one. A request without an entity is the champion's.
        """
        if entity is None or self.is_shadow or self.share <= 0.0:
            return False
        unit = json.dumps([entity[name] for name in sorted(entity)], separators=(",", ":"))
        return assignment_value(unit, salt=self.salt) < self.share


class ChallengerWatch:
    """Follows one system's challenger pointer; a pointer that is gone or a bundle that fails leaves no challenger."""

    def __init__(self, system: str, *, home: Home, trial: Callable[..., None] = try_in_child) -> None:
        """Nothing is loaded before `check`."""
        self._system, self._home, self._trial = system, home, trial
        self._seen: Signature | None = None
        self.current: Challenger | None = None
        self.error: str | None = None

    def check(self) -> None:
        """Load what the pointer names if it has changed."""
        seen = signature(self._home.challenger(self._system))
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.current = self._load() if seen else None
            self.error = None
        except (ForecastleError, OSError, ValueError, KeyError, TypeError) as error:
            self.current, self.error = None, str(error)
            logger.error("no challenger serves: %s", error)  # noqa: TRY400  expected: no trace

    def _load(self) -> Challenger:
        pointer = pointed(self._home.challenger(self._system))
        share, salt, is_shadow = pointer["share"], pointer["salt"], pointer["shadow"]
        if not (
            isinstance(share, float) and 0.0 <= share < 1.0 and isinstance(salt, str) and isinstance(is_shadow, bool)
        ):
            raise BundleError(f"the challenger's pointer has share {share!r}, salt {salt!r}, shadow {is_shadow!r}")
        digest = pointer["bundle"]
        folder: Path = self._home.bundles(self._system) / digest
        # The same bundle for another share was tried before.
        if self.current is not None and self.current.bundle.bundle.hash == digest:
            return replace(self.current, share=share, salt=salt, is_shadow=is_shadow)
        self._trial(folder, system=self._system, expected_hash=digest)
        loaded = load_champion(folder, system=self._system, expected_hash=digest, promotion=pointer)
        return Challenger(replace(loaded, variant=SHADOW if is_shadow else CHALLENGER), share, salt, is_shadow)


class Shadows:
    """Predictions beside the answers: made after the answer has left, a few at a time, dropped when too many wait."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, work: Callable[[], Awaitable[object]]) -> bool:
        """Do this once the loop has nothing more urgent; False when too many wait and it is dropped.

        What it raises is logged and hurts nobody.
        """
        if len(self._tasks) >= SHADOWS_LIMIT:
            return False
        task = asyncio.create_task(self._do(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def close(self) -> None:
        """Wait for those under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _do(self, work: Callable[[], Awaitable[object]]) -> None:
        await asyncio.sleep(0)
        try:
            await work()
        except Exception as error:  # noqa: BLE001  a bundle under trial may fail in any way
            logger.warning("a shadow prediction failed: %r", error)
