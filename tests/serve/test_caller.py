"""Who is answered: by the address that a connection reached, the host name, the page's origin and the token."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from forecastle.contract.clock import system_clock
from forecastle.serve.caller import check_caller, is_loopback
from forecastle.serve.refusal import Refusal
from forecastle.serve.settings import Settings
from forecastle.store.home import Home

TOKEN = "0123456789abcdef0123456789abcdef"
BARE = Settings("toy", home=Home(Path("/nowhere")), packed=None, clock=system_clock)
WAIVED = dataclasses.replace(BARE, is_token_waived=True)
CLOSED = dataclasses.replace(BARE, token=TOKEN)


def told(
    settings: Settings, server: str | None, *, path: str = "/predict", host: str = "localhost", bearer: str = ""
) -> str:
    """The code of the refusal, or nothing."""
    address = None if server is None else (server, 3000)
    try:
        check_caller(settings, path=path, host=host.encode(), origin=b"", authorization=bearer.encode(), server=address)
    except Refusal as refusal:
        return refusal.code
    return ""


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("::ffff:127.0.0.1", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.5", False), ("::ffff:10.0.0.5", False), ("example.org", False),
     ("", False), ("localhost.example.org", False)],
)  # fmt: skip
def test_loopback_is_told_from_the_rest(host, expected):
    """Only addresses that no other machine reaches count as loopback."""
    assert is_loopback(host) is expected


@pytest.mark.parametrize("server", ["192.0.2.7", "2001:db8::7", "172.17.0.2"])
def test_without_a_token_other_machines_are_refused(server):
    """Whoever bound every address for us: what came in by another than loopback is 401, but for the two probes."""
    assert told(BARE, server, host=server) == "unauthorized"
    assert told(WAIVED, server, host="predict.example") == ""
    assert told(CLOSED, server, host="predict.example", bearer=f"Bearer {TOKEN}") == ""
    assert told(CLOSED, server, host="predict.example") == "unauthorized"
    named = dataclasses.replace(BARE, hosts=frozenset({"predict.example"}))
    assert told(named, server, host="predict.example") == "unauthorized", "a name is no token"
    for path in ("/livez", "/readyz"):
        assert told(BARE, server, path=path, host=server) == told(CLOSED, server, path=path, host=server) == ""


def test_without_a_token_loopback_answers_loopback_names():
    """A web page whose name was made to mean this machine is told so; where hosts are named, those are answered."""
    assert told(BARE, "127.0.0.1", host="127.0.0.1:3000") == told(BARE, "::1", host="[::1]:3000") == ""
    assert told(BARE, "127.0.0.1", host="evil.example") == "unknown_host"
    assert told(dataclasses.replace(BARE, hosts=frozenset({"box"})), "127.0.0.1", host="box") == ""
    assert told(WAIVED, "127.0.0.1", host="predict.example") == ""
    assert told(BARE, None, host="") == ""  # a socket of the file system


def test_the_address_reaches_the_decision(shared):
    """The server's own word of where a connection came in is asked for each request."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        sent.append(message)

    head = {"method": "POST", "path": "/predict", "headers": [(b"content-type", b"application/json")]}
    shared.loop.run_until_complete(shared.application({**head, "server": ("192.0.2.7", 3000)}, receive, send))
    assert sent[0]["status"] == 401
    assert "set FORECASTLE_TOKEN" in json.loads(sent[1]["body"])["error"]["message"]
