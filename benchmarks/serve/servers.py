"""What is compared: our service, the same without its log, the usual FastAPI design, bare uvicorn.

Belongs here: one ASGI application factory each, started by `uvicorn --factory benchmarks.serve.servers:NAME`.
Does not belong here: handlers mounted in BentoML (`mounted.py`), load, tables. Each worker reads
BENCH_HOME, the folder that `__main__` prepared.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from forecastle.serve import application
from forecastle.store.prediction import Prediction
from forecastle.store.prediction_batch import PredictionBatch
from forecastle.store.prediction_log import PredictionLog


def ours() -> Any:
    """The service as `forecastle serve` runs it."""
    from forecastle.serve import runner

    return runner.service()


class _Unlogged(PredictionLog):
    """A log that forgets, to see what remembering costs."""

    async def append(self, prediction: Prediction) -> Prediction:
        return replace(prediction, sequence=1)

    async def append_many(
        self,
        predictions: Sequence[Prediction],
        *,
        batch: PredictionBatch | None = None,  # noqa: ARG002  kept nowhere
    ) -> list[Prediction]:
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
    return _usual(_pipeline())


def usual_one_thread() -> Any:
    """The same by somebody who knows that LightGBM's threads cost more than they save on one row."""
    pipeline = _pipeline()
    for one in pipeline[-1].calibrated_classifiers_:
        one.estimator.set_params(n_jobs=1)
    return _usual(pipeline)


def _pipeline() -> Any:
    import joblib

    return joblib.load(Path(os.environ["BENCH_HOME"]) / "usual.joblib")


def _usual(pipeline: Any) -> Any:
    import pandas as pd
    from fastapi import FastAPI
    from pydantic import BaseModel, create_model

    from benchmarks.serve.world import NAMES

    row_model = create_model("Row", **dict.fromkeys(NAMES, (float, ...)))
    answer_model = create_model("Answer", prediction_id=(str, ...), probability=(float, ...))
    logged, app = _log_line(), FastAPI()

    class Batch(BaseModel):
        rows: list[row_model]  # type: ignore[valid-type]

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
        ids = map(logged, rows, probabilities)
        return [answer_model(prediction_id=one, probability=p) for one, p in zip(ids, probabilities, strict=True)]

    # Said here, since annotations of this module are texts.
    predict.__annotations__ = {"row": row_model, "return": answer_model}
    predict_batch.__annotations__ = {"batch": Batch, "return": list[answer_model]}
    app.post("/predict")(predict)
    app.post("/predict_batch")(predict_batch)
    return app


def _log_line() -> Callable[[dict[str, float], float], str]:
    """A function that writes a line of JSON for one prediction and gives its id."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logger = logging.getLogger("predictions")
    logger.setLevel(logging.INFO)

    def logged(row: dict[str, float], probability: float) -> str:
        prediction_id = str(uuid.uuid4())
        logger.info(json.dumps({"id": prediction_id, "at": time.time(), "features": row, "probability": probability}))
        return prediction_id

    return logged
