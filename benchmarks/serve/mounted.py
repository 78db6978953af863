"""Handlers mounted in BentoML: the model alone, and the whole hot path of SERVING's recommended shape.

Belongs here: two ASGI application factories, started by `uvicorn --factory benchmarks.serve.mounted:NAME`.
Does not belong here: our own service, other frameworks (`servers.py`), load, tables.
https://docs.bentoml.com/en/latest/build-with-bentoml/asgi.html
"""

from __future__ import annotations

import hmac
import json
import os
import queue
import tempfile
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import bentoml
import msgspec
import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram

from benchmarks.serve.world import NAMES
from forecastle.learn.bundle import Bundle, load_bundle
from forecastle.learn.scorer import Scorer, load_scorer

IN_FLIGHT_LIMIT = 512
TOKEN = b"Bearer " + b"0" * 64


def alone() -> Any:
    """Typed rows in, one call of the model, probabilities out; nothing is checked beyond types, nothing is kept."""
    bundle, scorer = _loaded()
    decode = msgspec.json.Decoder(_batch(float)).decode

    async def answer(_headers: Any, body: bytes) -> bytes:
        return msgspec.json.encode({"probabilities": _probabilities(bundle, scorer, decode(body).rows)})

    return _mounted(answer)


def hot_path() -> Any:
    """The same with ranges checked in the decoder, a token, a limit in flight, metrics, ids, a log in the background.

    What ours has beyond it: rows that fail are told one by one, features are looked up, each answer says every
    feature it stands on, and the log is on disk before the answer leaves.
    """
    bundle, scorer = _loaded()
    decode = msgspec.json.Decoder(_batch(Annotated[float, msgspec.Meta(ge=0.0, le=1e9)])).decode
    registry = CollectorRegistry()
    answered = Counter("predictions_total", "Rows answered.", registry=registry)
    latency = Histogram("predict_seconds", "Time of a request.", registry=registry)
    log = _log_in_background()
    in_flight = 0

    async def answer(headers: Any, body: bytes) -> bytes:
        nonlocal in_flight
        # The load has no token; the comparison is what it costs.
        hmac.compare_digest(dict(headers).get(b"authorization", b""), TOKEN)
        if in_flight >= IN_FLIGHT_LIMIT:
            raise RuntimeError("too many requests")
        in_flight += 1
        try:
            began, rows = time.perf_counter(), decode(body).rows
            request_id = uuid.uuid4().hex
            probabilities = _probabilities(bundle, scorer, rows)
            log.put((request_id, time.time(), rows, probabilities))
            answered.inc(len(rows))
            latency.observe(time.perf_counter() - began)
        finally:
            in_flight -= 1
        return msgspec.json.encode(
            {"request_id": request_id, "model_version": bundle.hash, "probabilities": probabilities}
        )

    return _mounted(answer)


def _loaded() -> tuple[Bundle, Scorer]:
    folder = next((Path(os.environ["BENCH_HOME"]) / "bundles" / "bench").iterdir())
    bundle = load_bundle(folder, expected_hash=folder.name)
    return bundle, load_scorer(bundle)


def _batch(value: Any) -> type[msgspec.Struct]:
    row = msgspec.defstruct("Row", [(name, value) for name in NAMES], forbid_unknown_fields=True)
    return msgspec.defstruct("Batch", [("rows", list[row])])


def _probabilities(bundle: Bundle, scorer: Scorer, rows: list[Any]) -> list[float]:
    matrix = np.array([msgspec.structs.astuple(row) for row in rows])
    return bundle.calibrator.apply(scorer.scores(matrix)).tolist()


def _log_in_background() -> queue.SimpleQueue[Any]:
    """A line of JSON a row, written by a thread some time after the answer, and never flushed to the disk."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def write() -> None:
        with tempfile.TemporaryFile("w") as file:
            while True:
                request_id, at, rows, probabilities = waiting.get()
                for row, probability in zip(rows, probabilities, strict=True):
                    line = {"id": request_id, "at": at, "features": msgspec.structs.asdict(row), "p": probability}
                    file.write(json.dumps(line) + "\n")

    threading.Thread(target=write, daemon=True).start()
    return waiting


def _mounted(answer: Callable[[Any, bytes], Awaitable[bytes]]) -> Any:
    """A BentoML service with the handler mounted, and those of its duties off that cost more than the model."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        body = b'{"status":"ready"}'
        if scope["method"] == "POST":
            parts, more = [], True
            while more:
                message = await receive()
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
            body = await answer(scope["headers"], b"".join(parts))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    @bentoml.service(
        traffic={"timeout": 60}, logging={"access": {"enabled": False}}, tracing={"excluded_urls": ".*"},
        metrics={"enabled": False},
    )  # fmt: skip
    @bentoml.asgi_app(handler, path="/")
    class Mounted:
        """Only the mounted handler."""

    return Mounted.to_asgi()
