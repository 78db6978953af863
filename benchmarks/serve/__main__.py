"""Requests a second and latency of our service beside its peers (PERFORMANCE rows V1 to V7).

    python -m benchmarks.serve [--seconds 5] [--concurrency 1 16 64]

Needs wrk and FastAPI. One worker each, on loopback. Ours checks the contract, reads the online store, logs
durably and counts. Ratios are against the usual FastAPI design at the same concurrency, in the same run.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import shutil
import sys
import tempfile
import threading
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.serve.load import Measured, free_port, load, served
from benchmarks.serve.world import ENTITIES, STORED, World, add_bundle, explicit_body, make_home, make_world, promote
from benchmarks.table import measure_seconds, print_table
from forecastle.learn.native_booster import NativeBooster
from forecastle.store.home import Home

SERVERS = (
    ("ours, entity from the online store", "ours", "entity"),
    ("ours, 24 features given", "ours", "given"),
    ("ours, 24 features given, log off", "unlogged", "given"),
    ("bare uvicorn, same model, no checks", "bare", "given"),
    ("FastAPI + pandas + Pipeline", "usual", "given"),
)
USUAL = SERVERS[-1][0]
BATCH_ROWS = 256
RATE = 1_000
PACED_CONNECTIONS = 16
PACKAGES = ("bentoml", "uvicorn", "lightgbm", "fastapi")
ENTITY_LUA = """
local n = 0
request = function()
  n = (n + 1) % {entities}
  local body = '{{"entity":{{"entity_id":'..n..'}}}}'
  return wrk.format("POST", nil, {{["Content-Type"]="application/json"}}, body)
end
"""
GIVEN_LUA = """
wrk.method = "POST"; wrk.body = '{body}'; wrk.headers["Content-Type"] = "application/json"
"""
# Each connection waits before it asks again, so that all together ask RATE times a second while answers are quick.
PACED_LUA = GIVEN_LUA + "delay = function() return {delay_ms} end\n"


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
        home = make_home(Path(folder) / "home", world)
        joblib.dump(_usual_pipeline(world), home.root / "usual.joblib")
        scripts = _scripts(Path(folder), world)
        _rates(home, scripts, options.concurrency, options.seconds)
        _paced(home, scripts, options.seconds)
        _batches(home, scripts, options.seconds)
        _swaps(home, world, scripts, options.seconds)


def _rates(home: Home, scripts: dict[str, Path], levels: list[int], seconds: int) -> None:
    """V1, V5, V7: how much each server answers, what the log costs, how soon the first answer comes."""
    measured: list[tuple[str, int, float, Measured]] = []
    for name, factory, ask in SERVERS:
        port = free_port()
        with served(factory, home.root, port) as start_seconds:
            for level in levels:
                found = load(port, scripts[ask], concurrency=level, seconds=seconds)
                measured.append((name, level, start_seconds, found))
    usual = {level: found.rate for name, level, _, found in measured if name == USUAL}
    rows = [
        {
            "server": name, "concurrency": level, "requests/s": found.rate, "p50 ms": found.p50_ms,
            "p99 ms": found.p99_ms, "× usual design": found.rate / usual[level], "start s": start,
        }
        for name, level, start, found in measured
    ]  # fmt: skip
    print_table("V1, V5, V7: one worker under wrk", rows, packages=PACKAGES)


def _paced(home: Home, scripts: dict[str, Path], seconds: int) -> None:
    """V2: latency while about RATE requests a second are asked."""
    rows = []
    for name, factory, _ in (SERVERS[1], SERVERS[-1]):
        port = free_port()
        with served(factory, home.root, port):
            found = load(port, scripts["paced"], concurrency=PACED_CONNECTIONS, seconds=seconds)
        rows.append({"server": name, "requests/s": found.rate, "p50 ms": found.p50_ms, "p99 ms": found.p99_ms})
    print_table(f"V2: latency at {RATE:,} requests a second asked", rows, packages=PACKAGES)


def _batches(home: Home, scripts: dict[str, Path], seconds: int) -> None:
    """V4: batches of BATCH_ROWS rows."""
    rows = []
    for name, factory, ask in (("ours, predict_batch", "ours", "batch"), ("FastAPI, one frame", "usual", "frame")):
        port = free_port()
        with served(factory, home.root, port):
            found = load(port, scripts[ask], concurrency=4, seconds=seconds, path="/predict_batch")
        rows.append(
            {"server": name, "batches/s": found.rate, "rows/s": found.rate * BATCH_ROWS, "p99 ms": found.p99_ms}
        )
    print_table(f"V4: {BATCH_ROWS} rows a request, concurrency 4", rows, packages=PACKAGES)


def _swaps(home: Home, world: World, scripts: dict[str, Path], seconds: int) -> None:
    """V6: the champion changes every second under load; one failed request ends the benchmark."""
    bundles = [add_bundle(home, world, version=version) for version in ("1", "2")]
    port, over = free_port(), threading.Event()
    swaps = itertools.count()

    def swap() -> None:
        while not over.wait(1.0):
            number = next(swaps)
            promote(home, bundles[(number + 1) % 2], version=str((number + 1) % 2 + 1))

    with served("ours", home.root, port):
        quiet = load(port, scripts["given"], concurrency=PACED_CONNECTIONS, seconds=seconds)
        swapping = threading.Thread(target=swap)
        swapping.start()
        try:
            busy = load(port, scripts["given"], concurrency=PACED_CONNECTIONS, seconds=seconds)
        finally:
            over.set()
            swapping.join()
    rows = [
        {"champion": name, "answered": found.answered, "failed": 0, "p50 ms": found.p50_ms, "p99 ms": found.p99_ms}
        for name, found in (("stays", quiet), (f"pointed elsewhere {next(swaps)} times", busy))
    ]
    print_table("V6: hot swap under load", rows, packages=PACKAGES)


def _model_call(world: World) -> None:
    """V3: one row through the package, through ours, and through the calibrators."""
    model = world.booster.model_to_string().encode()
    native = NativeBooster(model, expected_sha256=hashlib.sha256(model).hexdigest())
    row, matrix = world.rows[0].tolist(), world.rows[:1]
    calls = 2_000
    timed = {
        "lightgbm.Booster.predict": lambda: world.booster.predict(matrix, num_threads=1),
        "NativeBooster.score_row": lambda: native.score_row(row),
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
    given = explicit_body(world).decode()
    features = json.loads(given)["features"]
    texts = {
        "entity": ENTITY_LUA.format(entities=ENTITIES),
        "given": GIVEN_LUA.format(body=given),
        "paced": PACED_LUA.format(body=given, delay_ms=PACED_CONNECTIONS * 1_000 // RATE),
        "batch": GIVEN_LUA.format(body=json.dumps({"requests": [{"features": features}] * BATCH_ROWS})),
        "frame": GIVEN_LUA.format(body=json.dumps({"rows": [features] * BATCH_ROWS})),
    }
    for name, text in texts.items():
        (folder / f"{name}.lua").write_text(text)
    return {name: folder / f"{name}.lua" for name in texts}


if __name__ == "__main__":
    main()
