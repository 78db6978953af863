"""Fixtures of the store's tests: a real Redis server for the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.store.redis_server import RedisServer, require_redis


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server that tests share; nobody stops it, and each test has a database of its own system's name."""
    require_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()
