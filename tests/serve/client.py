"""Asks an ASGI application directly: no socket, no server, the same bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from forecastle.serve.application import Application
from forecastle.serve.settings import Settings


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def rules(self) -> list[tuple[str, str]]:
        """(feature, rule) of every detail of a refusal."""
        return [(item["feature"], item["rule"]) for item in self.json["error"]["details"]]


@dataclass
class Client:
    """A started application; `parts` says in how many pieces a body arrives."""

    application: Application
    loop: asyncio.AbstractEventLoop
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: bytes = b"", *, parts: int = 1, **headers: str) -> Answer:
        return self.loop.run_until_complete(self.asked(method, path, body, parts=parts, **headers))

    async def asked(self, method: str, path: str, body: bytes = b"", *, parts: int = 1, **headers: str) -> Answer:
        """`ask`, for requests beside each other."""
        given = {
            "content-type": "application/json",
            **self.headers,
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        pairs = [(name.encode(), value.encode()) for name, value in given.items()]
        step = max(1, -(-len(body) // parts))
        chunks = [body[start : start + step] for start in range(0, len(body), step)] or [b""]
        messages = [
            {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1}
            for index, chunk in enumerate(chunks)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": pairs}
        await self.application(scope, receive, send)
        shown = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], shown, sent[1]["body"])

    def predict(self, request: Any, **headers: str) -> Answer:
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        return self.ask("POST", "/predict", body, **headers)

    def predict_at_once(self, requests: Sequence[Any]) -> list[Answer]:
        """The answers to requests that all arrive in one turn of the event loop."""

        async def at_once() -> list[Answer]:
            bodies = [json.dumps(request).encode() for request in requests]
            return await asyncio.gather(*[self.asked("POST", "/predict", body) for body in bodies])

        return self.loop.run_until_complete(at_once())

    def post(self, path: str, request: Any) -> Answer:
        return self.ask("POST", path, json.dumps(request).encode())


@contextmanager
def running(settings: Settings) -> Iterator[Client]:
    """An application between start and stop."""
    loop = asyncio.new_event_loop()
    application = Application()
    try:
        loop.run_until_complete(application.start(settings))
        yield Client(application, loop)
        loop.run_until_complete(application.stop())
    finally:
        loop.close()
