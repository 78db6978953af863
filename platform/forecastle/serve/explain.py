"""Explaining one answer: the features it used, their ages, and what each adds to the model's log-odds.

Belongs here: the body of `explain`, finding the bundle that answered, the explanation's shape.
Does not belong here: the contributions themselves (`learn/scorer.py`), HTTP (`application.py`).
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
from forecastle.contract.feature_set import FeatureSet
from forecastle.contract.request import Violation
from forecastle.learn.explanation import one_at_a_time
from forecastle.serve.champion import Champion, load_champion
from forecastle.serve.parse import KEYS as REQUEST_KEYS
from forecastle.serve.parse import json_object, request_of, top_faults, word_in
from forecastle.serve.predict import Predictor, checked
from forecastle.serve.receipt import microseconds
from forecastle.serve.refusal import Refusal, broken_contract
from forecastle.store.home import Home
from forecastle.store.prediction import Prediction

KEYS: Final = ("prediction_id", *REQUEST_KEYS)
FORMER_KEPT: Final = 2


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains logged predictions and requests; nothing is logged."""

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
            champion = self.predictor.champion()
            return _told(self._of_request(data, champion), champion, logged=False)
        faults = top_faults(data, KEYS[:1])
        prediction_id = word_in(data, "prediction_id", faults)
        if prediction_id is None and not faults:
            faults.append(Violation("prediction_id", None, "nullable", "prediction_id is null; a receipt tells it"))
        if faults:
            raise broken_contract(faults)
        prediction = self._logged(str(prediction_id))
        return _told(prediction, self._bundle(prediction.bundle), logged=True)

    def _of_request(self, data: Mapping[str, Any], champion: Champion) -> Prediction:
        started, now_us = self.predictor.timer(), microseconds(self.predictor.clock())
        request = checked(*request_of(data, keys=champion.resolver.feature_set.keys), champion)
        return self.predictor.made(request, champion, now_us=now_us, started=started)[0]

    def _logged(self, prediction_id: str) -> Prediction:
        try:
            logged = self.predictor.log.get(prediction_id)
        except StoreError as error:
            raise Refusal("log_unavailable", "the prediction log cannot be read") from error
        if logged is None:
            raise Refusal("unknown_prediction", "no prediction has this id; look at the receipt's prediction_id")
        return logged

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


def _told(prediction: Prediction, champion: Champion, *, logged: bool) -> bytes:
    vector = [math.nan if value is None else float(value) for value in json.loads(prediction.vector_json)]
    explanation = champion.scorer.explain_row(vector)
    if explanation is None:
        explanation = one_at_a_time(champion.scorer.score_row, vector, champion.bundle.medians())
    raw_score = champion.scorer.score_row(vector)
    probability = champion.bundle.calibrator.apply_scalar(raw_score)
    return msgspec.json.encode(
        {
            "prediction_id": prediction.prediction_id if logged else None,
            "model": {
                "name": prediction.model,
                "version": prediction.model_version,
                "bundle": prediction.bundle,
                "feature_set": prediction.feature_set,
            },
            "probability": probability,
            "same_number": probability == prediction.probability,
            "raw_score": raw_score,
            "method": explanation.method,
            "log_odds": explanation.log_odds,
            "expected_log_odds": explanation.expected,
            "contributions": _largest_first(champion.bundle.feature_set, vector, explanation.contributions),
            "residual": explanation.residual,
            "features": msgspec.Raw(prediction.features_json.encode()),
            "degraded": msgspec.Raw(prediction.degraded_json.encode()),
            "decision": msgspec.Raw(prediction.decision_json.encode()),
        }
    )


def _largest_first(
    feature_set: FeatureSet, vector: Sequence[float], parts: Sequence[float | None]
) -> list[dict[str, Any]]:
    """Every model feature with its value and what it adds, the largest part first."""
    rows = sorted(zip(feature_set.model_features, vector, parts, strict=True), key=lambda row: -abs(row[2] or 0.0))
    return [{"feature": name, "value": feature_set.shown(name, value), "log_odds": part} for name, value, part in rows]
