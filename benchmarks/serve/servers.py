"""What is compared: our service, the same without its log, the usual FastAPI design, a mounted handler, bare uvicorn.

Belongs here: one ASGI application factory each, started by `uvicorn --factory benchmarks.serve.servers:NAME`.
Does not belong here: load, tables. Each worker reads BENCH_HOME, the folder that `__main__` prepared.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from forecastle.serve import application
from forecastle.store.prediction_log import Prediction, PredictionLog


def ours() -> Any:
    """The service as `forecastle serve` runs it."""
    from forecastle.serve import runner

    return runner.service()


class _Unlogged(PredictionLog):
    """A log that forgets, to see what remembering costs."""

    async def append(self, prediction: Prediction) -> Prediction:
        return replace(prediction, sequence=1)

    async def append_many(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        return [replace(prediction, sequence=1) for prediction in predictions]


def unlogged() -> Any:
    """Our service with a log that writes nothing."""
    application.open_log = lambda _url, *, path, **_options: _Unlogged(path)
    return ours()


def bare() -> Any:
    """The model behind a handler that checks and logs nothing: the limit of this machine."""
    from forecastle.learn.bundle import load_bundle
    from forecastle.learn.scorer import load_scorer

    folder = next((Path(os.environ["BENCH_HOME"]) / "bundles" / "bench").iterdir())
    bundle = load_bundle(folder, expected_hash=folder.name)
    scorer = load_scorer(bundle)

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b'{"status":"ready"}'
        if scope["method"] == "POST":
            given = json.loads((await receive())["body"])["features"]
            raw = scorer.score_row([*given.values(), given["x00"]])
            body = json.dumps({"probability": bundle.calibrator.apply_scalar(raw)}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return handler


def usual() -> Any:
    """The case study's design: FastAPI, a pydantic model of 25 fields, a pandas row, a Pipeline, a JSON log line."""
    import logging
    import sys
    import time
    import uuid

    import joblib
    import pandas as pd
    from fastapi import FastAPI
    from pydantic import BaseModel, create_model

    from benchmarks.serve.world import NAMES

    pipeline = joblib.load(Path(os.environ["BENCH_HOME"]) / "usual.joblib")
    row_model = create_model("Row", **dict.fromkeys(NAMES, (float, ...)))
    answer_model = create_model("Answer", prediction_id=(str, ...), probability=(float, ...))
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logger = logging.getLogger("predictions")
    logger.setLevel(logging.INFO)
    app = FastAPI()

    class Batch(BaseModel):
        rows: list[row_model]  # type: ignore[valid-type]

    def logged(row: dict[str, float], probability: float) -> str:
        prediction_id = str(uuid.uuid4())
        logger.info(json.dumps({"id": prediction_id, "at": time.time(), "features": row, "probability": probability}))
        return prediction_id

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    def predict(row: Any) -> Any:
        values = row.model_dump()
        probability = float(pipeline.predict_proba(pd.DataFrame([values]))[0, 1])
        return answer_model(prediction_id=logged(values, probability), probability=probability)

    def predict_batch(batch: Any) -> Any:
        rows = [row.model_dump() for row in batch.rows]
        probabilities = pipeline.predict_proba(pd.DataFrame(rows))[:, 1].tolist()
        return [
            answer_model(prediction_id=logged(row, one), probability=one)
            for row, one in zip(rows, probabilities, strict=True)
        ]

    # Said here, since annotations of this module are texts.
    predict.__annotations__ = {"row": row_model, "return": answer_model}
    predict_batch.__annotations__ = {"batch": Batch, "return": list[answer_model]}
    app.post("/predict")(predict)
    app.post("/predict_batch")(predict_batch)
    return app


def mounted() -> Any:
    """An ASGI handler mounted in BentoML: typed rows in, one call of the model, probabilities out; nothing kept."""
    import bentoml
    import msgspec
    import numpy as np

    from benchmarks.serve.world import NAMES
    from forecastle.learn.bundle import load_bundle
    from forecastle.learn.scorer import load_scorer

    folder = next((Path(os.environ["BENCH_HOME"]) / "bundles" / "bench").iterdir())
    bundle = load_bundle(folder, expected_hash=folder.name)
    scorer = load_scorer(bundle)
    row = msgspec.defstruct("Row", [(name, float) for name in NAMES], forbid_unknown_fields=True)
    decode = msgspec.json.Decoder(msgspec.defstruct("Batch", [("rows", list[row])])).decode

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        body = b'{"status":"ready"}'
        if scope["method"] == "POST":
            parts, more = [], True
            while more:
                message = await receive()
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
            matrix = np.array([msgspec.structs.astuple(one) for one in decode(b"".join(parts)).rows])
            body = msgspec.json.encode({"probabilities": bundle.calibrator.apply(scorer.scores(matrix)).tolist()})
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
