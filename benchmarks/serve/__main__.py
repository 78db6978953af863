"""Requests a second and latency of our service beside its peers (PERFORMANCE rows V1, V3, V5, V7).

    python -m benchmarks.serve [--seconds 5] [--concurrency 1 16 64]

Needs wrk and FastAPI. One worker each, on loopback. Ours checks the contract, reads the online store, logs
durably and counts. Ratios are against the usual FastAPI design at the same concurrency.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.serve.world import ENTITIES, NOW, STORED, World, explicit_body, make_home, make_world
from benchmarks.table import measure_seconds, print_table
from forecastle.learn.native_booster import NativeBooster

ROOT = Path(__file__).parents[2]
SERVERS = (
    ("ours, entity from the online store", "ours", "entity"),
    ("ours, 24 features given", "ours", "given"),
    ("ours, 24 features given, log off", "unlogged", "given"),
    ("bare uvicorn, same model, no checks", "bare", "given"),
    ("FastAPI + pandas + Pipeline", "usual", "given"),
)
ENTITY_LUA = """
local n = 0
request = function()
  n = (n + 1) % {entities}
  local body = '{{"entity":{{"entity_id":'..n..'}}}}'
  return wrk.format("POST", "/predict", {{["Content-Type"]="application/json"}}, body)
end
"""
GIVEN_LUA = """
wrk.method = "POST"; wrk.body = '{body}'; wrk.headers["Content-Type"] = "application/json"
"""


def main() -> None:
    """Prepare the world, load every server in turn, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64])
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    world = make_world()
    _model_call(world)
    with tempfile.TemporaryDirectory() as folder:
        home = make_home(Path(folder) / "home", world).root
        joblib.dump(_usual_pipeline(world), home / "usual.joblib")
        scripts = _scripts(Path(folder), world)
        measured = [
            (name, concurrency, start, *_load(port, scripts[ask], concurrency, options.seconds))
            for name, factory, ask in SERVERS
            for port, start in [_free_port_and_clock()]
            for concurrency in _while_served(factory, home, port, start, options.concurrency)
        ]
    usual = {concurrency: rate for name, concurrency, _, rate, _, _ in measured if name == SERVERS[-1][0]}
    rows = [
        {
            "server": name, "concurrency": concurrency, "requests/s": rate, "p50 ms": p50, "p99 ms": p99,
            "× usual design": rate / usual[concurrency], "start s": start[0],
        }
        for name, concurrency, start, rate, p50, p99 in measured
    ]  # fmt: skip
    print_table("V1, V5, V7: one worker under wrk", rows, packages=("bentoml", "uvicorn", "lightgbm", "fastapi"))


def _model_call(world: World) -> None:
    """V3: one row through the package, through ours, and through the calibrators."""
    model = world.booster.model_to_string().encode()
    import hashlib

    native = NativeBooster(model, expected_sha256=hashlib.sha256(model).hexdigest())
    row, matrix = world.rows[0].tolist(), world.rows[:1]
    calls = 2_000
    timed = {
        "lightgbm.Booster.predict": lambda: world.booster.predict(matrix, num_threads=1),
        "NativeBooster.predict_one": lambda: native.predict_one(row),
        "Isotonic.apply_scalar": lambda: world.calibrator.apply_scalar(0.5),
    }
    rows = []
    for name, call in timed.items():
        seconds = min(measure_seconds(lambda call=call: [call() for _ in range(calls)], repeats=5)) / calls
        rows.append({"call": name, "µs a row": seconds * 1e6})
    print_table("V3: the model call, 25 features, 300 trees", rows, packages=("lightgbm", "numpy"))


def _usual_pipeline(world: World) -> object:
    boosting = GradientBoostingClassifier(random_state=0)
    pipeline = make_pipeline(SimpleImputer(), StandardScaler(), CalibratedClassifierCV(boosting, cv=5))
    frame = pd.DataFrame(world.rows[:4_000, : len(STORED)], columns=list(STORED))
    return pipeline.fit(frame, np.asarray(world.outcome[:4_000]))


def _scripts(folder: Path, world: World) -> dict[str, Path]:
    texts = {
        "entity": ENTITY_LUA.format(entities=ENTITIES),
        "given": GIVEN_LUA.format(body=explicit_body(world).decode()),
    }
    for name, text in texts.items():
        (folder / f"{name}.lua").write_text(text)
    return {name: folder / f"{name}.lua" for name in texts}


def _free_port_and_clock() -> tuple[int, list[float]]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1]), []


def _while_served(factory: str, home: Path, port: int, start: list[float], levels: list[int]) -> Iterator[int]:
    """Each concurrency while one server runs; its seconds to the first answer go to `start`."""
    with _served(factory, home, port) as seconds:
        start.append(seconds)
        yield from levels


@contextmanager
def _served(factory: str, home: Path, port: int) -> Iterator[float]:
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


def _until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    sys.exit(f"the server ended with status {process.returncode} before it was ready")


def _load(port: int, script: Path, concurrency: int, seconds: int) -> tuple[float, float, float]:
    """Requests a second, median and 99th percentile latency in milliseconds; any error ends the benchmark."""
    command = ["wrk", "-t1", f"-c{concurrency}", f"-d{seconds}s", "--latency", "-s", str(script)]
    text = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/predict"], check=True, capture_output=True, text=True
    ).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"not every request was answered:\n{text}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    return rate, _milliseconds(text, "50%"), _milliseconds(text, "99%")


def _milliseconds(text: str, quantile: str) -> float:
    number, unit = re.search(rf"{quantile}\s+([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


if __name__ == "__main__":
    main()
