"""Servers that start together and stop together: real children, told from ready to gone."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from pathlib import Path

import pytest

from forecastle.cli import processes
from forecastle.cli.processes import Server, Servers, free_port
from forecastle.contract.errors import ForecastleError

ENVIRONMENT = {"PATH": os.environ.get("PATH", "")}
LISTEN = """
import socket, sys
with socket.socket() as s:
    s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(); print("listening", flush=True)
    while True: s.accept()[0].close()
"""
PAGE = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ready" else 503); self.end_headers()
HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""
STUBBORN = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + LISTEN
# A server with a child of its own, as code servers have; both ids are told.
FAMILY = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
print(os.getpid(), child.pid, flush=True)
""" + LISTEN.replace("import socket, sys", "import socket")


def server(
    program: str, *, name: str = "one", port: int | None = None, url: str | None = None, **kept: float
) -> Server:
    """A child that runs a Python program with its port as the only argument."""
    command = (sys.executable, "-c", program, str(port))
    return Server(name, command, ENVIRONMENT, port=None if url else port, url=url, **kept)


def ended(descriptors: list[int]) -> bool:
    """Whether every process behind these descriptors ends within ten seconds; a descriptor stays with its process."""
    try:
        return all(select.select([descriptor], [], [], 10)[0] for descriptor in descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def listens(port: int) -> bool:
    """Whether somebody answers on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_is_ready_when_its_port_answers_and_gone_after_the_block(tmp_path: Path) -> None:
    """The log holds its output, and nobody listens any more."""
    port = free_port(0)
    with Servers(tmp_path / "logs") as servers:
        servers.start(server(LISTEN, port=port))
        assert servers.wait_ready("one") < 60
        assert listens(port)
    assert not listens(port)
    assert (tmp_path / "logs" / "one.log").read_text().startswith("listening")


def test_a_url_must_answer_200(tmp_path: Path) -> None:
    """A server that listens and says 503 is not ready; one that says 200 is."""
    port = free_port(0)
    with Servers(tmp_path) as servers:
        servers.start(server(PAGE, port=port, url=f"http://127.0.0.1:{port}/ready"))
        assert servers.wait_ready("one") < 60
        waiting = server(PAGE, name="two", port=free_port(0), url=f"http://127.0.0.1:{port}/other", ready_seconds=0.5)
        servers.start(waiting)
        with pytest.raises(ForecastleError, match="two did not answer in"):
            servers.wait_ready("two")


def test_a_server_that_ends_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    """The status and the last lines, not the first: the reason stands at the end."""
    program = "import sys\nfor n in range(40): print('line', n)\nprint('the port is taken'); sys.exit(7)"
    with Servers(tmp_path) as servers:
        servers.start(server(program, port=free_port(0)))
        with pytest.raises(ForecastleError) as told:
            servers.wait_ready("one")
    text = str(told.value)
    assert text.startswith("one ended with status 7:\n")
    assert text.endswith("the port is taken")
    assert "line 39" in text
    assert "line 10\n" not in text


def test_wait_names_the_child_that_ended_by_itself(tmp_path: Path) -> None:
    """Of two, the one that is gone."""
    with Servers(tmp_path) as servers:
        servers.start(server(LISTEN, name="stays", port=free_port(0)))
        servers.start(server("pass", name="goes"))
        assert servers.wait() == "goes"


def test_a_child_that_ignores_the_request_to_end_is_made_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM first, SIGKILL when its time is over."""
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.3)
    port = free_port(0)
    with Servers(tmp_path) as servers:
        servers.start(server(STUBBORN, port=port))
        servers.wait_ready("one")
    assert not listens(port)


def test_the_whole_group_of_a_child_is_gone(tmp_path: Path) -> None:
    """A child's own children do not outlive the block."""
    port = free_port(0)
    with Servers(tmp_path) as servers:
        servers.start(server(FAMILY, port=port))
        servers.wait_ready("one")
        pids = [int(pid) for pid in (tmp_path / "one.log").read_text().split()[:2]]
        descriptors = [os.pidfd_open(pid) for pid in pids]
        assert not select.select(descriptors, [], [], 0)[0]
    assert ended(descriptors)


def fail_with(servers: Servers, port: int) -> None:
    """A block that starts a server and then fails."""
    with servers:
        servers.start(server(LISTEN, port=port))
        servers.wait_ready("one")
        raise RuntimeError("the block failed")


def test_a_block_that_fails_stops_its_servers_too(tmp_path: Path) -> None:
    """The exception is passed on, and nobody listens any more."""
    port = free_port(0)
    with pytest.raises(RuntimeError, match="the block failed"):
        fail_with(Servers(tmp_path), port)
    assert not listens(port)


def test_a_child_listens_to_signals_though_we_ignore_them(tmp_path: Path) -> None:
    """A shell's background job ignores SIGINT, and Dagster would then ignore SIGTERM as well."""
    program = (
        "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler,"
        " signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, flush=True)"
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Servers(tmp_path) as servers:
            servers.start(server(program))
            servers.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "one.log").read_text() == "True True\n"


def test_a_taken_port_gives_another_one() -> None:
    """The wanted port when nobody has it, else one that is free now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = taken.getsockname()[1]
        found = free_port(wanted)
        assert found != wanted
        assert found > 0
    assert free_port(found) == found
