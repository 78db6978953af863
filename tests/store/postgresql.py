"""A PostgreSQL server of the tests' own: initialised in a temporary folder, on a free loopback port, ended by its pid.

Belongs here: starting and stopping the server. Does not belong here: tests.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "kept-out-of-messages"


def binaries() -> Path:
    """Folder of `initdb` and `postgres`; required in CI, a printed skip elsewhere."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if folders:
        return folders[-1]
    if os.environ.get("CI"):
        pytest.fail("CI must run on a real PostgreSQL: install the server's binaries")
    pytest.skip("PostgreSQL's server binaries are not on this machine")


@contextmanager
def server() -> Iterator[str]:
    """A running server; gives the SQLAlchemy URL of its database."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    owner = _owner()
    if owner is not None:
        os.chown(folder, owner, -1)
    tools, data, port = binaries(), folder / "data", _free_port()
    secret = folder / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    command = [tools / "initdb", "-D", data, "-U", "tester", "-A", "scram-sha-256", "--pwfile", secret, "--no-sync"]
    subprocess.run(command, user=owner, cwd=folder, check=True, capture_output=True, timeout=120)
    options = ["-c", f"port={port}", "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [tools / "postgres", "-D", data, "-c", "fsync=off", *options],
            user=owner,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        ready = [tools / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-t", "1"]
        if not any(subprocess.run(ready, check=False, capture_output=True).returncode == 0 for _ in _tries(running)):
            pytest.fail((folder / "log").read_text())
        yield f"postgresql+psycopg://tester:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(timeout=30)
        shutil.rmtree(folder)


def _tries(running: subprocess.Popen[bytes]) -> Iterator[int]:
    """Goes on while the server lives, at most a minute: each try waits for it a while by itself."""
    for number in range(600):
        try:
            running.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            yield number
        else:
            return


def _owner() -> int | None:
    """PostgreSQL refuses to run as root: then somebody without rights runs it."""
    if os.geteuid() != 0:
        return None
    return pwd.getpwnam("nobody").pw_uid


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
