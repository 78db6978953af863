"""Many predictions in one request: the same steps row by row as for one, one log transaction for all.

Belongs here: which rows are answered and which are refused, what leaves the event loop.
Does not belong here: the steps themselves (`predict.py`), HTTP (`application.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from forecastle.contract.errors import StoreError
from forecastle.serve.champion import Champion
from forecastle.serve.parse import PredictRequest, json_object, request_of, rows_in, top_faults
from forecastle.serve.plan import Served
from forecastle.serve.predict import Predictor, check_repeat, checked, unlogged
from forecastle.serve.receipt import microseconds, receipt
from forecastle.serve.refusal import Refusal, broken_contract
from forecastle.store.prediction_log import Prediction

KEYS: Final = ("requests",)
INLINE_ROWS: Final = 64
# Parsing a body of this size takes less than a millisecond; a larger one is parsed in the thread.
INLINE_BYTES: Final = 8_192

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Made:
    """A row's prediction, not logged yet; `served` is None where an earlier request's answer is repeated."""

    prediction: Prediction
    served: Served | None


@dataclass(frozen=True, slots=True)
class _Ready:
    """A row that waits for the model: all rows of a batch are scored by one call."""

    request: PredictRequest
    served: Served


_Row = _Made | Refusal


@dataclass(frozen=True, slots=True)
class BatchPredictor:
    """Answers batches; `apart` works on large ones beside the event loop, one at a time, with a reader of its own."""

    predictor: Predictor
    apart: Predictor
    executor: Executor
    rows_limit: int

    async def predict(self, body: bytes) -> bytes:
        """The answers to one batch, in the order of its requests; it returns after all predictions are on disk.

        A row that is refused does not keep the others from being answered.

        Raises:
            Refusal: there is no batch in the body, no champion, or the log cannot be written; nothing is logged.
        """
        started = self.predictor.timer()
        champion = self.predictor.champion()
        now_us = microseconds(self.predictor.clock())
        rows = self._read(body) if len(body) <= INLINE_BYTES else None
        large = rows is None or len(rows) > INLINE_ROWS
        predictor = self.apart if large else self.predictor

        def work() -> list[_Row]:
            requests = self._read(body) if rows is None else rows
            return _scored(
                predictor,
                [_ready(predictor, row, champion, now_us, started) for row in requests],
                champion,
                now_us,
                started,
            )

        try:
            made = await self._run(work, large=large)
            new = [row.prediction for row in made if isinstance(row, _Made) and row.served is not None]
            stored = await self.predictor.log.append_many(new) if new else []
        except StoreError as error:
            raise unlogged(error) from error
        return await self._run(lambda: self._told(made, stored, now_us, started), large=large)

    def _read(self, body: bytes) -> list[Any]:
        data = json_object(body, KEYS)
        if violations := top_faults(data, KEYS):
            raise broken_contract(violations)
        return rows_in(data, "requests", limit=self.rows_limit)

    async def _run(self, work: Callable[[], _T], *, large: bool) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self.executor, work) if large else work()

    def _told(self, made: Sequence[_Row], stored: Sequence[Prediction], now_us: int, started: float) -> bytes:
        """The body of the answer."""
        seconds = (self.predictor.timer() - started) / len(made)
        logged = iter(stored)
        answers: list[bytes] = []
        refused = 0
        for index, row in enumerate(made):
            answer = row
            if isinstance(row, _Made) and row.served is not None:
                answer = self._logged(row, next(logged), now_us, seconds)
            if isinstance(answer, Refusal):
                refused += 1
                answers.append(msgspec.json.encode({"row": index, "error": _of_row(answer, index).error()}))
            else:
                answers.append(b'{"row":%d,"receipt":%s}' % (index, receipt(answer.prediction)))
        head = b'{"answered":%d,"refused":%d,"answers":[' % (len(made) - refused, refused)
        return head + b",".join(answers) + b"]}"

    def _logged(self, row: _Made, stored: Prediction, now_us: int, seconds: float) -> _Row:
        """What a row is told after logging: its own prediction, or what its request id was told before."""
        if stored.prediction_id == row.prediction.prediction_id:
            if row.served is not None:
                self.predictor.metrics.predicted(row.served, now_us=now_us, seconds=seconds)
            return replace(row, prediction=stored)
        return _known(stored, row.prediction.request_sha256, stored.request_id)


def _ready(predictor: Predictor, data: Any, champion: Champion, now_us: int, started: float) -> _Ready | _Row:
    """One row up to the model, or its earlier answer, or why there is none."""
    if not isinstance(data, Mapping):
        return Refusal("not_json", "a request is a JSON object with entity, features or both")
    request_id = None
    try:
        request, violations = request_of(data, keys=champion.resolver.feature_set.keys)
        request_id = request.request_id
        if violations:
            checked(request, violations, champion)
        if request_id and (known := predictor.log.by_request(request_id)):
            return _known(known, request.sha256(), request_id)
        if predictor.is_challengers(request):
            return _Made(*predictor.routed(request, champion, now_us=now_us, started=started))
        return _Ready(request, predictor.served(request, champion, now_us=now_us))
    except Refusal as refusal:
        refusal.request_id = request_id
        return refusal


def _scored(
    predictor: Predictor, rows: Sequence[_Ready | _Row], champion: Champion, now_us: int, started: float
) -> list[_Row]:
    """The rows with their predictions; the model sees all that wait for it as one matrix."""
    waiting = [row for row in rows if isinstance(row, _Ready)]
    if not waiting:
        return [row for row in rows if not isinstance(row, _Ready)]
    matrix = np.array([row.served.vector for row in waiting], dtype=np.float64)
    scores = iter(champion.scorer.scores(matrix).tolist())
    made: list[_Row] = []
    for row in rows:
        if not isinstance(row, _Ready):
            made.append(row)
            continue
        raw = next(scores)
        try:
            prediction = predictor.prediction(row.request, champion, row.served, raw, now_us=now_us, started=started)
            made.append(_Made(prediction, row.served))
        except Refusal as refusal:
            refusal.request_id = row.request.request_id
            made.append(refusal)
    return made


def _known(known: Prediction, digest: str, request_id: str) -> _Row:
    try:
        check_repeat(known, digest)
    except Refusal as refusal:
        refusal.request_id = request_id
        return refusal
    return _Made(known, None)


def _of_row(refusal: Refusal, row: int) -> Refusal:
    refusal.details = tuple(replace(violation, row=row) for violation in refusal.details)
    return refusal
