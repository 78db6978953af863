"""What arrives over a socket and is no proper request: refused in the one JSON shape, and never read for ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from forecastle.serve.connection import HEAD_LIMIT_BYTES, PatientProtocol

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answers every request with its path."""
    body = scope["path"].encode()
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def asked(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, bytes]]) -> bytes:
    """What `talk` reads of a server with our protocol."""

    async def run() -> bytes:
        config = Config(hello, http=PatientProtocol, ws="none", log_level="critical")
        config.load()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: PatientProtocol(config=config, server_state=ServerState(), app_state={}), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            return await asyncio.wait_for(talk(reader, writer), timeout=20)
        finally:
            writer.close()
            server.close()

    return asyncio.run(run())


def sent(*parts: bytes) -> bytes:
    """The whole answer to bytes after which the server closes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        for part in parts:
            writer.write(part)
        return await reader.read()

    return asked(talk)


@pytest.mark.parametrize(
    "request_bytes",
    [b"\x16\x03\x01 hello\r\n\r\n", b"FOO / HTTP/1.1\r\n\r\n", HEAD + b"Content-Length: -5\r\n\r\n",
     HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_http_is_refused_in_json(request_bytes):
    """A TLS hello, an unknown method, lengths that cannot be: 400 `not_http` in the shape of every error."""
    head, _, body = sent(request_bytes).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n")
    assert b"connection: close" in head
    error = json.loads(body)["error"]
    assert (error["code"], error["details"], error["request_id"]) == ("not_http", [], None)


def test_a_head_that_does_not_end_is_given_up():
    """Headers without an end: one byte beyond the limit the answer is 431, and the connection is closed."""
    lines = b"x: aaaaaaaaaaa\r\n" * HEAD_LIMIT_BYTES
    head, _, body = sent(HEAD, lines[: HEAD_LIMIT_BYTES + 1 - len(HEAD)]).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(body)["error"]["code"] == "head_too_large"


def test_usual_requests_are_answered_one_after_the_other():
    """A long head that ends, a second request on the same connection, an upgrade nobody offers: answered as HTTP."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        answers = []
        long = b"x: " + b"a" * (HEAD_LIMIT_BYTES // 2) + b"\r\n"
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"
        for path, more in ((b"/a", long), (b"/b", long), (b"/c", upgrade)):
            writer.write(HEAD.replace(b" / ", b" " + path + b" ") + more + b"\r\n")
            answers.append(await reader.readuntil(path))
        return b"".join(answers)

    assert asked(talk).count(b"HTTP/1.1 200 OK") == 3
