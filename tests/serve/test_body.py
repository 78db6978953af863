"""A body as it arrives: whole, too large, cut short, thrown away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from forecastle.serve.body import Body, ClientGoneError
from forecastle.serve.refusal import Refusal

GONE = {"type": "http.disconnect"}


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def arriving(*messages: dict[str, Any]) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Gives each message once, then nothing for ever."""
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


@pytest.mark.parametrize(
    "messages", [[part(b"abc", more=False)], [part(b"a"), part(b""), part(b"bc"), part(b"", more=False)]]
)
def test_a_body_is_its_parts_together(messages):
    """Three bytes are within a limit of three, in one part and in four."""
    body = Body(arriving(*messages))
    assert asyncio.run(body.read(3, content_length=b"3")) == b"abc"
    assert body.is_whole


@pytest.mark.parametrize("announced", [b"", b"4", b"-1", b"x"])
def test_what_arrives_is_counted_whatever_was_announced(announced):
    """The second part makes 5 bytes of 4 allowed; the third is not asked for."""
    body = Body(arriving(part(b"abc"), part(b"de")))
    with pytest.raises(Refusal, match="larger than 4 bytes"):
        asyncio.run(body.read(4, content_length=announced))
    assert not body.is_whole


@pytest.mark.parametrize("announced", [b"5", b"9" * 4_000])
def test_an_announcement_is_enough(announced):
    """Nothing is read of a body that says that it is too large, in however many digits."""
    with pytest.raises(Refusal, match="larger than 4 bytes"):
        asyncio.run(Body(arriving()).read(4, content_length=announced))


def test_a_client_that_leaves_is_no_body():
    """Half a body is never handed on."""
    with pytest.raises(ClientGoneError):
        asyncio.run(Body(arriving(part(b"abc"), GONE)).read(4, content_length=b"4"))


@pytest.mark.parametrize(
    ("messages", "is_whole"),
    [
        ([part(b"a" * 99), part(b"b", more=False)], True),
        ([part(b"a"), GONE], False),
        ([part(b"a")], False),
        ([], False),
    ],
)
def test_the_rest_is_thrown_away_within_its_time(messages, is_whole):
    """To the end, until the client leaves, or until the time is over."""
    body = Body(arriving(*messages))
    asyncio.run(body.discard(seconds=0.01 if not is_whole else 60.0))
    assert body.is_whole is is_whole
