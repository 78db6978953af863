"""What is compared: our service, the same without its log, the usual FastAPI design, and bare uvicorn.

Belongs here: one ASGI application factory each, started by `uvicorn --factory benchmarks.serve.servers:NAME`.
Does not belong here: load, tables. Each worker reads BENCH_HOME, the folder that `__main__` prepared.
"""

from __future__ import annotations

import json
import os
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
    """FastAPI + a pandas row + a pipeline of imputer, scaler and 5-fold calibrated gradient boosting."""
    import joblib
    import pandas as pd
    from fastapi import FastAPI

    pipeline = joblib.load(Path(os.environ["BENCH_HOME"]) / "usual.joblib")
    app = FastAPI()

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/predict")
    def predict(request: dict[str, dict[str, float]]) -> dict[str, float]:
        return {"probability": float(pipeline.predict_proba(pd.DataFrame([request["features"]]))[0, 1])}

    @app.post("/predict_batch")
    def predict_batch(request: dict[str, list[dict[str, float]]]) -> dict[str, list[float]]:
        return {"probabilities": pipeline.predict_proba(pd.DataFrame(request["rows"]))[:, 1].tolist()}

    return app
