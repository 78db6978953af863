"""Servers that one command starts together and stops together.

Belongs here: starting children, waiting until each answers, stopping all of them by process id.
Does not belong here: which servers there are (`up.py`), what they serve.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from forecastle.contract.errors import ForecastleError

STOP_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Server:
    """One child: its name, its command, and how to tell that it answers (`url`, else `port`)."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    url: str | None = None
    port: int | None = None
    ready_seconds: float = 180.0


class Servers:
    """A set of children that live no longer than their `with` block."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[tuple[Server, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every child, newest first."""
        self.stop()

    def start(self, server: Server) -> None:
        """Start one child; its output goes to `<logs>/<name>.log`."""
        with (self._logs / f"{server.name}.log").open("wb") as log:
            child = subprocess.Popen(  # noqa: S603  our own commands, no shell
                server.command,
                env=dict(server.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own session: Ctrl-C reaches us alone, and we stop whatever the child has started as well.
                start_new_session=True,
                preexec_fn=_listen_to_signals,  # noqa: PLW1509  no threads here yet
            )
        self._children.append((server, child))

    def wait_ready(self, name: str) -> float:
        """Wait until a started child answers; returns the seconds it took from now.

        Raises:
            ForecastleError: it ended or did not answer in time; the text shows the end of its log.
        """
        server, child = next(pair for pair in self._children if pair[0].name == name)
        began = time.monotonic()
        while time.monotonic() - began < server.ready_seconds:
            if child.poll() is not None:
                raise ForecastleError(f"{name} ended with status {child.returncode}:\n{self._tail(name)}")
            if _answers(server):
                return time.monotonic() - began
            time.sleep(LOOK_SECONDS)
        raise ForecastleError(f"{name} did not answer in {server.ready_seconds:.0f} s:\n{self._tail(name)}")

    def wait(self) -> str:
        """Wait until any child ends by itself; returns its name."""
        while True:
            for server, child in self._children:
                if child.poll() is not None:
                    return server.name
            time.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """Ask every child's whole group to end, then make those end that did not."""
        for _, child in reversed(self._children):
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for _, child in self._children:
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(0.1, deadline - time.monotonic()))
            _signal(child, signal.SIGKILL)
            child.wait()
        self._children.clear()

    def _tail(self, name: str, lines: int = 15) -> str:
        text = (self._logs / f"{name}.log").read_text(errors="replace")
        # A native library counts its leftovers when a process ends early; that is not why it ended.
        told = [
            line
            for line in text.splitlines()
            if line and not line.startswith(("nanobind: ", " - ", "See https://nanobind"))
        ]
        return "\n".join(told[-lines:])


def free_port(wanted: int) -> int:
    """The wanted port of loopback if nobody listens there, else one that is free now."""
    for candidate in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ForecastleError("no port of 127.0.0.1 is free; stop a server and try again")


def _listen_to_signals() -> None:
    # A shell's background job ignores SIGINT, and Dagster would then ignore SIGTERM as well.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return


def _answers(server: Server) -> bool:
    if server.url is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            return server.port is None or probe.connect_ex(("127.0.0.1", server.port)) == 0
    try:
        with urllib.request.urlopen(server.url, timeout=5) as answer:  # noqa: S310  loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
