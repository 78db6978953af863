"""The body of one request as it arrives: counted before it is parsed, thrown away where it was refused unread.

Belongs here: reading what the server hands over, the limit of its size.
Does not belong here: what a body says (`parse.py`), statuses and deadlines (`application.py`).
ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html#request-receive-event
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from forecastle.serve.refusal import Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class ClientGoneError(Exception):
    """The client closed the connection before its request was whole."""


class Body:
    """What follows the head of one request; `is_whole` once all of it has arrived."""

    __slots__ = ("_receive", "is_whole")

    def __init__(self, receive: Receive) -> None:
        """`receive` gives the server's next message."""
        self._receive = receive
        self.is_whole = False

    async def read(self, limit_bytes: int, *, content_length: bytes) -> bytes:
        """All of it; `content_length` is what the head announces, if anything.

        Raises:
            Refusal: it is larger than allowed, by its announcement or by what arrives.
            ClientGoneError: it will never be whole.
        """
        if content_length.isdigit() and int(content_length[:20]) > limit_bytes:
            raise _too_large(limit_bytes)
        parts: list[bytes] = []
        size = 0
        while not self.is_whole:
            part = await self._part()
            size += len(part)
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def discard(self, *, seconds: float) -> None:
        """Throw away what is still on its way, for so long at most.

        A connection that is closed with unread bytes is reset, and the answer is lost to a client that sends first and
        reads then: https://www.rfc-editor.org/rfc/rfc9112#section-9.6
        """
        with suppress(TimeoutError, ClientGoneError):
            async with asyncio.timeout(seconds):
                while not self.is_whole:
                    await self._part()

    async def _part(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        self.is_whole = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part


def _too_large(limit_bytes: int) -> Refusal:
    return Refusal("too_large", f"the body is larger than {limit_bytes} bytes")
