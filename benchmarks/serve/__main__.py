"""Requests a second and latency of our service beside its peers (PERFORMANCE rows V1 to V7).

    python -m benchmarks.serve [--seconds 5] [--concurrency 1 16 64] [--mlserver-python PATH]

Needs wrk and FastAPI; PATH is the Python of an environment with mlserver and mlserver-lightgbm. One worker each, on
loopback. Ours checks the contract, reads the online store, logs durably and counts. Ratios are within one run.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import shutil
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.serve.load import Measured, free_port, load, served, steady
from benchmarks.serve.others import MLSERVER_PATH, MLSERVERS, bento, mlserver, mlserver_body
from benchmarks.serve.world import (
    ENTITIES,
    NAMES,
    World,
    add_bundle,
    explicit_body,
    make_home,
    make_world,
    promote,
)
from benchmarks.table import measure_seconds, print_table
from forecastle.learn.native_booster import NativeBooster
from forecastle.store.home import Home

SERVERS = (
    ("ours, entity from the online store", "servers:ours", "entity"),
    ("ours, 24 features given", "servers:ours", "given"),
    ("ours, entity from the online store, log off", "servers:unlogged", "entity"),
    ("ours, 24 features given, log off", "servers:unlogged", "given"),
    ("bare uvicorn, same model, no checks", "servers:bare", "given"),
    ("FastAPI + pandas + Pipeline", "servers:usual", "row"),
    ("the same, one thread", "servers:usual_one_thread", "row"),
)
USUALS = tuple(name for name, factory, _ in SERVERS if ":usual" in factory)
LOG_OFF = ", log off"
MOUNT = "BentoML mount, whole hot path, log in the background"
BATCH_ROWS = 256
RATE = 1_000
PACED_CONNECTIONS = 16
STARTS = 3
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


@dataclass(frozen=True)
class _Rate:
    """What one server answered at one concurrency."""

    server: str
    concurrency: int
    found: Measured


def main() -> None:
    """Prepare the world, load every server in turn, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--mlserver-python")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    os.environ.pop("OMP_NUM_THREADS", None)  # each server is told its own, or none
    world = make_world()
    _model_call(world)
    with tempfile.TemporaryDirectory() as folder:
        home = make_home(Path(folder) / "home", world)
        joblib.dump(_usual_pipeline(world), home.root / "usual.joblib")
        scripts = _scripts(Path(folder), world)
        measured = _rates(home, scripts, options.concurrency, options.seconds)
        measured += _mlserver(world, Path(folder), scripts, options)
        _compared(measured)
        _paced(home, Path(folder), options.seconds)
        _batches(home, scripts, options.seconds)
        _swaps(home, world, scripts, options.seconds)
        _starts(home)


def _rates(home: Home, scripts: dict[str, Path], levels: list[int], seconds: int) -> list[_Rate]:
    """How much each server answers."""
    measured = []
    for name, factory, ask in SERVERS:
        port = free_port()
        with served(factory, home.root, port) as started:
            for level in levels:
                found = load(port, scripts[ask], concurrency=level, seconds=seconds, pid=started.pid)
                measured.append(_Rate(name, level, found))
    return measured


def _mlserver(world: World, folder: Path, scripts: dict[str, Path], options: argparse.Namespace) -> list[_Rate]:
    if not options.mlserver_python:
        print("\nMLServer: not measured; name a Python that has it with --mlserver-python")
        return []
    measured = []
    for number, form in enumerate(MLSERVERS):
        port = free_port()
        with mlserver(form, options.mlserver_python, folder / f"mlserver-{number}", world, port):
            # Its worker's processor time is not the server's, so none is told.
            ask = {"seconds": options.seconds, "path": MLSERVER_PATH}
            measured += [
                _Rate(form.name, level, load(port, scripts["v2"], concurrency=level, **ask))
                for level in options.concurrency
            ]
    return measured


def _compared(measured: list[_Rate]) -> None:
    """V1 and V5: ratios to the usual design and to MLServer, and what the log costs."""
    rate = {(one.server, one.concurrency): one.found.rate for one in measured}
    cpu_us = {(one.server, one.concurrency): one.found.cpu_us for one in measured}
    rows = [
        {
            "server": one.server, "concurrency": one.concurrency, "requests/s": one.found.rate,
            "p50 ms": one.found.p50_ms, "p99 ms": one.found.p99_ms, "CPU µs a request": one.found.cpu_us,
        }
        for one in measured
    ]  # fmt: skip
    print_table("V1: one worker under wrk", rows, packages=PACKAGES)
    peers = [peer for peer in (*USUALS, *(form.name for form in MLSERVERS)) if any(peer == name for name, _ in rate)]
    times = [
        {"server": one.server, "concurrency": one.concurrency}
        | {f"× {peer}": one.found.rate / rate[peer, one.concurrency] for peer in peers}
        for one in measured if one.server not in peers
    ]  # fmt: skip
    print_table("V1: how many times its peers' requests", times, packages=PACKAGES)
    costs = [
        {"ask": name, "concurrency": level, "log off /s": rate[name + LOG_OFF, level], "log on /s": on,
         "cost of the log %": 100.0 * (1.0 - on / rate[name + LOG_OFF, level]),
         "its CPU µs": cpu_us[name, level] - cpu_us[name + LOG_OFF, level],
         "its CPU %": 100.0 * (1.0 - cpu_us[name + LOG_OFF, level] / cpu_us[name, level])}
        for (name, level), on in rate.items() if (name + LOG_OFF, level) in rate
    ]  # fmt: skip
    print_table("V5: what the durable log costs", costs, packages=PACKAGES)


