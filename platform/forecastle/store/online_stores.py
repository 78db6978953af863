"""Which online store a configuration names: the embedded file, or a server by its URL.

Belongs here: reading the URL's scheme, opening that store.
Does not belong here: the stores (`online_sqlite.py`, `online_redis.py`), reading the environment (the edge).
"""

from __future__ import annotations

from pathlib import Path

from forecastle.contract.errors import StoreError
from forecastle.store.online import TIMEOUT_SECONDS, OnlineStore
from forecastle.store.online_sqlite import SQLiteOnlineStore


def open_online(
    url: str,
    *,
    path: Path,
    system: str,
    read_only: bool = False,
    must_exist: bool = False,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> OnlineStore:
    """The online store of one system: `path` when `url` is empty, else the server that it names.

    With `must_exist` the file is not made where there is none; a server has nothing to make.

    Raises:
        StoreError: the URL's scheme is unknown, or the store cannot be opened.
    """
    if not checked_url(url):
        return SQLiteOnlineStore(path, read_only=read_only, must_exist=must_exist, timeout_seconds=timeout_seconds)
    # Processes that use the file do not pay for the client's import.
    from forecastle.store.online_redis import RedisOnlineStore

    return RedisOnlineStore(url, system, read_only=read_only, timeout_seconds=timeout_seconds)


def checked_url(url: str) -> str:
    """The URL of a server that is known, or nothing, which names the file.

    Raises:
        StoreError: the URL's scheme is unknown.
    """
    scheme, is_url, _ = url.partition("://")
    if url and (scheme not in {"redis", "rediss", "unix"} or not is_url):
        # What is no URL may begin with a password.
        got = f"begins with {scheme!r}" if is_url and scheme.isalnum() else "is no URL"
        raise StoreError(
            f"FORECASTLE_ONLINE_URL {got}; redis://…, rediss://… and unix://… are known, unset it for the file"
        )
    return url
