"""Many predictions in one request: the steps of one, done for all rows at once, and one log transaction for all.

Belongs here: which rows are answered and which are refused, what leaves the event loop, the answer's text.
Does not belong here: the steps themselves (`predict.py`, `predict_columns.py`), HTTP (`application.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from forecastle.contract.errors import StoreError
from forecastle.contract.request import Violation, shown
from forecastle.serve.champion import Champion
from forecastle.serve.columns import UsualRows
from forecastle.serve.parse import PredictRequest, json_object, request_of, rows_in, top_faults
from forecastle.serve.plan import Served
from forecastle.serve.predict import Predictor, check_repeat, checked, unlogged
from forecastle.serve.predict_columns import Answered, answered
from forecastle.serve.receipt import batch_pieces, json_text, microseconds, receipt_parts
from forecastle.serve.refusal import Refusal, broken_contract
from forecastle.store.prediction import Prediction
from forecastle.store.prediction_batch import joined, woven

KEYS: Final = ("requests", "receipts")
_RECEIPTS: Final = ("full", "brief")
INLINE_ROWS: Final = 64
# Parsing a body of this size takes less than a millisecond; a larger one is parsed in the thread.
INLINE_BYTES: Final = 8_192

_T = TypeVar("_T")


class _Made(msgspec.Struct, frozen=True, gc=False):
    """A row's prediction, not logged yet; `served` is None where an earlier request's answer is repeated."""

    prediction: Prediction
    served: Served | None


_Row = _Made | Refusal


class _Asked(msgspec.Struct, frozen=True, gc=False):
    """The rows of a body, and whether their receipts are to be brief."""

    rows: list[Any]
    is_brief: bool


class _Batch(msgspec.Struct, frozen=True, gc=False):
    """How each of `count` rows is answered: in columns, or alone by its place."""

    count: int
    is_brief: bool
    columns: Answered
    alone: dict[int, _Row]


class _Now(msgspec.Struct, frozen=True, gc=False):
    """What all rows of a batch share: the bundle that answers, the moment, when work began."""

    champion: Champion
    now_us: int
    started: float


_NO_COLUMNS: Final = Answered(None, (), {})


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
        now = _Now(self.predictor.champion(), microseconds(self.predictor.clock()), started)
        read = self._read(body) if len(body) <= INLINE_BYTES else None
        large = read is None or len(read.rows) > INLINE_ROWS
        predictor = self.apart if large else self.predictor
        try:
            made = await self._run(partial(self._made, predictor, body, read, now), large=large)
            new = [row.prediction for row in made.alone.values() if isinstance(row, _Made) and row.served is not None]
            stored: Sequence[Prediction] = ()
            if new or made.columns.batch is not None:
                stored = await self.predictor.log.append_many(new, batch=made.columns.batch)
        except StoreError as error:
            raise unlogged(error) from error
        return await self._run(partial(self._told, made, stored, now), large=large)

    def _read(self, body: bytes) -> _Asked:
        data = json_object(body, KEYS)
        violations = top_faults(data, KEYS)
        receipts = data.get("receipts", "full")
        if receipts not in _RECEIPTS:
            text = f"receipts is {shown(receipts)}; full, which is the default, and brief are allowed"
            violations.append(Violation("receipts", shown(receipts), "allowed", text))
        if violations:
            raise broken_contract(violations)
        return _Asked(rows_in(data, "requests", limit=self.rows_limit), receipts == "brief")

    async def _run(self, work: Callable[[], _T], *, large: bool) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self.executor, work) if large else work()

    def _made(self, predictor: Predictor, body: bytes, read: _Asked | None, now: _Now) -> _Batch:
        """Usual rows of one kind as columns, the others one by one."""
        columns, members = now.champion.columns, now.champion.members
        given = columns.given_rows(body, limit=self.rows_limit) if not members else None
        if given is not None:
            answers = _answered(predictor, columns.given(given.rows), None, now)
            if len(answers.places) + len(answers.refused) == len(given.rows):
                return _Batch(len(given.rows), given.is_brief, answers, {})
            rows, taken = self._read(body).rows, {*answers.places, *answers.refused}
            asked = {i: _asked(predictor, row, now) for i, row in enumerate(rows) if i not in taken}
            return _Batch(len(rows), given.is_brief, answers, _alone(predictor, asked, now))
        read = self._read(body) if read is None else read
        asked = {i: _asked(predictor, row, now) for i, row in enumerate(read.rows)}
        by_entity = {} if members else {i: entity for i, row in asked.items() if (entity := _only_entity(row))}
        answers = _NO_COLUMNS
        if by_entity:
            entities = list(by_entity.values())
            usual = columns.stored(predictor.rows_many(entities, now.champion), now_us=now.now_us)
            answers = _placed(_answered(predictor, usual, entities, now), list(by_entity))
        for place in (*answers.places, *answers.refused):
            del asked[place]
        return _Batch(len(read.rows), read.is_brief, answers, _alone(predictor, asked, now))

    def _told(self, made: _Batch, stored: Sequence[Prediction], now: _Now) -> bytes:
        """The body of the answer."""
        logged = iter(stored)
        new: list[Served] = []
        refusals: dict[int, Refusal] = dict(made.columns.refused)
        texts: dict[int, str] = {}
        for place, row in made.alone.items():
            answer = row
            if isinstance(row, _Made) and row.served is not None:
                answer = _logged(row, next(logged))
                if answer is row:
                    new.append(row.served)
            if isinstance(answer, Refusal):
                refusals[place] = answer
            else:
                parts = receipt_parts(answer.prediction, is_brief=made.is_brief)
                texts[place] = "".join((f'{{"row":{place},"receipt":', *parts, "}"))
        for place, refusal in refusals.items():
            texts[place] = f'{{"row":{place},"error":{json_text(_of_row(refusal, place).error())}}}'
        seconds = (self.predictor.timer() - now.started) / made.count
        for served in new:
            self.predictor.metrics.predicted(served, now_us=now.now_us, seconds=seconds)
        if made.columns.batch is not None:
            self.predictor.metrics.predicted_batch(made.columns.batch, seconds=[seconds] * len(made.columns.batch))
        answers = _answers(made, texts)
        head = f'{{"answered":{made.count - len(refusals)},"refused":{len(refusals)},"answers":['
        return "".join((head, *answers, "]}")).encode()


def _answers(made: _Batch, texts: dict[int, str]) -> list[str]:
    """The texts of all rows with commas between them, `texts` those of rows that are told alone."""
    batch, places = made.columns.batch, made.columns.places
    if batch is not None:
        pieces = ['{"row":', list(map(str, places)), ',"receipt":', *batch_pieces(batch, is_brief=made.is_brief), "}"]
        if not texts:
            flat = woven([*pieces, ","], len(batch))
            flat.pop()
            return flat
        texts |= zip(places, joined(pieces, len(batch)), strict=True)
    return [",".join(texts[place] for place in range(made.count))]


def _only_entity(row: PredictRequest | _Row) -> Mapping[str, Any] | None:
    """The entity of a request that says nothing else."""
    return row.entity if isinstance(row, PredictRequest) and not row.features and not row.request_id else None


def _answered(
    predictor: Predictor, usual: UsualRows, entities: Sequence[Mapping[str, Any]] | None, now: _Now
) -> Answered:
    if not usual.places:
        return _NO_COLUMNS
    return answered(
        usual,
        entities,
        now.champion,
        batch_id=predictor.new_id(),
        now_us=now.now_us,
        latency_ms=lambda: predictor.milliseconds_since(now.started),
    )


def _placed(answers: Answered, places: Sequence[int]) -> Answered:
    """The same, with places among all rows instead of those among the rows at `places`."""
    refused = {places[row]: refusal for row, refusal in answers.refused.items()}
    return Answered(answers.batch, [places[row] for row in answers.places], refused)


def _asked(predictor: Predictor, data: Any, now: _Now) -> PredictRequest | _Row:
    """One row as the champion is to answer it, or its answer already: an earlier one, the challenger's, or why not."""
    if not isinstance(data, Mapping):
        return Refusal("not_json", "a request is a JSON object with entity, features or both")
    request_id = None
    try:
        request, violations = request_of(data, keys=now.champion.resolver.feature_set.keys)
        request_id = request.request_id
        if violations:
            checked(request, violations, now.champion)
        if request_id and (known := predictor.log.by_request(request_id)):
            return _known(known, request.sha256(), request_id)
        if predictor.is_challengers(request):
            return _Made(*predictor.routed(request, now.champion, now_us=now.now_us, started=now.started))
    except Refusal as refusal:
        refusal.request_id = request_id
        return refusal
    return request


def _alone(predictor: Predictor, asked: Mapping[int, PredictRequest | _Row], now: _Now) -> dict[int, _Row]:
    """Every row's prediction or refusal; the model sees all rows that it answers as one matrix."""
    requests = [row for row in asked.values() if isinstance(row, PredictRequest)]
    served = predictor.served_many(requests, now.champion, now_us=now.now_us)
    ready = [(request, one) for request, one in zip(requests, served, strict=True) if isinstance(one, Served)]
    told = predictor.predictions(ready, now.champion, now_us=now.now_us, started=now.started) if ready else ()
    made, found = iter(told), zip(requests, served, strict=True)
    rows: dict[int, _Row] = {}
    for place, row in asked.items():
        if not isinstance(row, PredictRequest):
            rows[place] = row
            continue
        request, one = next(found)
        answer = next(made) if isinstance(one, Served) else one
        if isinstance(answer, Refusal):
            answer.request_id = request.request_id
            rows[place] = answer
        elif isinstance(one, Served):
            rows[place] = _Made(answer, one)
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
