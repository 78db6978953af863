"""One prediction request from body to receipt: parse, resolve, score, calibrate, log, answer.

Belongs here: the order of these steps and which refusal each failure becomes.
Does not belong here: HTTP (`application.py`), the rules themselves (`parse.py`, `resolve.py`), bundles.
"""

from __future__ import annotations

import itertools
import math
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec

from forecastle.contract.clock import Clock
from forecastle.contract.decision import CLOSED, PREDICT_AT
from forecastle.contract.errors import CapacityError, StoreError
from forecastle.contract.feature_set import ViewSpec
from forecastle.contract.request import Violation
from forecastle.serve.challenger import Challenger, Shadows
from forecastle.serve.champion import Champion, ChampionWatch
from forecastle.serve.metrics import Metrics
from forecastle.serve.parse import PredictRequest, parse_request
from forecastle.serve.receipt import degraded_json, features_json, json_text, microseconds, moment, receipt
from forecastle.serve.refusal import Refusal, broken_contract
from forecastle.serve.resolve import Resolution, Rows, StoredRow
from forecastle.store.prediction_log import Prediction, WritableLog


class FeatureReader(Protocol):
    """Where stored features come from; None when the store cannot be read in time."""

    def read(self, views: Sequence[ViewSpec], key: Sequence[int | str]) -> Rows | None:
        """Newest row of each view for one entity."""
        ...


def process_ids() -> Callable[[], str]:
    """Ids no other process gives: sixteen random hex digits once, then a count (32 hex digits together).

    A random number each would be a system call, and that hands the interpreter to another thread.
    """
    prefix, count = uuid.uuid4().hex[:16], itertools.count(1)
    return lambda: f"{prefix}{next(count):016x}"


@dataclass(frozen=True, slots=True)
class Predictor:
    """Answers request bodies; everything it needs is handed in."""

    watch: ChampionWatch
    reader: FeatureReader
    log: WritableLog
    metrics: Metrics
    clock: Clock
    challenger: Callable[[], Challenger | None] = lambda: None
    shadows: Shadows = field(default_factory=Shadows)
    timer: Callable[[], float] = time.perf_counter
    new_id: Callable[[], str] = field(default_factory=process_ids)

    async def predict(self, body: bytes) -> bytes:
        """The receipt for one request body; it returns after the prediction is on disk.

        Raises:
            Refusal: nothing was predicted and nothing is logged.
        """
        started = self.timer()
        champion = self.champion()
        request = checked(*parse_request(body, keys=champion.resolver.feature_set.keys), champion)
        try:
            return await self._answer(request, champion, started)
        except Refusal as refusal:
            refusal.request_id = request.request_id
            raise
        except StoreError as error:
            told = unlogged(error)
            told.request_id = request.request_id
            raise told from error

    def champion(self) -> Champion:
        """The bundle that answers.

        Raises:
            Refusal: there is none.
        """
        if self.watch.current is None:
            raise Refusal("no_champion", f"no bundle can answer: {self.watch.error}")
        return self.watch.current

    async def _answer(self, request: PredictRequest, champion: Champion, started: float) -> bytes:
        digest = request.sha256() if request.request_id else ""
        if request.request_id and (known := await self.log.answered(request.request_id)):
            return repeated(known, digest)
        now_us = microseconds(self.clock())
        made, resolution = self.routed(request, champion, now_us=now_us, started=started)
        stored = await self.log.append(made)
        if stored.prediction_id != made.prediction_id:
            return repeated(stored, digest)
        self.metrics.predicted(resolution, now_us=now_us, seconds=self.timer() - started)
        challenger = self.challenger()
        if challenger is not None and challenger.is_shadow:
            self._add_shadow(request, challenger.bundle, stored, now_us)
        return receipt(stored)

    def routed(
        self, request: PredictRequest, champion: Champion, *, now_us: int, started: float
    ) -> tuple[Prediction, Resolution]:
        """The prediction by the bundle that this entity belongs to; the champion's where the challenger has none.

        Raises:
            Refusal: a feature is refused, or the decision rule says that it is too late.
        """
        challenger = self.challenger()
        if challenger is not None and challenger.takes(request.entity):
            try:
                asked = checked(request, [], challenger.bundle)
                return self.made(asked, challenger.bundle, now_us=now_us, started=started)
            except Exception as error:  # noqa: BLE001  a bundle under trial may fail in any way
                self.metrics.challenger_failed(type(error).__name__)
        return self.made(request, champion, now_us=now_us, started=started)

    def _add_shadow(self, request: PredictRequest, bundle: Champion, answer: Prediction, now_us: int) -> None:
        if not self.shadows.add(lambda: self._shadowed(request, bundle, answer, now_us)):
            self.metrics.shadow_dropped()

    async def _shadowed(self, request: PredictRequest, bundle: Champion, answer: Prediction, now_us: int) -> Prediction:
        """What the challenger would have said, logged beside the answer under a request id of its own."""
        asked = checked(PredictRequest(request.entity, request.features, None), [], bundle)
        made, _ = self.made(asked, bundle, now_us=now_us, started=self.timer())
        return await self.log.append(msgspec.structs.replace(made, request_id=f"shadow:{answer.prediction_id}"))

    def made(
        self, request: PredictRequest, champion: Champion, *, now_us: int, started: float
    ) -> tuple[Prediction, Resolution]:
        """The prediction for a checked request, not logged yet, and the features that it stands on.

        Raises:
            Refusal: a feature is refused, or the decision rule says that it is too late.
        """
        resolution = self.resolve(request, champion, now_us=now_us)
        score = _score(champion, resolution)
        prediction_id = self.new_id()
        prediction = Prediction(
            prediction_id=prediction_id,
            request_id=request.request_id or prediction_id,
            request_sha256=request.sha256() if request.request_id else "",
            system=champion.bundle.system,
            entity_json=json_text(request.entity),
            predicted_at_us=now_us,
            raw_score=score.raw,
            probability=score.probability,
            interval_low=score.low,
            interval_high=score.high,
            model=champion.model,
            model_version=champion.model_version,
            bundle=champion.bundle.hash,
            feature_set=champion.bundle.feature_set.hash,
            variant=champion.variant,
            features_json=features_json(resolution, now_us=now_us),
            degraded_json=degraded_json(resolution),
            vector_json=json_text(score.vector),
            decision_json=json_text(_decision(champion, resolution, score.probability, now_us)),
            latency_ms=round((self.timer() - started) * 1e3, 3),
        )
        return prediction, resolution

    def resolve(self, request: PredictRequest, champion: Champion, *, now_us: int) -> Resolution:
        """Every feature of a checked request.

        Raises:
            Refusal: naming each feature that its contract refuses.
        """
        resolver = champion.resolver
        rows = self._rows(request.entity, champion) if request.entity is not None else {}
        resolution = resolver.resolve(request.features, rows, now_us=now_us)
        if resolution.refused:
            code = "contract" if rows is not None else "online_store_unavailable"
            raise broken_contract(resolution.refused, code=code)
        return resolution

    def _rows(self, entity: Mapping[str, Any], champion: Champion) -> Rows | None:
        """Newest row of each view; a view may know an entity by fewer keys than the prediction names."""
        found: dict[str, StoredRow | None] = {}
        for keys, views in champion.resolver.views_by_keys:
            rows = self.reader.read(views, tuple(entity[name] for name in keys))
            if rows is None:
                return None
            found.update(rows)
        return found


