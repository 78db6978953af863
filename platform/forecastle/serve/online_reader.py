"""The online store as serving sees it: read in bounded time, or told to be unavailable.

Belongs here: opening late, giving up early, trying again soon.
Does not belong here: the store itself (`store/online.py`), what a missing value means (`resolve.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from forecastle.contract.errors import StoreError
from forecastle.contract.feature_set import ViewSpec
from forecastle.serve.resolve import Rows
from forecastle.store.online import OnlineStore
from forecastle.store.online_stores import open_online

READ_TIMEOUT_SECONDS: Final = 0.05
RETRY_SECONDS: Final = 1.0
logger = logging.getLogger("forecastle.serve")


class OnlineReader:
    """Reads one system's online store; while it cannot be read, it is tried again every `RETRY_SECONDS`.

    `path` is the embedded store's file; with `url` the server named there is read instead.
    """

    def __init__(
        self, path: Path, *, url: str = "", system: str = "", timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._path, self._url, self._system, self._timer = path, url, system, timer
        self._store: OnlineStore | None = None
        self._inode = 0
        self._look_at = 0.0
        self._retry_at = 0.0
        self.available: bool | None = None

    def read(self, views: Sequence[ViewSpec], key: Sequence[int | str]) -> Rows | None:
        """Newest row of each view for one entity; None when the store cannot be read in time."""
        try:
            store = self._current()
            if store is None:
                return None
            rows = store.read(views, key)
        except (StoreError, OSError) as error:
            self._lost(error)
            return None
        self.available = True
        return rows

    def read_many(self, views: Sequence[ViewSpec], keys: Sequence[Sequence[int | str]]) -> Sequence[Rows] | None:
        """`read` of many entities, in their order; None when one of them cannot be read in time."""
        try:
            store = self._current()
            if store is None:
                return None
            rows = store.read_many(views, keys)
        except (StoreError, OSError) as error:
            self._lost(error)
            return None
        self.available = True
        return rows

    def close(self) -> None:
        """Close the store; the next read opens it again."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _current(self) -> OnlineStore | None:
        """The open store, None while it is too early to try again.

        A file is looked at every `RETRY_SECONDS` in case another has taken its place.
        """
        now = self._timer()
        if self._store is not None and (self._url or now < self._look_at):
            return self._store
        if self._store is None and now < self._retry_at:
            return None
        if not self._url:
            self._look_at = now + RETRY_SECONDS
            inode = self._path.stat().st_ino
            if inode != self._inode:
                self.close()
                self._inode = inode
        if self._store is None:
            self._store = self._open()
        return self._store

    def _lost(self, error: Exception) -> None:
        """Said once; the store is tried again after `RETRY_SECONDS`."""
        if self.available is not False:
            logger.error("online store unavailable: %s", error)
        self.close()
        self.available, self._retry_at = False, self._timer() + RETRY_SECONDS

    def _open(self) -> OnlineStore:
        return open_online(
            self._url, path=self._path, system=self._system, read_only=True, timeout_seconds=READ_TIMEOUT_SECONDS
        )
