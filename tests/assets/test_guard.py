"""The guard before Dagster's web server lets the operator's own pages through and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from assets.guard import Guard

HOST = "127.0.0.1:3001"
HOSTS = frozenset({HOST, "localhost:3001"})
JSON = "application/json"


def ask(kind: str = "http", method: str = "GET", path: str = "/", query: str = "", **headers: str) -> str:
    """The word "passed", or what the guard answered instead, to one request whose header names are written with `_`."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sent.append({"type": "passed"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("the guard reads no body")

    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    asyncio.run(Guard(app, hosts=HOSTS)(scope, receive, send))
    first = sent[0]
    answers = {"passed": "passed", "websocket.close": f"closed {first.get('code')}"}
    return answers.get(first["type"], str(first.get("status")))


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_the_operators_own_page_works(host: str) -> None:
    """A page load, a GraphQL call of the page itself, and its web socket."""
    assert ask(host=host) == "passed"
    own = f"http://{host}"
    assert ask(method="POST", path="/graphql", host=host, origin=own, content_type=JSON) == "passed"
    assert ask("websocket", path="/graphql", host=host, origin=own) == "passed"
    assert ask(path="/graphql", host=host) == "passed", "the GraphiQL page itself holds no query"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3001", "127.0.0.1", "127.0.0.1:3002", "", "0.0.0.0:3001"]
)
def test_other_host_names_are_refused(host: str) -> None:
    """A name of somebody else's that resolves to this machine (DNS rebinding) opens nothing."""
    assert ask(host=host) == "403"
    assert ask("websocket", path="/graphql", host=host) == "closed 1008"


def test_a_request_without_a_host_is_refused() -> None:
    """HTTP/1.0 tools send none; nothing is assumed in its place."""
    assert ask() == "403"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:3002", "http://localhost", "file://"]
)
def test_pages_from_elsewhere_are_refused(origin: str) -> None:
    """A page open in another tab can send a request here, but not under an origin of ours."""
    assert ask(method="POST", path="/graphql", host=HOST, origin=origin, content_type=JSON) == "403"
    assert ask(host=HOST, origin=origin) == "403"
    assert ask("websocket", path="/graphql", host=HOST, origin=origin) == "closed 1008"


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json"],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_changes_that_a_browser_sends_without_asking_are_refused(method: str, content_type: str) -> None:
    """Simple content types need no preflight: exactly JSON is taken, from old browsers without Origin as well."""
    assert ask(method=method, path="/graphql", host=HOST, content_type=content_type) == "415"
    assert ask(method=method, path="/report_asset_materialization/a", host=HOST) == "415"


def test_json_may_name_its_charset() -> None:
    """Parameters of the content type do not matter."""
    assert ask(method="POST", path="/graphql", host=HOST, content_type="application/json; charset=utf-8") == "passed"


@pytest.mark.parametrize("query", ["query=mutation{x}", "operationName=a&query=%7Bversion%7D"])
def test_graphql_in_an_address_is_refused(query: str) -> None:
    """A link or an image could carry it."""
    assert ask(path="/graphql", query=query, host=HOST) == "403"
    assert ask(path="/proxied/graphql", query=query, host=HOST) == "403"


def test_the_servers_own_start_and_stop_pass() -> None:
    """Lifespan messages are no requests: without them the web server would never be ready."""
    assert ask("lifespan") == "passed"
