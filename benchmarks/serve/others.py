"""Servers of the benchmark that start by a command of their own: MLServer, and a built Bento.

Belongs here: their folders, commands, request bodies and when they are ready.
Does not belong here: servers of this repository's environment (`servers.py`), load, tables.
MLServer: https://mlserver.readthedocs.io (V2 inference protocol), from an environment of its own, if one is named; the
worker of MLServer 1.7 does not start beside uvloop 0.22 or later.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serve.load import ROOT, Started, free_port, launched
from benchmarks.serve.world import NAMES, World
from forecastle.serve.packaging import build_bento
from forecastle.store.home import Home

MLSERVER_PATH = "/v2/models/bench/infer"


@dataclass(frozen=True)
class MLServer:
    """A form of MLServer: settings that are not its own defaults, and whether LightGBM is held to one thread.

    As it comes it logs for debugging and hands each request to one worker process by a queue; with no
    `parallel_workers` the model answers in the server's own process.
    """

    name: str
    settings: Mapping[str, object]
    is_one_thread: bool


MLSERVERS = (
    MLServer("MLServer as it comes", {}, is_one_thread=False),
    MLServer("MLServer, no debugging, one thread", {"debug": False}, is_one_thread=True),
    MLServer("MLServer, the same in one process", {"debug": False, "parallel_workers": 0}, is_one_thread=True),
)


@contextmanager
def mlserver(form: MLServer, python: str, folder: Path, world: World, port: int) -> Iterator[Started]:
    """The same booster behind MLServer's LightGBM runtime, from ready to stopped."""
    folder.mkdir()
    world.booster.save_model(folder / "model.bst")
    settings = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), **form.settings}
    model = {"name": "bench", "implementation": "mlserver_lightgbm.LightGBMModel",
             "parameters": {"uri": str(folder / "model.bst")}}  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    command = [str(Path(python).with_name("mlserver")), "start", str(folder)]
    environment = {"OMP_NUM_THREADS": "1"} if form.is_one_thread else {}
    with launched(command, environment, port, ready="/v2/models/bench/ready", quiet=True) as started:
        yield started


def mlserver_body(world: World) -> bytes:
    """One row in the V2 inference protocol."""
    row = {"name": "row", "shape": [1, len(NAMES)], "datatype": "FP64", "data": list(map(float, world.rows[0]))}
    return json.dumps({"inputs": [row]}).encode()


@contextmanager
def bento(home: Home, port: int) -> Iterator[Started]:
    """The champion's Bento, built and then served by `bentoml serve`, from ready to stopped."""
    bundle = next(home.bundles("bench").iterdir())
    built = build_bento(
        bundle_folder=bundle, bentofile=ROOT / "bentofile.yaml", version=str(port), labels={},
        source_root=ROOT / "platform", bento_home=home.root / "bentoml-built",
    )  # fmt: skip
    command = [sys.executable, "-m", "bentoml", "serve", str(built.path), "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        "BENTOML_HOME": str(home.root / "bentoml-built"), "FORECASTLE_HOME": str(home.root), "OMP_NUM_THREADS": "1",
        "BENTOML_DO_NOT_TRACK": "1", "FORECASTLE_SYSTEM": "bench",
    }  # fmt: skip
    with launched(command, environment, port, ready="/readyz", quiet=True) as started:
        yield started
