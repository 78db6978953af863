"""Many predictions in one request: the steps of one, done for all rows at once, and one log transaction for all.

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

from forecastle.contract.errors import StoreError
from forecastle.serve.champion import Champion
from forecastle.serve.parse import PredictRequest, json_object, request_of, rows_in, top_faults
from forecastle.serve.plan import Served
from forecastle.serve.predict import Predictor, check_repeat, checked, unlogged
from forecastle.serve.receipt import json_text, microseconds, receipt_parts
from forecastle.serve.refusal import Refusal, broken_contract
from forecastle.store.prediction_log import Prediction

KEYS: Final = ("requests",)
INLINE_ROWS: Final = 64
# Parsing a body of this size takes less than a millisecond; a larger one is parsed in the thread.
INLINE_BYTES: Final = 8_192

_T = TypeVar("_T")


class _Made(msgspec.Struct, frozen=True, gc=False):
    """A row's prediction, not logged yet; `served` is None where an earlier request's answer is repeated."""

    prediction: Prediction
    served: Served | None


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
            asked = [_asked(predictor, row, champion, now_us, started) for row in requests]
            return _predicted(predictor, asked, champion, now_us, started)

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
        logged = iter(stored)
        answers: list[str] = []
        new: list[Served] = []
        refused = 0
        for index, row in enumerate(made):
            answer = row
            if isinstance(row, _Made) and row.served is not None:
                answer = _logged(row, next(logged))
                if answer is row:
                    new.append(row.served)
            if isinstance(answer, Refusal):
                refused += 1
                answers += (f'{{"row":{index},"error":', json_text(_of_row(answer, index).error()), "},")
            else:
                answers += (f'{{"row":{index},"receipt":', *receipt_parts(answer.prediction), "},")
        seconds = (self.predictor.timer() - started) / len(made)
        for served in new:
            self.predictor.metrics.predicted(served, now_us=now_us, seconds=seconds)
        answers[-1] = "}]}"
        return "".join((f'{{"answered":{len(made) - refused},"refused":{refused},"answers":[', *answers)).encode()


def _asked(predictor: Predictor, data: Any, champion: Champion, now_us: int, started: float) -> PredictRequest | _Row:
    """One row as the champion is to answer it, or its answer already: an earlier one, the challenger's, or why not."""
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
    except Refusal as refusal:
        refusal.request_id = request_id
        return refusal
    return request


def _predicted(
    predictor: Predictor, asked: Sequence[PredictRequest | _Row], champion: Champion, now_us: int, started: float
) -> list[_Row]:
    """Every row's prediction or refusal; the model sees all rows that it answers as one matrix."""
    requests = [row for row in asked if isinstance(row, PredictRequest)]
    served = predictor.served_many(requests, champion, now_us=now_us)
    ready = [(request, one) for request, one in zip(requests, served, strict=True) if isinstance(one, Served)]
    made = iter(predictor.predictions(ready, champion, now_us=now_us, started=started) if ready else ())
    rows: list[_Row] = []
    found = zip(requests, served, strict=True)
    for row in asked:
        if not isinstance(row, PredictRequest):
            rows.append(row)
            continue
        request, one = next(found)
        answer = next(made) if isinstance(one, Served) else one
        if isinstance(answer, Refusal):
            answer.request_id = request.request_id
            rows.append(answer)
        elif isinstance(one, Served):
            rows.append(_Made(answer, one))
    return rows


def _logged(row: _Made, stored: Prediction) -> _Row:
    """What a row is told after logging: its own prediction, or what its request id was told before."""
    if stored.prediction_id == row.prediction.prediction_id:
        return row
    return _known(stored, row.prediction.request_sha256, stored.request_id)


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
