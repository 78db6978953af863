"""A server of the benchmark from start to stop, and what wrk measures of it.

Belongs here: processes, ports, wrk's command line and its text.
Does not belong here: which servers there are (`servers.py`), which tables are made (`__main__.py`).
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serve.world import NOW

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Measured:
    """What wrk says of one load: requests a second, latencies in milliseconds, requests answered.

    `cpu_us` is the server's processor time a request, in microseconds: neighbours on the machine hardly change it.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    answered: int
    cpu_us: float = math.nan


@dataclass(frozen=True)
class Started:
    """A server that answers: seconds from its start to its first answer, and its process."""

    seconds: float
    pid: int


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def served(factory: str, home: Path, port: int) -> Iterator[Started]:
    """One worker under uvicorn, from ready to stopped; `factory` is module:function of this package.

    Peers that are run as they come are told nothing about threads.
    """
    environment = {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "platform"), str(ROOT)]), "BENCH_HOME": str(home),
        "FORECASTLE_SYSTEM": "bench", "FORECASTLE_HOME": str(home), "FORECASTLE_NOW": NOW.isoformat(),
        "BENTOML_DO_NOT_TRACK": "1", "BENTOML_HOME": str(home / "bentoml"),
    }  # fmt: skip
    if not factory.endswith(":usual"):
        environment["OMP_NUM_THREADS"] = "1"
    command = [
        sys.executable, "-m", "uvicorn", "--factory", f"benchmarks.serve.{factory}",
        "--port", str(port), "--no-access-log", "--no-proxy-headers", "--log-level", "error",
    ]  # fmt: skip
    # The usual design writes a line a prediction: to a file nobody watches, as in production.
    with launched(command, environment, port, ready="/readyz", quiet=":usual" in factory) as started:
        yield started


@contextmanager
def launched(
    command: Sequence[str], environment: Mapping[str, str], port: int, *, ready: str, quiet: bool
) -> Iterator[Started]:
    """A process, from when `ready` answers 200 to its stop. `quiet` puts its output in a file."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        told = output if quiet else None
        process = subprocess.Popen(
            [*command], env=os.environ | dict(environment), cwd=ROOT, stdout=told, stderr=told, start_new_session=True
        )
        try:
            _until_ready(port, process, ready)
            yield Started(time.perf_counter() - started, process.pid)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a server, and whatever it started if it does not stop by itself: MLServer waits for its worker for ever."""
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def steady(port: int, body: Path, *, rate: float, connections: int, seconds: int) -> Measured:
    """Load one server at a steady rate from a process of its own; any failure ends the benchmark."""
    command = [sys.executable, "-m", "benchmarks.serve.steady", str(port), str(rate), str(seconds), str(connections)]
    text = subprocess.run([*command, str(body)], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    told = json.loads(text)
    if told["failed"]:
        sys.exit(f"not every request was answered 200: {text}")
    return Measured(told["answered"] / seconds, told["p50_ms"], told["p99_ms"], told["answered"])


def load(
    port: int, script: Path, *, concurrency: int, seconds: int, path: str = "/predict", pid: int | None = None
) -> Measured:
    """Load one server with wrk; any error ends the benchmark."""
    command = ["wrk", "-t1", f"-c{concurrency}", f"-d{seconds}s", "--timeout", "20s", "--latency", "-s", str(script)]
    before = _cpu_seconds(pid)
    text = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True
    ).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"not every request was answered:\n{text}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    answered = int(re.search(r"(\d+) requests in", text)[1])
    cpu_us = (_cpu_seconds(pid) - before) / answered * 1e6
    return Measured(rate, _milliseconds(text, "50%"), _milliseconds(text, "99%"), answered, cpu_us)


def _cpu_seconds(pid: int | None) -> float:
    """Processor time of a process and its threads so far, in it and in the kernel; NaN of none."""
    if pid is None:
        return math.nan
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _until_ready(port: int, process: subprocess.Popen[bytes], path: str) -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    sys.exit(f"the server ended with status {process.returncode} before it was ready")


def _milliseconds(text: str, quantile: str) -> float:
    number, unit = re.search(rf"{quantile}\s+([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]
