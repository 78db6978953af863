"""One prediction request from body to receipt: parse, resolve, score, calibrate, log, answer.

Belongs here: the order of these steps and which refusal each failure becomes.
Does not belong here: HTTP (`application.py`), the rules themselves (`parse.py`, `resolve.py`), bundles.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, repeat
from typing import Any, Protocol

import msgspec
import numpy as np

from forecastle.contract.clock import Clock
from forecastle.contract.decision import CLOSED, PREDICT_AT
from forecastle.contract.errors import CapacityError, StoreError
from forecastle.contract.feature_set import ViewSpec
from forecastle.contract.request import Violation
from forecastle.serve.challenger import Challenger, Shadows
from forecastle.serve.champion import Champion, ChampionWatch
from forecastle.serve.metrics import Metrics
from forecastle.serve.parse import PredictRequest, parse_request
from forecastle.serve.plan import Served, served_of
from forecastle.serve.receipt import degraded_json, json_text, microseconds, moment, receipt
from forecastle.serve.refusal import Refusal, broken_contract
from forecastle.serve.resolve import Rows, StoredRow
from forecastle.store.prediction import Prediction, UsualPrediction, WritableLog


class FeatureReader(Protocol):
    """Where stored features come from; None when the store cannot be read in time."""

    def read(self, views: Sequence[ViewSpec], key: Sequence[int | str]) -> Rows | None:
        """Newest row of each view for one entity."""
        ...

    def read_many(self, views: Sequence[ViewSpec], keys: Sequence[Sequence[int | str]]) -> Sequence[Rows] | None:
        """Newest row of each view for each of many entities."""
        ...


def process_ids() -> Callable[[], str]:
    """Ids no other process gives: sixteen random hex digits once, then a count (32 hex digits together).

    A random number each would be a system call, and that hands the interpreter to another thread.
    """
    prefix, numbers = uuid.uuid4().hex[:16], count(1)
    return lambda: f"{prefix}{next(numbers):016x}"


class _Score(msgspec.Struct, frozen=True, gc=False):
    """What the model and its calibrator say of one row."""

    raw: float
    probability: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Predictor:
    """The steps of a prediction; everything they need is handed in."""

    watch: ChampionWatch
    reader: FeatureReader
    log: WritableLog
    metrics: Metrics
    clock: Clock
    challenger: Callable[[], Challenger | None] = lambda: None
    shadows: Shadows = field(default_factory=Shadows)
    timer: Callable[[], float] = time.perf_counter
    new_id: Callable[[], str] = field(default_factory=process_ids)

    def parsed(self, body: bytes, champion: Champion) -> PredictRequest:
        """The request in a body.

        Raises:
            Refusal: it is none, or it and its features break rules.
        """
        request, faults = parse_request(body, keys=champion.resolver.feature_set.keys)
        return checked(request, faults, champion) if faults else request

    async def answer(self, request: PredictRequest, champion: Champion, started: float) -> bytes:
        """The receipt for a request that came at `started` (the timer's seconds), once its prediction is on disk.

        Raises:
            Refusal: nothing was predicted and nothing is logged.
        """
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
        made, served = self.routed(request, champion, now_us=now_us, started=started)
        stored = await self.log.append(made)
        if stored.prediction_id != made.prediction_id:
            return repeated(stored, digest)
        self.metrics.predicted(served, now_us=now_us, seconds=self.timer() - started)
        challenger = self.challenger()
        if challenger is not None and challenger.is_shadow:
            self._add_shadow(request, challenger.bundle, stored, now_us)
        return receipt(stored)

    def is_challengers(self, request: PredictRequest) -> bool:
        """Whether this entity is answered by the bundle under trial."""
        challenger = self.challenger()
        return challenger is not None and challenger.takes(request.entity)

    def routed(
        self, request: PredictRequest, champion: Champion, *, now_us: int, started: float
    ) -> tuple[Prediction, Served]:
        """The prediction by the bundle that this entity belongs to; the champion's where the challenger has none.

        Raises:
            Refusal: a feature is refused, or the decision rule says that it is too late.
        """
        challenger = self.challenger()
        if challenger is not None and challenger.takes(request.entity):
            try:
                return self.made(request, challenger.bundle, now_us=now_us, started=started)
            except Exception as error:  # noqa: BLE001  a bundle under trial may fail in any way
                self.metrics.challenger_failed(type(error).__name__)
        return self.made(request, champion, now_us=now_us, started=started)

    def _add_shadow(self, request: PredictRequest, bundle: Champion, answer: Prediction, now_us: int) -> None:
        if not self.shadows.add(lambda: self._shadowed(request, bundle, answer, now_us)):
            self.metrics.shadow_dropped()

    async def _shadowed(self, request: PredictRequest, bundle: Champion, answer: Prediction, now_us: int) -> Prediction:
        """What the challenger would have said, logged beside the answer under a request id of its own."""
        asked = PredictRequest(request.entity, request.features, None)
        made, _ = self.made(asked, bundle, now_us=now_us, started=self.timer())
        return await self.log.append(msgspec.structs.replace(made, request_id=f"shadow:{answer.prediction_id}"))

    def made(
        self, request: PredictRequest, champion: Champion, *, now_us: int, started: float
    ) -> tuple[Prediction, Served]:
        """The prediction for a request, not logged yet, and the features that it stands on.

        Raises:
            Refusal: a feature is refused, or the decision rule says that it is too late.
        """
        served = self.served(request, self.rows(request.entity, champion), champion, now_us=now_us)
        raw = champion.scorer.score_row(served.vector)
        if math.isnan(raw):
            raise champion.unanswered(served.vector)
        calibrator = champion.bundle.calibrator
        score = _Score(raw, float(calibrator.apply_scalar(raw)), *(calibrator.interval_scalar(raw) or (None, None)))
        return self._prediction(request, champion, served, score, now_us=now_us, started=started), served

    def predictions(
        self, asked: Sequence[tuple[PredictRequest, Served]], champion: Champion, *, now_us: int, started: float
    ) -> list[Prediction | Refusal]:
        """`made` of many requests whose features are there; one call of the model and one of the calibrator."""
        made: list[Prediction | Refusal] = []
        scores = _scores(champion, [served.vector for _, served in asked])
        for (request, served), score in zip(asked, scores, strict=True):
            try:
                if score is None:
                    raise champion.unanswered(served.vector)
                made.append(self._prediction(request, champion, served, score, now_us=now_us, started=started))
            except Refusal as refusal:
                made.append(refusal)
        return made

    def _prediction(
        self, request: PredictRequest, champion: Champion, served: Served, score: _Score, *, now_us: int, started: float
    ) -> Prediction:
        """What is logged and answered of one score.

        Raises:
            Refusal: the decision rule says that it is too late.
        """
        bundle, probability = champion.bundle, score.probability
        if not math.isfinite(probability):
            raise ArithmeticError(f"bundle {bundle.hash} answers {probability} for {served.vector}")
        prediction_id, request_id = self.new_id(), request.request_id
        return UsualPrediction(
            prediction_id=prediction_id,
            request_id=request_id or prediction_id,
            request_sha256=request.sha256() if request_id else "",
            system=bundle.system,
            entity_json=json_text(request.entity),
            predicted_at_us=now_us,
            raw_score=score.raw,
            probability=probability,
            interval_low=score.low,
            interval_high=score.high,
            model=champion.answering(served.vector),
            model_version=champion.model_version,
            bundle=bundle.hash,
            feature_set=bundle.feature_set.hash,
            variant=champion.variant,
            features_json=served.features_json,
            degraded_json=degraded_json(served.degraded),
            vector_json=served.vector_json,
            decision_json=decision_json(champion, served.values, probability, now_us),
            latency_ms=self.milliseconds_since(started),
            packed=served.packed,
        )

    def milliseconds_since(self, started: float) -> float:
        """Milliseconds since `timer` gave `started`, to the microsecond."""
        return round((self.timer() - started) * 1e3, 3)

    def served(self, request: PredictRequest, rows: Rows | None, champion: Champion, *, now_us: int) -> Served:
        """Every feature of a request, the short way where it is usual; `rows` are those of its entity.

        Raises:
            Refusal: naming each feature that its contract refuses.
        """
        usual = champion.plan.usual(request.features, rows, now_us=now_us)
        if usual is not None:
            return usual
        checked(request, [], champion)
        resolution = champion.resolver.resolve(request.features, rows, now_us=now_us)
        if resolution.refused:
            code = "contract" if rows is not None else "online_store_unavailable"
            raise broken_contract(resolution.refused, code=code)
        return served_of(resolution, champion.resolver, now_us=now_us)

    def rows(self, entity: Mapping[str, Any] | None, champion: Champion) -> Rows | None:
        """Newest row of each view; a view may know an entity by fewer keys than the prediction names."""
        if entity is None:
            return {}
        by_keys = champion.resolver.views_by_keys
        if len(by_keys) == 1:
            ((keys, views),) = by_keys
            return self.reader.read(views, tuple(entity[name] for name in keys))
        found: dict[str, StoredRow | None] = {}
        for keys, views in by_keys:
            rows = self.reader.read(views, tuple(entity[name] for name in keys))
            if rows is None:
                return None
            found.update(rows)
        return found

    def rows_many(self, entities: Sequence[Mapping[str, Any] | None], champion: Champion) -> list[Rows | None]:
        """The newest row of each view for many entities, each read once; None where the store cannot be read."""
        places = [place for place, entity in enumerate(entities) if entity is not None]
        made: list[Rows | None] = [{} for _ in entities]
        for keys, views in champion.resolver.views_by_keys if places else ():
            named = [tuple(entity[name] for name in keys) for entity in entities if entity is not None]
            wanted = list(dict.fromkeys(named))
            read = self.reader.read_many(views, wanted)
            rows_of = dict(zip(wanted, read, strict=True)) if read is not None else {}
            for place, key in zip(places, named, strict=True):
                before, rows = made[place], rows_of.get(key)
                made[place] = None if before is None or rows is None else {**before, **rows}
        return made


def _scores(champion: Champion, vectors: Sequence[Sequence[float]]) -> list[_Score | None]:
    """Raw score, probability and interval of each row, the bits of the calls for one row; None without a model."""
    calibrator = champion.bundle.calibrator
    raw = champion.scorer.scores(np.array(vectors, dtype=np.float64))
    there = ~np.isnan(raw)
    known = raw[there]
    probabilities = calibrator.apply(known).tolist()
    bounds = calibrator.interval(known)
    lows, highs = (bound.tolist() for bound in bounds) if bounds else (repeat(None), repeat(None))
    made = map(_Score, known.tolist(), probabilities, lows, highs)
    return [next(made) if is_there else None for is_there in there.tolist()]


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


def decision_json(champion: Champion, values: Mapping[str, Any], probability: float, now_us: int) -> str:
    """What the system's rule says of a probability and features, as JSON; null without a rule.

    Raises:
        Refusal: it is too late to predict.
    """
    rule = champion.bundle.decision
    if rule is None:
        return "null"
    values = {name: values[name] for name in rule.inputs if name != PREDICT_AT}
    decision = rule.decide(probability, values, predict_at=moment(now_us))
    if decision["action"] == CLOSED:
        reasons = "; ".join(decision["reasons"]) or "the system's decision rule says so"
        raise Refusal("after_cutoff", f"too late to predict: {reasons}")
    return json_text(decision)


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