def checked(request: PredictRequest, violations: list[Violation], champion: Champion) -> PredictRequest:
    """The request itself when it and its features keep every rule.

    Raises:
        Refusal: naming every fault.
    """
    complete = request.entity is None and all(fault.feature != "entity" for fault in violations)
    violations = [*violations, *champion.resolver.check_given(request.features, complete=complete)]
    if violations:
        refusal = broken_contract(violations)
        refusal.request_id = request.request_id
        raise refusal
    return request


class _Score(NamedTuple):
    """What a bundle says of one vector: raw score, calibrated probability and, where there is one, its interval."""

    vector: list[float]
    raw: float
    probability: float
    low: float | None
    high: float | None


def _score(champion: Champion, resolution: Resolution) -> _Score:
    bundle = champion.bundle
    vector = champion.resolver.vector(resolution.features)
    raw = champion.booster.predict_one(vector)
    probability = bundle.calibrator.apply_scalar(raw)
    if not math.isfinite(probability):
        raise ArithmeticError(f"bundle {bundle.hash} answers {probability} for {vector}")
    low, high = bundle.calibrator.interval_scalar(raw) or (None, None)
    return _Score(vector, raw, probability, low, high)


def _decision(champion: Champion, resolution: Resolution, probability: float, now_us: int) -> dict[str, Any] | None:
    rule = champion.bundle.decision
    if rule is None:
        return None
    values = {name: resolution.features[name].value for name in rule.inputs if name != PREDICT_AT}
    decision = rule.decide(probability, values, predict_at=moment(now_us))
    if decision["action"] == CLOSED:
        reasons = "; ".join(decision["reasons"]) or "the system's decision rule says so"
        raise Refusal("after_cutoff", f"too late to predict: {reasons}")
    return decision


def unlogged(error: StoreError) -> Refusal:
    """What a caller is told when the log takes nothing: why there is no room, and of other faults no detail."""
    reason = str(error) if isinstance(error, CapacityError) else "the service's own log says why"
    return Refusal("log_unavailable", f"the prediction log cannot be written, so nothing was predicted: {reason}")


def repeated(known: Prediction, digest: str) -> bytes:
    """The receipt of a prediction that answered this request id before.

    Raises:
        Refusal: it answered another request.
    """
    check_repeat(known, digest)
    return receipt(known)


def check_repeat(known: Prediction, digest: str) -> None:
    """Whether a request asks again what its request id asked first.

    Raises:
        Refusal: it asks something else.
    """
    if known.request_sha256 != digest:
        text = "this request_id has answered another request already; use a new one"
        raise Refusal("request_id_reused", text)
