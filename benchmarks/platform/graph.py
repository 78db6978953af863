"""The whole graph of prediction markets in a fresh home: seconds and peak memory of the process tree.

    python -m benchmarks.platform.graph
    FORECASTLE_DATA=… python -m benchmarks.platform.graph --now 2026-08-21T03:00:35+00:00

Targets on two cores: simulated data below 60 s; the real quotes (with FORECASTLE_DATA) below 120 s and 2 GB. `--now` is
the instant at which real data are looked at; it is the newest one that they know.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.table import print_table

ROOT = Path(__file__).parents[2]
SYSTEM = "prediction_markets"
REAL_NOW = "2026-08-21T03:00:35+00:00"
LOOK_SECONDS = 0.05
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Run the graph on simulated data and, where there are any, on real data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--now", default=REAL_NOW)
    now = parser.parse_args().now
    rows = [measure("simulated", {}, target_seconds=60)]
    data = os.environ.get("FORECASTLE_DATA")
    if data:
        given = {"FORECASTLE_DATA": str(Path(data).resolve()), "FORECASTLE_NOW": now}
        rows.append(measure("real quotes", given, target_seconds=120))
    print_table("The whole graph", rows, packages=("dagster", "duckdb", "lightgbm", "mlflow", "bentoml"))


def measure(name: str, given: Mapping[str, str], *, target_seconds: float) -> dict[str, object]:
    """One run from nothing to a packed champion, in a process as `forecastle run` starts it."""
    with tempfile.TemporaryDirectory() as folder:
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("FORECASTLE_", "DAGSTER_"))}
        environment = ours | {
            "FORECASTLE_HOME": folder,
            "DAGSTER_HOME": f"{folder}/dagster",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
            **given,
        }
        began = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "assets.run", SYSTEM],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        peak = Peak(child.pid)
        lines, _ = child.communicate()
        seconds = time.perf_counter() - began
    events = [json.loads(line) for line in lines.splitlines()]
    made = [event for event in events if event["event"] == "made"]
    slowest = max(made, key=lambda event: event["seconds"])
    return {
        "data": name,
        "status": child.returncode,
        "seconds": seconds,
        "target": target_seconds,
        "ratio": seconds / target_seconds,
        "peak GB": peak.stop() / 1e9,
        "assets made": len(made),
        "slowest asset": f"{slowest['asset'].removeprefix(SYSTEM + '__')} {slowest['seconds']:.1f} s",
    }


class Peak:
    """The largest sum of resident memory of a process and everything below it, looked at twenty times a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Bytes at the peak."""
        self._ended.set()
        self._thread.join()
        return self._bytes

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._bytes = max(self._bytes, _resident_bytes(self._pid))


def _resident_bytes(pid: int) -> int:
    """Resident memory of a process and its children, shared pages counted in each."""
    try:
        own = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return own + sum(_resident_bytes(int(child)) for child in children)


if __name__ == "__main__":
    main()
