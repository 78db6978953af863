"""How old the online rows are that answers are made of, looked at beside the requests.

Belongs here: one look every half minute, in a thread and with a connection of its own.
Does not belong here: the age of the features of one answer (`metrics.py`, observed with it), alarms (Prometheus rules).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from forecastle.contract.clock import Clock
from forecastle.contract.errors import StoreError
from forecastle.serve.metrics import Metrics
from forecastle.serve.receipt import microseconds
from forecastle.serve.resolve import MICROSECONDS
from forecastle.store.online import OnlineStore

LOOK_SECONDS: Final = 30.0
logger = logging.getLogger("forecastle.serve")


class OnlineAges:
    """Keeps the gauge of the newest online row of each view.

    `views` gives the names of the views in use, `open_store` a store to read; a store that cannot be read leaves the
    gauge as it was; `forecastle_features_total` tells that features are missing.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        views: Callable[[], Sequence[str]],
        open_store: Callable[[], OnlineStore],
        clock: Clock,
    ) -> None:
        self._metrics, self._views, self._open_store, self._clock = metrics, views, open_store, clock

    def look(self) -> dict[str, float]:
        """Seconds since the event of the newest row of each view that has one; the gauge is set."""
        now_us, ages = microseconds(self._clock()), {}
        try:
            store = self._open_store()
            try:
                for view in self._views():
                    newest = store.newest(view).event_at_us
                    if newest is not None:
                        ages[view] = (now_us - newest) / MICROSECONDS
            finally:
                store.close()
        except (StoreError, OSError) as error:
            logger.debug("ages of online rows cannot be read: %s", error)
        self._metrics.online_ages(ages)
        return ages

    async def follow(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_SECONDS)
