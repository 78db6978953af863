"""A redis-server without persistence for the benchmarks, on a free loopback port.

Belongs here: starting and stopping it.
Does not belong here: what is measured.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def redis_url() -> Iterator[str]:
    """The URL of a fresh server, or "" where redis-server is not installed."""
    if not shutil.which("redis-server"):
        yield ""
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        next(line for line in server.stdout if "Ready to accept connections" in line)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
