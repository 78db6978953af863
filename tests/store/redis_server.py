"""A real redis-server on a free loopback port, started and stopped by its process id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RedisServer:
    """One server without persistence: what it held is gone when it starts again."""

    folder: Path
    port: int = field(default_factory=free_port)
    child: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.child = subprocess.Popen(
            [*command, "--dir", str(self.folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.child.stdout is not None
        for line in self.child.stdout:
            if "Ready to accept connections" in line:
                return
        pytest.fail(f"redis-server did not start on port {self.port}")

    def signal(self, number: signal.Signals) -> None:
        assert self.child is not None
        self.child.send_signal(number)

    def stop(self) -> None:
        if self.child is not None:
            self.signal(signal.SIGKILL)
            self.child.wait()
            assert self.child.stdout is not None
            self.child.stdout.close()
            self.child = None


def require_redis() -> None:
    """Skip with the reason where redis-server is absent; fail in CI."""
    if shutil.which("redis-server"):
        return
    if os.environ.get("CI"):
        pytest.fail("CI must test the Redis store: install redis-server")
    pytest.skip("redis-server is not installed: the Redis store is not tested on this machine")
