"""Where the service listens and what it demands before it does."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forecastle.contract.errors import ForecastleError
from forecastle.serve.runner import _bound, _config, raise_file_limit, service_environment
from forecastle.serve.settings import settings_from
from tests.serve.server import PLATFORM, Server, until

TOKEN = "0123456789abcdef0123456789abcdef"


def is_ready(server: Server) -> bool:
    with suppress(OSError):
        return server.ask("GET", "/readyz")[0] == 200
    return False


def environment_of(host: str, *, waive_token: bool = False, **environment: str) -> dict[str, str]:
    return service_environment("toy", home=Path("/h"), host=host, environment=environment, waive_token=waive_token)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "example.org"])
def test_an_open_address_needs_a_token_or_a_waiver(host):
    """Beyond loopback: refused without a token, allowed with one or with an explicit waiver."""
    with pytest.raises(ForecastleError, match="set FORECASTLE_TOKEN"):
        environment_of(host)
    assert "FORECASTLE_HOSTS" not in environment_of(host, FORECASTLE_TOKEN=TOKEN)
    waived = environment_of(host, waive_token=True)
    assert (waived["FORECASTLE_SYSTEM"], waived["FORECASTLE_WAIVE_TOKEN"]) == ("toy", "1")


def test_a_short_token_is_refused_everywhere():
    """A token that can be guessed is no token, on loopback neither."""
    with pytest.raises(ForecastleError, match="5 characters; at least 32"):
        environment_of("127.0.0.1", FORECASTLE_TOKEN="abcde")


def test_loopback_answers_loopback_names_only():
    """Listening on loopback, the Host must be a loopback name, whatever a web page resolves to it."""
    assert environment_of("127.0.0.1")["FORECASTLE_HOSTS"] == "localhost,127.0.0.1,::1"
    assert environment_of("127.0.0.1", FORECASTLE_HOSTS="box")["FORECASTLE_HOSTS"] == "box"


def test_the_file_limit_is_raised():
    """Afterwards the soft limit is at least what was allowed and wanted."""
    reached = raise_file_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert reached == soft
    assert soft >= min(65_536, hard if hard != resource.RLIM_INFINITY else 65_536)


def test_settings_come_from_the_environment(tmp_path):
    """System, home, token, hosts and the replay clock's instant are read; unset ones have defaults."""
    settings = settings_from({
        "FORECASTLE_SYSTEM": "toy", "FORECASTLE_HOME": str(tmp_path), "FORECASTLE_TOKEN": TOKEN,
        "FORECASTLE_HOSTS": "a, b", "FORECASTLE_NOW": "2026-06-01T12:00:00+00:00",
    })  # fmt: skip
    assert (settings.system, settings.home.root, settings.token) == ("toy", tmp_path, TOKEN)
    assert settings.hosts == frozenset({"a", "b"})
    assert (settings.clock() - datetime(2026, 6, 1, 12, tzinfo=UTC)).total_seconds() < 60
    bare = settings_from({"FORECASTLE_SYSTEM": "toy"})
    assert (bare.token, bare.hosts, bare.home.root.name) == (None, None, ".forecastle")


@pytest.mark.parametrize(
    ("environment", "text"),
    [({}, "set FORECASTLE_SYSTEM"),
     ({"FORECASTLE_SYSTEM": "toy", "FORECASTLE_NOW": "noon"}, "FORECASTLE_NOW"),
     ({"FORECASTLE_SYSTEM": "toy", "FORECASTLE_NOW": "2026-06-01T12:00"}, "needs its zone"),
     ({"FORECASTLE_SYSTEM": "toy", "FORECASTLE_TOKEN": "short"}, "at least 32"),
     ({"FORECASTLE_SYSTEM": "toy", "FORECASTLE_ONLINE_URL": "redi://h"}, "begins with 'redi'"),
     ({"FORECASTLE_SYSTEM": "toy", "FORECASTLE_LOG_LIMIT_BYTES": "much"}, "a whole number"),
     ({"FORECASTLE_SYSTEM": "toy", "FORECASTLE_WAIVE_TOKEN": "no"}, "1 waives the token")],
)  # fmt: skip
def test_a_wrong_environment_is_told(environment, text):
    """A service that cannot know what to serve does not start; it says which variable is wrong."""
    with pytest.raises(ForecastleError, match=text):
        settings_from(environment)


def test_a_worker_may_take_its_time_to_start():
    """On a busy machine a worker needs more than five seconds for its imports and its bundle; that is no hang."""
    assert _config("127.0.0.1", 3000, 2).timeout_worker_healthcheck == 30


@pytest.mark.e2e
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_address_is_told_also_to_a_file(home, workers):
    """`forecastle serve --port 0` into a file: the file's line names the port, and that port answers."""
    command = [sys.executable, "-m", "forecastle.cli.main", "serve", "toy", "--port", "0", "--workers", workers]
    environment = os.environ | {"PYTHONPATH": str(PLATFORM), "FORECASTLE_HOME": str(home.root)}
    told = home.root / "served.txt"
    with told.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        until(lambda: told.read_bytes().endswith(b"\n"), "the address was not told")
        line = re.fullmatch(r"toy: http://127\.0\.0\.1:(\d+)\n", told.read_text())
        assert line is not None, told.read_text()
        server = Server(process, int(line[1]))
        until(lambda: is_ready(server), "the address that was told does not answer")
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_an_address_that_is_taken_is_told():
    """Which address, why, and what to do instead; a free one is bound and can be handed to workers."""
    with _bound("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert first.get_inheritable()
        first.listen()
        with pytest.raises(ForecastleError, match=f"127.0.0.1, port {port}: .*name another with --host or --port"):
            _bound("127.0.0.1", port)
