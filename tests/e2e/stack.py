"""One whole stack on loopback, started by the command a user types, and what it said.

Belongs here: starting `forecastle`, reading what it prints, its processes.
Does not belong here: tests.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
STARTED = "Ctrl-C stops everything."
START_SECONDS = 400.0


def environment(home: Path, **more: str) -> dict[str, str]:
    """What the command is told: a home, and nothing of ours that is not said here."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("FORECASTLE_", "DAGSTER_"))}
    return ours | {"FORECASTLE_HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1", **more}


def command(*arguments: str) -> list[str]:
    """The command in this interpreter."""
    return [sys.executable, "-m", "forecastle.cli.main", *arguments]


def forecastle(home: Path, *arguments: str, timeout_seconds: float = 400, **more: str):
    """One command that ends by itself."""
    return subprocess.run(
        command(*arguments), check=False, cwd=ROOT, env=environment(home, **more), capture_output=True, text=True,
        timeout=timeout_seconds,
    )  # fmt: skip


@dataclass
class Stack:
    """A command that started servers and stays up."""

    process: subprocess.Popen[str]
    home: Path
    printed: list[str]

    @property
    def text(self) -> str:
        return "".join(self.printed)

    def port(self, name: str) -> int:
        """The port of the named server, as the command printed it."""
        found = re.search(rf"^{name} +http://127\.0\.0\.1:(\d+)", self.text, re.MULTILINE)
        assert found, self.text
        return int(found[1])

    def ask(self, name: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        """Status and bytes of one request; header names are written with `_`."""
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if not isinstance(body, bytes | None):
            sent = {"content-type": "application/json", **sent}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port(name), timeout=30)) as connection:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def descendants(self) -> list[int]:
        """Ids of every process below the command."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, _, rest = stat.read_text().partition(" (")
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(pid)] = int(rest.rpartition(") ")[2].split()[1])
        below, found = {self.process.pid}, set()
        while below:
            below = {pid for pid, parent in parents.items() if parent in below} - found
            found |= below
        return sorted(found)


@contextmanager
def started(home: Path, *arguments: str, **more: str) -> Iterator[Stack]:
    """A command from its start until it says that it stays up; stopped by SIGTERM if it was not before."""
    process = subprocess.Popen(
        command(*arguments), cwd=ROOT, env=environment(home, PYTHONUNBUFFERED="1", **more), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    stack = Stack(process, home, [])
    up = threading.Event()
    reader = threading.Thread(target=_read, args=(stack, up), daemon=True)
    reader.start()
    try:
        assert up.wait(START_SECONDS), f"not up in {START_SECONDS:.0f} s:\n{stack.text}"
        assert STARTED in stack.text, stack.text
        assert process.poll() is None, stack.text
        yield stack
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(10)
        if process.stdout is not None:
            process.stdout.close()


def all_ended(descriptors: list[int], *, within_seconds: float) -> bool:
    """Whether every process behind these descriptors (pidfd) has ended; closes them."""
    try:
        return all(select.select([d], [], [], within_seconds)[0] for d in descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def question(text: str) -> Mapping[str, Any]:
    """The body that a demonstration sent, from the curl line that it printed."""
    return json.loads(re.search(r"-d '(\{.*\})'", text)[1])


def _read(stack: Stack, up: threading.Event) -> None:
    assert stack.process.stdout is not None
    for line in stack.process.stdout:
        stack.printed.append(line)
        if STARTED in line:
            up.set()
    up.set()
