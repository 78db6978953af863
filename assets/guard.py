"""A guard before Dagster's web server, which asks nobody who they are.

Belongs here: refusing what a web page from elsewhere could send through the operator's browser.
Does not belong here: users and passwords (put a proxy that knows them in front when others may connect).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


class Guard:
    """ASGI wrapper: known hosts only, own pages only, changes only as exact JSON.

    Args:
        app: the guarded application.
        hosts: Host header values, with port, that are answered.
    """

    def __init__(self, app: App, *, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass what is fit to pass; answer 403 or 415 to the rest."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            status, text = refusal
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": text.encode()})

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if host not in self._hosts:
            return 403, "This host name is not served here.\n"
        origin = headers.get(b"origin")
        if origin is not None and origin.partition("://")[2] not in self._hosts:
            return 403, "Requests from other sites are refused.\n"
        if scope["type"] == "websocket":
            return None
        changing = scope["method"] in _CHANGING
        if changing and headers.get(b"content-type", "").partition(";")[0].strip() != "application/json":
            return 415, "Send application/json.\n"
        if not changing and scope["path"].endswith("/graphql") and "query" in parse_qs(scope["query_string"].decode()):
            return 403, "Send GraphQL as POST.\n"
        return None
