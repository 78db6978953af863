"""A server of the benchmark from start to stop, and what wrk measures of it.

Belongs here: processes, ports, wrk's command line and its text.
Does not belong here: which servers there are (`servers.py`), which tables are made (`__main__.py`).
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serve.world import NOW

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Measured:
    """What wrk says of one load: requests a second, latencies in milliseconds, requests answered."""

    rate: float
    p50_ms: float
    p99_ms: float
    answered: int


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def served(factory: str, home: Path, port: int) -> Iterator[float]:
    """One worker under uvicorn; gives the seconds from its start to its first answer."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "platform"), str(ROOT)]), "BENCH_HOME": str(home),
        "FORECASTLE_SYSTEM": "bench", "FORECASTLE_HOME": str(home), "FORECASTLE_NOW": NOW.isoformat(),
        "BENTOML_DO_NOT_TRACK": "1", "BENTOML_HOME": str(home / "bentoml"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [
        sys.executable, "-m", "uvicorn", "--factory", f"benchmarks.serve.servers:{factory}",
        "--port", str(port), "--no-access-log", "--log-level", "error",
    ]  # fmt: skip
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        _until_ready(port, process)
        yield time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(timeout=30)


def load(port: int, script: Path, *, concurrency: int, seconds: int, path: str = "/predict") -> Measured:
    """Load one server with wrk; any error ends the benchmark."""
    command = ["wrk", "-t1", f"-c{concurrency}", f"-d{seconds}s", "--latency", "-s", str(script)]
    text = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True
    ).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"not every request was answered:\n{text}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    answered = int(re.search(r"(\d+) requests in", text)[1])
    return Measured(rate, _milliseconds(text, "50%"), _milliseconds(text, "99%"), answered)


def _until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    sys.exit(f"the server ended with status {process.returncode} before it was ready")


def _milliseconds(text: str, quantile: str) -> float:
    number, unit = re.search(rf"{quantile}\s+([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]
