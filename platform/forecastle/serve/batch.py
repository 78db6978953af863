"""Many predictions in one request: the steps of one, done for all rows at once, and one log transaction for all.

Belongs here: reading a batch, what leaves the event loop, the answer's text.
Does not belong here: how its rows are answered (`rows.py`), HTTP (`application.py`).
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
from forecastle.serve.parse import PredictRequest, json_object, request_of, rows_in, top_faults
from forecastle.serve.predict import Predictor, checked, unlogged
from forecastle.serve.receipt import batch_pieces, json_text, microseconds, receipt_parts
from forecastle.serve.refusal import Refusal, broken_contract
from forecastle.serve.rows import (
    NO_COLUMNS,
    Now,
    Row,
    RowsMade,
    alone_rows,
    given_columns,
    known_row,
    logged,
    made_rows,
    routed,
)
from forecastle.store.prediction import Prediction
from forecastle.store.prediction_batch import joined, woven

KEYS: Final = ("requests", "receipts")
_RECEIPTS: Final = ("full", "brief")
INLINE_ROWS: Final = 64
# Parsing a body of this size takes less than a millisecond; a larger one is parsed in the thread.
INLINE_BYTES: Final = 8_192

_T = TypeVar("_T")
_LookUp = Callable[[str], Prediction | None]


class _Asked(msgspec.Struct, frozen=True, gc=False):
    """The rows of a body, and whether their receipts are to be brief."""

    rows: list[Any]
    is_brief: bool


class _Batch(msgspec.Struct, frozen=True, gc=False):
    """How each of `count` rows is answered, and whether briefly."""

    count: int
    is_brief: bool
    rows: RowsMade


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
        now = Now(self.predictor.champion(), microseconds(self.predictor.clock()), started)
        read = self._read(body) if len(body) <= INLINE_BYTES else None
        large = read is None or len(read.rows) > INLINE_ROWS
        predictor = self.apart if large else self.predictor
        try:
            look_up = predictor.log.by_request if read is None or large else (await self._known(read.rows)).get
            made = await self._run(partial(self._made, predictor, body, read, look_up, now), large=large)
            stored = await logged(self.predictor.log, made.rows)
        except StoreError as error:
            raise unlogged(error) from error
        return await self._run(partial(self._told, made, stored, now), large=large)

    async def _known(self, rows: Sequence[Any]) -> dict[str, Prediction]:
        """Earlier answers to the rows' request ids, asked for without keeping the event loop waiting."""
        named = [row.get("request_id") for row in rows if isinstance(row, Mapping)]
        found = {one: await self.predictor.log.answered(one) for one in named if isinstance(one, str)}
        return {request_id: known for request_id, known in found.items() if known is not None}

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

    def _made(self, predictor: Predictor, body: bytes, read: _Asked | None, look_up: _LookUp, now: Now) -> _Batch:
        """Whole rows as the quick decoder reads them, where it reads all of them; any others as requests."""
        champion = now.champion
        given = champion.columns.given_rows(body, limit=self.rows_limit) if not champion.members else None
        answers = given_columns(predictor, given.rows, now) if given is not None else NO_COLUMNS
        taken = {*answers.places, *answers.refused}
        if given is not None and len(taken) == len(given.rows):
            return _Batch(len(given.rows), given.is_brief, RowsMade(answers, {}))
        read = self._read(body) if read is None else read
        asked = {
            place: _asked(predictor, row, look_up, now) for place, row in enumerate(read.rows) if place not in taken
        }
        if given is None:
            return _Batch(len(read.rows), read.is_brief, made_rows(predictor, asked, now))
        return _Batch(len(read.rows), read.is_brief, RowsMade(answers, alone_rows(predictor, asked, now)))

    def _told(self, made: _Batch, stored: Sequence[Prediction], now: Now) -> bytes:
        """The body of the answer."""
        refusals: dict[int, Refusal] = dict(made.rows.columns.refused)
        texts: dict[int, str] = {}
        seconds = (self.predictor.timer() - now.started) / made.count
        for place, row in made.rows.settled(stored).items():
            if isinstance(row, Refusal):
                refusals[place] = row
                continue
            if row.served is not None:
                self.predictor.metrics.predicted(row.served, now_us=now.now_us, seconds=seconds)
            parts = receipt_parts(row.prediction, is_brief=made.is_brief)
            texts[place] = "".join((f'{{"row":{place},"receipt":', *parts, "}"))
        for place, refusal in refusals.items():
            texts[place] = f'{{"row":{place},"error":{json_text(_of_row(refusal, place).error())}}}'
        if (batch := made.rows.columns.batch) is not None:
            self.predictor.metrics.predicted_batch(batch, seconds=[seconds] * len(batch))
        answers = _answers(made, texts)
        head = f'{{"answered":{made.count - len(refusals)},"refused":{len(refusals)},"answers":['
        return "".join((head, *answers, "]}")).encode()


def _answers(made: _Batch, texts: dict[int, str]) -> list[str]:
    """The texts of all rows with commas between them, `texts` those of rows that are told alone."""
    batch, places = made.rows.columns.batch, made.rows.columns.places
    if batch is not None:
        pieces = ['{"row":', list(map(str, places)), ',"receipt":', *batch_pieces(batch, is_brief=made.is_brief), "}"]
        if not texts:
            flat = woven([*pieces, ","], len(batch))
            flat.pop()
            return flat
        texts |= zip(places, joined(pieces, len(batch)), strict=True)
    return [",".join(texts[place] for place in range(made.count))]


def _asked(predictor: Predictor, data: Any, look_up: _LookUp, now: Now) -> PredictRequest | Row:
    """One row as the champion is to answer it, or its answer already: an earlier one, the challenger's, or why not."""
    if not isinstance(data, Mapping):
        return Refusal("not_json", "a request is a JSON object with entity, features or both")
    request_id = None
    try:
        request, violations = request_of(data, keys=now.champion.resolver.feature_set.keys)
        request_id = request.request_id
        if violations:
            checked(request, violations, now.champion)
        if request_id and (known := look_up(request_id)):
            return known_row(known, request.sha256())
    except Refusal as refusal:
        refusal.request_id = request_id
        return refusal
    return routed(predictor, request, now)


def _of_row(refusal: Refusal, row: int) -> Refusal:
    refusal.details = tuple(replace(violation, row=row) for violation in refusal.details)
    return refusal