def _paced(home: Home, folder: Path, seconds: int) -> None:
    """V2: how late answers are while RATE requests a second are due, asked whatever the answers take."""
    rows = []
    body = folder / "entity.json"
    body.write_text('{"entity": {"entity_id": 7}}')
    port = free_port()
    with served("servers:ours", home.root, port):
        steady(port, body, rate=RATE, connections=PACED_CONNECTIONS, seconds=1)
        found = steady(port, body, rate=RATE, connections=PACED_CONNECTIONS, seconds=seconds)
    rows.append({"server": SERVERS[0][0], "requests/s": found.rate, "p50 ms": found.p50_ms, "p99 ms": found.p99_ms})
    print_table(f"V2: latency at {RATE:,} requests a second, open loop", rows, packages=PACKAGES)


def _batches(home: Home, scripts: dict[str, Path], seconds: int) -> None:
    """V4: batches of BATCH_ROWS rows."""
    rows: list[dict[str, object]] = []
    rates: dict[str, float] = {}
    for name, factory, ask in (
        ("ours, predict_batch: receipts, log", "servers:ours", "batch"),
        ("ours, predict_batch, log off", "servers:unlogged", "batch"),
        ("ours, predict_batch: brief receipts, log", "servers:ours", "brief"),
        (MOUNT, "mounted:hot_path", "frame"),
        ("BentoML mount: probabilities only", "mounted:alone", "frame"),
        ("FastAPI, one frame, log lines", "servers:usual", "frame"),
    ):
        port = free_port()
        with served(factory, home.root, port):
            found = load(port, scripts[ask], concurrency=4, seconds=seconds, path="/predict_batch")
        rates[name] = found.rate
        rows.append(
            {"server": name, "batches/s": found.rate, "rows/s": found.rate * BATCH_ROWS, "p99 ms": found.p99_ms}
        )
    for row in rows:
        row["× the mount's hot path"] = rates[row["server"]] / rates[MOUNT]
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

    with served("servers:ours", home.root, port):
        quiet = load(port, scripts["given"], concurrency=PACED_CONNECTIONS, seconds=seconds)
        swapping = threading.Thread(target=swap)
        swapping.start()
        try:
            busy = load(port, scripts["given"], concurrency=PACED_CONNECTIONS, seconds=seconds)
        finally:
            over.set()
            swapping.join()
    rows = [
        {"champion": name, "answered": found.answered, "failed": 0, "p50 ms": found.p50_ms, "p99 ms": found.p99_ms,
         "× p99 of stays": found.p99_ms / quiet.p99_ms}
        for name, found in (("stays", quiet), (f"pointed elsewhere {next(swaps)} times", busy))
    ]  # fmt: skip
    print_table("V6: hot swap under load", rows, packages=PACKAGES)


def _starts(home: Home) -> None:
    """V7: seconds from the command to the first answer, three times each."""
    rows = []
    for name, start in (("our uvicorn", lambda port: served("servers:ours", home.root, port)),
                        ("bentoml serve of the Bento", lambda port: bento(home, port))):  # fmt: skip
        seconds = []
        for _ in range(STARTS):
            with start(free_port()) as started:
                seconds.append(started.seconds)
        rows.append({"server": name, "median s": float(np.median(seconds)), "slowest s": max(seconds)})
    print_table("V7: start to first answer", rows, packages=PACKAGES)


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
    """Imputer, scaler and five folds of what ours serves: 300 trees and an isotonic calibrator each."""
    boosting = lightgbm.LGBMClassifier(n_estimators=300, random_state=0, verbose=-1)
    calibrated = CalibratedClassifierCV(boosting, cv=5, method="isotonic")
    frame = pd.DataFrame(world.rows, columns=list(NAMES))
    return make_pipeline(SimpleImputer(), StandardScaler(), calibrated).fit(frame, np.asarray(world.outcome))


def _scripts(folder: Path, world: World) -> dict[str, Path]:
    given = explicit_body(world).decode()
    features = json.loads(given)["features"]
    row = dict(zip(NAMES, map(float, world.rows[0]), strict=True))
    batch = {"requests": [{"features": features}] * BATCH_ROWS}
    texts = {
        "entity": ENTITY_LUA.format(entities=ENTITIES),
        "given": GIVEN_LUA.format(body=given),
        "row": GIVEN_LUA.format(body=json.dumps(row)),
        "v2": GIVEN_LUA.format(body=mlserver_body(world).decode()),
        "batch": GIVEN_LUA.format(body=json.dumps(batch)),
        "brief": GIVEN_LUA.format(body=json.dumps(batch | {"receipts": "brief"})),
        "frame": GIVEN_LUA.format(body=json.dumps({"rows": [row] * BATCH_ROWS})),
    }
    for name, text in texts.items():
        (folder / f"{name}.lua").write_text(text)
    return {name: folder / f"{name}.lua" for name in texts}


if __name__ == "__main__":
    main()
