"""Explaining one answer: the features it used, their ages, and what each adds to the model's log-odds.

Belongs here: the body of `explain`, finding the bundle that answered, the explanation's shape.
Does not belong here: the contributions themselves (`learn/native_booster.py`), HTTP (`application.py`).
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from forecastle.contract.errors import BundleError, StoreError
from forecastle.contract.request import Violation
from forecastle.serve.champion import Champion, load_champion
from forecastle.serve.parse import KEYS as REQUEST_KEYS
from forecastle.serve.parse import json_object, request_of, top_faults, word_in
from forecastle.serve.predict import Predictor, checked
from forecastle.serve.receipt import degraded_json, features_json, microseconds
from forecastle.serve.refusal import Refusal, broken_contract
from forecastle.store.home import Home

KEYS: Final = ("prediction_id", *REQUEST_KEYS)
FORMER_KEPT: Final = 2


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is explained: a model's input with its features as a receipt shows them, and what was answered, if it was."""

    prediction_id: str | None
    champion: Champion
    vector: list[float]
    features_json: str
    degraded_json: str
    answered: float | None


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains logged predictions and requests; nothing is logged, nobody is answered a new probability twice."""

    predictor: Predictor
    home: Home
    system: str
    executor: Executor
    _former: dict[str, Champion] = field(default_factory=dict)

    async def explain(self, body: bytes) -> bytes:
        """The explanation of a prediction, by its id, or of the answer that a request would get now.

        Raises:
            Refusal: the body breaks a rule, no such prediction, or its bundle cannot be loaded any more.
        """
        return await asyncio.get_running_loop().run_in_executor(self.executor, self._explain, body)

    def _explain(self, body: bytes) -> bytes:
        data = json_object(body, KEYS)
        if "prediction_id" not in data:
            return _told(self._of_request(data))
        faults = top_faults(data, KEYS[:1])
        prediction_id = word_in(data, "prediction_id", faults)
        if prediction_id is None and not faults:
            faults.append(Violation("prediction_id", None, "nullable", "prediction_id is null; a receipt tells it"))
        if faults:
            raise broken_contract(faults)
        return _told(self._of_prediction(str(prediction_id)))

    def _of_request(self, data: Mapping[str, Any]) -> _Asked:
        champion = self.predictor.champion()
        request = checked(*request_of(data, keys=champion.resolver.feature_set.keys), champion)
        now_us = microseconds(self.predictor.clock())
        resolution = self.predictor.resolve(request, champion, now_us=now_us)
        return _Asked(
            None,
            champion,
            champion.resolver.vector(resolution.features),
            features_json(resolution, now_us=now_us),
            degraded_json(resolution),
            None,
        )

    def _of_prediction(self, prediction_id: str) -> _Asked:
        try:
            logged = self.predictor.log.get(prediction_id)
        except StoreError as error:
            raise Refusal("log_unavailable", "the prediction log cannot be read") from error
        if logged is None:
            raise Refusal("unknown_prediction", "no prediction has this id; look at the receipt's prediction_id")
        vector = [math.nan if value is None else float(value) for value in json.loads(logged.vector_json)]
        champion = self._bundle(logged.bundle)
        return _Asked(prediction_id, champion, vector, logged.features_json, logged.degraded_json, logged.probability)

    def _bundle(self, digest: str) -> Champion:
        """The bundle that answered: the champion, or a former one, verified like it."""
        champion = self.predictor.watch.current
        if champion is not None and champion.bundle.hash == digest:
            return champion
        if digest not in self._former:
            folder = self.home.bundles(self.system) / digest
            try:
                found = load_champion(folder, system=self.system, expected_hash=digest)
            except BundleError as error:
                raise Refusal("bundle_unavailable", f"the bundle that answered cannot be loaded: {error}") from error
            while len(self._former) >= FORMER_KEPT:
                del self._former[next(iter(self._former))]
            self._former[digest] = found
        return self._former[digest]


def _told(asked: _Asked) -> bytes:
    champion = asked.champion
    bundle, names = champion.bundle, champion.bundle.feature_set.model_features
    explanation = champion.booster.explain_one(asked.vector)
    raw_score = champion.booster.predict_one(asked.vector)
    probability = bundle.calibrator.apply_scalar(raw_score)
    return msgspec.json.encode(
        {
            "prediction_id": asked.prediction_id,
            "model": {
                "name": champion.model,
                "version": champion.model_version,
                "bundle": bundle.hash,
                "feature_set": bundle.feature_set.hash,
            },
            "probability": probability,
            "same_number": None if asked.answered is None else probability == asked.answered,
            "raw_score": raw_score,
            "log_odds": explanation.log_odds,
            "expected_log_odds": explanation.expected,
            "contributions": _largest_first(names, asked.vector, explanation.contributions),
            "residual": explanation.residual,
            "features": msgspec.Raw(asked.features_json.encode()),
            "degraded": msgspec.Raw(asked.degraded_json.encode()),
        }
    )


def _largest_first(names: Sequence[str], vector: Sequence[float], parts: Sequence[float]) -> list[dict[str, Any]]:
    """Every model feature with its value and what it adds, the largest part first."""
    rows = sorted(zip(names, vector, parts, strict=True), key=lambda row: -abs(row[2]))
    return [{"feature": name, "value": value, "log_odds": part} for name, value, part in rows]
