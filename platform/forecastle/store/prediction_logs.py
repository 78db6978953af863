"""Which prediction log a configuration names: the embedded file, or a server by its URL.

Belongs here: reading the URL's scheme, opening that log to append or to read.
Does not belong here: the logs (`prediction_log.py`, `prediction_log_postgres.py`), reading the environment (the edge).
"""

from __future__ import annotations

from pathlib import Path

from forecastle.contract.errors import StoreError
from forecastle.store.prediction import ReadableLog, WritableLog
from forecastle.store.prediction_log import DISK_LIMIT_BYTES, PredictionLog, PredictionReader


def open_log(url: str, *, path: Path, system: str, disk_limit_bytes: int = DISK_LIMIT_BYTES) -> WritableLog:
    """The prediction log of one system, to append: `path` when `url` is empty, else the server that it names.

    Raises:
        StoreError: the URL's scheme is unknown, or the log cannot be opened.
    """
    if not url:
        return PredictionLog(path, disk_limit_bytes=disk_limit_bytes)
    _check(url)
    # Processes that use the file do not pay for the client's import.
    from forecastle.store.prediction_log_postgres import PostgresPredictionLog

    return PostgresPredictionLog(url, system)


def open_log_reader(url: str, *, path: Path, system: str) -> ReadableLog:
    """The prediction log of one system, to read.

    Raises:
        StoreError: the URL's scheme is unknown.
    """
    if not url:
        return PredictionReader(path)
    _check(url)
    from forecastle.store.prediction_log_postgres import PostgresPredictionReader

    return PostgresPredictionReader(url, system)


def _check(url: str) -> None:
    scheme, is_url, _ = url.partition("://")
    if scheme not in {"postgresql", "postgres"} or not is_url:
        # What is no URL may begin with a password.
        got = f"begins with {scheme!r}" if is_url and scheme.isalnum() else "is no URL"
        raise StoreError(f"FORECASTLE_LOG_URL {got}; postgresql://… is known, unset it for the file")
