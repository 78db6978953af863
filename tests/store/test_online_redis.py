"""The Redis store when its server is away, hangs, is slow, loses everything or holds what is no row."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from forecastle.contract.errors import CorruptionError, StoreError
from forecastle.serve.online_reader import OnlineReader
from forecastle.serve.resolve import Resolver
from forecastle.store.online import OnlineRow, OnlineView
from forecastle.store.online_redis import RedisOnlineStore
from forecastle.store.packed_row import RowColumns, unpack_head
from tests.serve import toy
from tests.store.redis_server import RedisServer, free_port, require_redis
from tests.store.tcp_proxy import TcpProxy

VIEW = OnlineView("prices", {"market_id": "int64"}, {"price": "float64", "is_open": "bool"})
ROW = (1, 10, 20, 0.5, True)
WAIT_SECONDS = 0.05
BOUND_SECONDS = 1.0
"""What a read may take when the server does not answer: its timeout, and slack for a busy machine. The client's own
defaults wait for 4 to 25 seconds.
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of this test's own: it may be stopped."""
    require_redis()
    made = RedisServer(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def opened(server: RedisServer) -> Iterator[Callable[..., RedisOnlineStore]]:
    stores: list[RedisOnlineStore] = []

    def open_one(url: str = "", **options: float) -> RedisOnlineStore:
        stores.append(RedisOnlineStore(url or server.url, "toy", **options))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@contextmanager
def bounded() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < BOUND_SECONDS


def test_a_server_that_is_down_is_told_at_once(server: RedisServer, opened: Callable[..., RedisOnlineStore]) -> None:
    """Refused connections end in an error that names the address and no password; the same store reads again later."""
    store = opened(timeout_seconds=WAIT_SECONDS)
    store.write(VIEW, [ROW])
    server.stop()
    with bounded(), pytest.raises(StoreError, match=rf"redis 127\.0\.0\.1:{server.port}: read failed"):
        store.read([VIEW], (1,))
    server.start()
    assert store.read([VIEW], (1,)) == {"prices": None}
    assert store.write(VIEW, [ROW]) == 1
    assert store.read([VIEW], (1,)) == {"prices": OnlineRow((0.5, True), 10, 20)}


def test_a_server_that_hangs_is_given_up_and_recovers(
    server: RedisServer, opened: Callable[..., RedisOnlineStore]
) -> None:
    """Stopped with SIGSTOP it accepts and never answers; afterwards no late answer is taken for another question's."""
    store = opened(timeout_seconds=WAIT_SECONDS)
    store.write(VIEW, [ROW, (2, 10, 20, 0.25, False)])
    server.signal(signal.SIGSTOP)
    for _ in range(2):
        with bounded(), pytest.raises(StoreError, match="Timeout"):
            store.read([VIEW], (1,))
    server.signal(signal.SIGCONT)
    assert store.read([VIEW], (2,)) == {"prices": OnlineRow((0.25, False), 10, 20)}


def test_a_slow_server_is_not_waited_for(server: RedisServer, opened: Callable[..., RedisOnlineStore]) -> None:
    """Answers that take 300 ms are too late for a prediction."""
    proxy = TcpProxy(server.port, late_seconds=0.3)
    store = opened(f"redis://127.0.0.1:{proxy.port}/0", timeout_seconds=WAIT_SECONDS)
    with bounded(), pytest.raises(StoreError, match="Timeout"):
        store.read([VIEW], (1,))
    store.close()
    proxy.close()


def test_truncated_and_garbled_answers_are_no_values(
    server: RedisServer, opened: Callable[..., RedisOnlineStore]
) -> None:
    """Cut after each number of bytes, or one bit of any byte changed: an error or the row, never another value.

    Right after it the same store gives the row: what was left of a damaged answer is not taken for the next one's.
    """
    proxy = TcpProxy(server.port)
    store = opened(f"redis://127.0.0.1:{proxy.port}/0", timeout_seconds=10 * WAIT_SECONDS)
    row = OnlineRow((0.5, True), 10, 20)
    store.write(VIEW, [ROW])
    store.read([VIEW], (1,))
    answer_bytes = len(b"*1\r\n$34\r\n" + RowColumns(VIEW.feature_dtypes).pack(10, 20, (0.5, True)) + b"\r\n")
    told: list[str] = []
    for at in range(answer_bytes):
        for damage in ({"cut_at": at}, {"flip": (at, 1)}, {"flip": (at, 0x40)}):
            proxy.arm(**damage)
            try:
                assert store.read([VIEW], (1,)) == {"prices": row}, damage
            except StoreError as error:
                told.append(str(error))
            assert proxy.fired.wait(5), damage
            assert store.read([VIEW], (1,)) == {"prices": row}, damage
    assert len(told) == answer_bytes * 3 - 4, "only the line end behind a row may be wrong, and is not looked at"
    proxy.close()


def test_an_empty_server_has_no_rows_until_they_are_pushed_again(
    server: RedisServer, opened: Callable[..., RedisOnlineStore]
) -> None:
    """A restart without persistence loses rows, layouts and scripts: all of it comes back with the next push."""
    store = opened()
    store.write(VIEW, [ROW])
    assert store.read([VIEW], (1,))["prices"] is not None
    server.stop()
    server.start()
    store.close()
    assert (store.read([VIEW], (1,)), store.count("prices")) == ({"prices": None}, 0)
    store.write(VIEW, [ROW])
    assert (store.read([VIEW], (1,))["prices"], store.count("prices")) == (OnlineRow((0.5, True), 10, 20), 1)


def test_what_is_no_row_is_an_error_and_no_value(server: RedisServer, opened: Callable[..., RedisOnlineStore]) -> None:
    """Bytes that somebody else wrote, a cut row, a row whose layout is gone: refused, each by its reason."""
    store = opened()
    store.write(VIEW, [ROW])
    store.read([VIEW], (1,))
    client = redis.Redis(port=server.port)
    key = "forecastle:toy:prices:[1]"
    whole = client.get(key)
    for damaged in (b"hello", whole[:-1], whole + b"x", b"", whole[:-5] + b"x" + whole[-4:]):
        client.set(key, damaged)
        with pytest.raises(CorruptionError, match=r"bytes; push|bytes, not|bytes are not"):
            store.read([VIEW], (1,))
    client.set(key, whole[:16] + b"abcd" + whole[20:])
    with pytest.raises(CorruptionError, match="unknown columns"):
        store.read([VIEW], (1,))
    client.delete(key)
    client.rpush(key, "a list")
    assert store.read([VIEW], (1,)) == {"prices": None}
    with pytest.raises(StoreError, match="WRONGTYPE"):
        store.write(VIEW, [(1, 11, 21, 0.5, True)])
    client.close()


def test_a_full_server_refuses_the_write(server: RedisServer, opened: Callable[..., RedisOnlineStore]) -> None:
    """Out of memory is told with Redis's own word, and reads go on."""
    store = opened()
    store.write(VIEW, [ROW])
    client = redis.Redis(port=server.port)
    client.config_set("maxmemory", 1)
    with pytest.raises(StoreError, match=r"OutOfMemory|OOM"):
        store.write(VIEW, [(2, 10, 20, 0.5, True)])
    assert store.read([VIEW], (1,))["prices"] == OnlineRow((0.5, True), 10, 20)
    client.close()


def test_serving_says_that_the_store_is_unavailable_and_recovers_alone(server: RedisServer, tmp_path: Path) -> None:
    """Hung: one bounded wait, then none for a second; the receipt's words name it; back: rows, by itself."""
    features, now = toy.feature_set(), [0.0]
    reader = OnlineReader(tmp_path / "none.sqlite", url=server.url, system="toy", timer=lambda: now[0])
    assert reader.read(features.views, (7,)) == {"prices": None, "polls": None}
    server.signal(signal.SIGSTOP)
    with bounded():
        assert reader.read(features.views, (7,)) is None
    assert reader.available is False
    faults = Resolver(features).resolve({}, None, now_us=0)
    assert "online store unavailable" in str((faults.degraded, faults.refused))
    assert reader.read(features.views, (7,)) is None
    server.signal(signal.SIGCONT)
    now[0] = 1.0
    assert reader.read(features.views, (7,)) == {"prices": None, "polls": None}
    assert reader.available
    reader.close()


def test_no_server_at_all_is_told_on_writing() -> None:
    """A push to a server that is not there fails in bounded time."""
    store = RedisOnlineStore(f"redis://:secret@127.0.0.1:{free_port()}", "toy", timeout_seconds=WAIT_SECONDS)
    with bounded(), pytest.raises(StoreError, match="write of prices failed") as told:
        store.write(VIEW, [ROW])
    assert "secret" not in str(told.value)
    store.close()


def test_the_packed_row_is_the_one_written_down() -> None:
    """Byte for byte: biased times, four bytes of digest, one bit a null (the lowest for the first), values, a sum."""
    columns = RowColumns({"price": "float64", "is_open": "bool"})
    assert columns.pack(1, -1, (0.5, None)) == (
        bytes.fromhex("8000000000000001" + "7fffffffffffffff")
        + columns.digest
        + b"\x02"
        + bytes.fromhex("3fe0000000000000")
        + b"\x00"
        + bytes.fromhex("60986467")
    )
    row = columns.pack(5, 6, (None, True))
    assert (unpack_head(row), columns.unpack(row)) == ((5, 6, columns.digest), (None, True))
    with pytest.raises(StoreError, match="mend its values"):
        columns.pack(2**63, 0, (0.5, True))
    with pytest.raises(StoreError, match="stored features are"):
        RowColumns({"seen_at": "timestamp"})


def test_packed_words_come_back() -> None:
    """The four-byte length of each string stands in its place, the strings after all values; null is no empty word."""
    columns = RowColumns({"sky": "string", "price": "float64", "port": "string"})
    row = columns.pack(5, 6, ("stürmisch", 0.5, None))
    assert columns.unpack(row) == ("stürmisch", 0.5, None)
    assert row[:-4].endswith(bytes.fromhex("0000000a" + "3fe0000000000000" + "00000000") + "stürmisch".encode())
    assert columns.unpack(columns.pack(5, 6, ("", None, "é"))) == ("", None, "é")
    with pytest.raises(StoreError, match="mend its values"):
        columns.pack(5, 6, (1, 0.5, "a"))
    with pytest.raises(CorruptionError, match="bytes"):
        columns.unpack(row[:20])
