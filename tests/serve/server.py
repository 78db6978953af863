"""Real servers on loopback: started as processes, asked over sockets, stopped by their own process id."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLATFORM = Path(__file__).parents[2] / "platform"
START_SECONDS = 60.0
WAIT_SECONDS = 60.0
RUN = """
import sys
from pathlib import Path
from forecastle.serve.runner import serve
if __name__ == "__main__":
    serve("toy", home=Path(sys.argv[1]), port=int(sys.argv[2]), workers=int(sys.argv[3]))
"""


@dataclass
class Server:
    """A process that serves on a loopback port."""

    process: subprocess.Popen[bytes]
    port: int

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """Status and body (JSON read, other text as it is) of one request on a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, body, {"content-type": "application/json", **headers})
            response = connection.getresponse()
            content = response.read()
            is_json = response.headers["content-type"] == "application/json"
            return response.status, json.loads(content) if is_json else content.decode()

    def predict(self, request: Mapping[str, Any], **headers: str) -> tuple[int, Any]:
        return self.ask("POST", "/predict", json.dumps(request).encode(), **headers)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def started(
    command: Sequence[str], *, port: int, environment: Mapping[str, str], log: Path, cwd: Path
) -> Iterator[Server]:
    """A server process from ready to stopped; its output is in `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command], env=dict(environment), stdout=output, stderr=output, cwd=cwd, start_new_session=True
        )
    server = Server(process, port)
    try:
        _until_ready(server, log)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def served(home: Path, *, workers: int = 1, log: Path | None = None, **environment: str) -> Iterator[Server]:
    """The toy system under `forecastle serve`'s runner."""
    port = free_port()
    command = [sys.executable, "-c", RUN, str(home), str(port), str(workers)]
    if workers > 1:  # workers are spawned and need the main module as a file
        main = home / "run_server.py"
        main.write_text(RUN)
        command = [sys.executable, str(main), str(home), str(port), str(workers)]
    names = os.environ | {"PYTHONPATH": str(PLATFORM), "FORECASTLE_NOW": "2026-06-01T12:00:00+00:00"} | environment
    with started(command, port=port, environment=names, log=log or home / "server.log", cwd=home) as server:
        yield server


def _until_ready(server: Server, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise AssertionError(f"the server ended with {server.process.returncode}: {log.read_text()[-4000:]}")
        try:
            if server.ask("GET", "/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"the server was not ready in {START_SECONDS} s: {log.read_text()[-4000:]}")


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for what other processes do; fails with `what` after a minute."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
