"""The service inside another process: the same application, asked without a socket.

Belongs here: starting it on an event loop of its own, one question at a time, stopping it.
Does not belong here: routes (`application.py`), servers (`runner.py`). For simulations, where the clock is not the
machine's and thousands of answers are given between two ticks.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from forecastle.serve.application import Application
from forecastle.serve.settings import Settings


@dataclass(frozen=True, slots=True)
class Answered:
    """Status and body of one answer."""

    status: int
    body: Any


class InProcessService:
    """One running application; it follows the champion's pointer whenever it is asked."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is opened before the `with` block."""
        self._settings = settings
        self._application = Application()
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> Self:
        """Start the application."""
        self._loop.run_until_complete(self._application.start(self._settings))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits in the log, then close."""
        self._loop.run_until_complete(self._application.stop())
        self._loop.close()

    def wait(self, seconds: float) -> None:
        """Let what follows in the background go on for so long: a new champion is loaded there."""
        self._loop.run_until_complete(asyncio.sleep(seconds))

    def get(self, path: str) -> Answered:
        """One GET request."""
        return self._ask("GET", path, b"")

    def post(self, path: str, body: Any) -> Answered:
        """One POST request with a JSON body."""
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes) -> Answered:
        sent: list[dict[str, Any]] = []
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": [(b"content-type", b"application/json")]}
        self._loop.run_until_complete(self._application(scope, receive, send))
        text = sent[1]["body"]
        return Answered(sent[0]["status"], json.loads(text) if text else None)
