"""Single predictions that arrive in one turn of the event loop, answered together in columns.

Belongs here: who may join others, when a turn is worth it, and handing each caller its own receipt.
Does not belong here: the steps of a prediction, alone (`predict.py`) or in columns (`columns.py`,
`predict_columns.py`). Nobody waits for company: a turn takes whoever is there, and too few go on alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from forecastle.contract.errors import StoreError
from forecastle.serve.champion import Champion
from forecastle.serve.columns import UsualRows
from forecastle.serve.parse import PredictRequest
from forecastle.serve.predict import Predictor, unlogged
from forecastle.serve.predict_columns import Answered, answered
from forecastle.serve.receipt import batch_pieces, microseconds
from forecastle.store.prediction_batch import joined

# Columns cost so much before the first row that fewer rows are cheaper one by one.
FEW: Final = 4
# So many rows keep the event loop for about two milliseconds.
MOST: Final = 64
logger = logging.getLogger("forecastle.serve")


class _Caller(NamedTuple):
    """One request, when it came (the timer's seconds), and where its receipt goes: None sends it on alone."""

    request: PredictRequest
    started: float
    told: asyncio.Future[bytes | None]


class Together:
    """Answers single predictions: each by itself while few are under way, a turn's worth at once when many are.

    A row gets the same bits either way, but a prediction id that names its batch and the latency of that batch.
    """

    def __init__(self, predictor: Predictor) -> None:
        """`predictor` answers whoever goes alone."""
        self._predictor = predictor
        self._here: list[_Caller] = []
        self._last = 0
        self._taken: set[asyncio.Future[bytes | None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def predict(self, body: bytes) -> bytes:
        """The receipt for one request body; it returns after the prediction is on disk.

        Raises:
            Refusal: nothing was predicted and nothing is logged.
        """
        predictor = self._predictor
        started = predictor.timer()
        champion = predictor.champion()
        request = predictor.parsed(body, champion)
        if not self._may_join(request, champion):
            return await predictor.answer(request, champion, started)
        told = self._join(request, started)
        try:
            return await told or await predictor.answer(request, champion, started)
        finally:
            self._left(told)

    def _may_join(self, request: PredictRequest, champion: Champion) -> bool:
        """Whether a request says one thing only, and the champion alone has to do with it."""
        if request.request_id is not None or champion.members or (request.entity is None) is not bool(request.features):
            return False
        challenger = self._predictor.challenger()
        return challenger is None or not (challenger.is_shadow or challenger.takes(request.entity))

    def _join(self, request: PredictRequest, started: float) -> asyncio.Future[bytes | None]:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[bytes | None] = loop.create_future()
        self._here.append(_Caller(request, started, told))
        if len(self._here) == 1 and not self._taken:
            loop.call_soon(self._turn)
        return told

    def _left(self, told: asyncio.Future[bytes | None]) -> None:
        self._taken.discard(told)
        if self._here and not self._taken:
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self, seen: int = 0) -> None:
        """Answer everyone who is here, those who named an entity apart from those who gave features."""
        if self._last >= FEW and seen < len(self._here) < MOST:
            asyncio.get_running_loop().call_soon(self._turn, len(self._here))
            return
        here = [caller for caller in self._here if not caller.told.done()]  # others met the deadline
        self._here = []
        self._last = len(here)
        self._taken.update(caller.told for caller in here)
        named = [caller for caller in here if caller.request.entity is not None]
        for alike in (named, [caller for caller in here if caller.request.entity is None]):
            for first in range(0, len(alike), MOST):
                callers = alike[first : first + MOST]
                if len(callers) < FEW:
                    _send_on(callers)
                else:
                    task = asyncio.get_running_loop().create_task(self._answer(callers))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    async def _answer(self, callers: Sequence[_Caller]) -> None:
        """Tell each caller its receipt or its refusal; whoever is unusual, or in company that fails, goes on alone."""
        try:
            made = self._made(callers)
            if made.batch is not None:
                await self._predictor.log.append_many((), batch=made.batch)
            self._tell(callers, made)
        except StoreError as error:
            for caller in callers:
                if not caller.told.done():
                    caller.told.set_exception(unlogged(error))
        except Exception:
            logger.exception("%d requests could not be answered together", len(callers))
        finally:
            _send_on(callers)

    def _made(self, callers: Sequence[_Caller]) -> Answered:
        """The record of the callers that are usual."""
        predictor = self._predictor
        champion, now_us = predictor.champion(), microseconds(predictor.clock())
        requests = [caller.request for caller in callers]
        entities: list[Any] | None = None
        if requests[0].entity is None:
            usual = _given(requests, champion)
        else:
            entities = [request.entity for request in requests]
            usual = champion.columns.stored(predictor.rows_many(entities, champion), now_us=now_us)
        if not usual.places or champion.members:
            return Answered(None, (), {})
        first = min(caller.started for caller in callers)
        return answered(
            usual,
            entities,
            champion,
            batch_id=predictor.new_id(),
            now_us=now_us,
            latency_ms=lambda: predictor.milliseconds_since(first),
        )

    def _tell(self, callers: Sequence[_Caller], made: Answered) -> None:
        for place, refusal in made.refused.items():
            if not callers[place].told.done():
                callers[place].told.set_exception(refusal)
        if made.batch is None:
            return
        told = [callers[place] for place in made.places]
        for caller, receipt in zip(told, joined(batch_pieces(made.batch), len(told)), strict=True):
            if not caller.told.done():  # its request met the deadline
                caller.told.set_result(receipt.encode())
        now = self._predictor.timer()
        self._predictor.metrics.predicted_batch(made.batch, seconds=[now - caller.started for caller in told])


def _given(requests: Sequence[PredictRequest], champion: Champion) -> UsualRows:
    """The usual rows of requests that give features, with places among all of them."""
    rows = {place: champion.columns.given_row(request.features) for place, request in enumerate(requests)}
    whole = {place: row for place, row in rows.items() if row is not None}
    places, usual = list(whole), champion.columns.given(list(whole.values()))
    return msgspec.structs.replace(usual, places=[places[row] for row in usual.places])


def _send_on(callers: Sequence[_Caller]) -> None:
    for caller in callers:
        if not caller.told.done():
            caller.told.set_result(None)
