"""Single predictions that arrive in one turn of the event loop, answered together.

Belongs here: when a turn is taken and by whom, and handing each caller its own receipt.
Does not belong here: how many rows are answered at once (`rows.py`), the steps of a prediction (`predict.py`).
Nobody waits for company: a turn takes whoever is there, and too few go on alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from forecastle.contract.errors import StoreError
from forecastle.serve.parse import PredictRequest
from forecastle.serve.predict import Predictor, unlogged
from forecastle.serve.receipt import batch_pieces, microseconds, receipt
from forecastle.serve.refusal import Refusal
from forecastle.serve.rows import Now, RowsMade, logged, made_rows, routed
from forecastle.store.prediction import Prediction
from forecastle.store.prediction_batch import joined

# Work for many costs so much before the first row that fewer rows are cheaper one by one.
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

    A row gets the same bits either way; in company its latency is the company's, and a usual row's prediction id names
    its batch.
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
        if await self._is_for_itself(request):
            return await predictor.answer(request, champion, started)
        told = self._join(request, started)
        try:
            return await told or await predictor.answer(request, champion, started)
        finally:
            self._left(told)

    async def _is_for_itself(self, request: PredictRequest) -> bool:
        """Whether a request repeats one, or its answer is to have a shadow, or the log cannot say."""
        challenger = self._predictor.challenger()
        if challenger is not None and challenger.is_shadow:
            return True
        if request.request_id is None:
            return False
        try:
            return await self._predictor.log.answered(request.request_id) is not None
        except StoreError:
            return True

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
        """Take everyone who is here; after a turn of some size not before a look finds nobody new."""
        if self._last >= FEW and seen < len(self._here) < MOST:
            asyncio.get_running_loop().call_soon(self._turn, len(self._here))
            return
        here = [caller for caller in self._here if not caller.told.done()]  # others met the deadline
        self._here = []
        self._last = len(here)
        self._taken.update(caller.told for caller in here)
        for first in range(0, len(here), MOST):
            callers = here[first : first + MOST]
            if len(callers) < FEW:
                _send_on(callers)
                continue
            task = asyncio.get_running_loop().create_task(self._answer(callers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, callers: Sequence[_Caller]) -> None:
        """Tell each caller its receipt or its refusal; a company that fails goes on alone."""
        predictor = self._predictor
        first = min(caller.started for caller in callers)
        try:
            now = Now(predictor.champion(), microseconds(predictor.clock()), first)
            asked = {place: routed(predictor, caller.request, now) for place, caller in enumerate(callers)}
            made = made_rows(predictor, asked, now, columns_min=FEW)
            self._tell(callers, made, await logged(predictor.log, made), now)
        except StoreError as error:
            for caller in callers:
                _refuse(caller, unlogged(error))
        except Exception:
            logger.exception("%d requests could not be answered together", len(callers))
        finally:
            _send_on(callers)

    def _tell(self, callers: Sequence[_Caller], made: RowsMade, stored: Sequence[Prediction], now: Now) -> None:
        ended, metrics = self._predictor.timer(), self._predictor.metrics
        for place, refused in made.columns.refused.items():
            _refuse(callers[place], refused)
        for place, row in made.settled(stored).items():
            if isinstance(row, Refusal):
                _refuse(callers[place], row)
                continue
            _answer(callers[place], receipt(row.prediction))
            if row.served is not None:
                metrics.predicted(row.served, now_us=now.now_us, seconds=ended - callers[place].started)
        if (batch := made.columns.batch) is not None:
            told = [callers[place] for place in made.columns.places]
            for caller, text in zip(told, joined(batch_pieces(batch), len(batch)), strict=True):
                _answer(caller, text.encode())
            metrics.predicted_batch(batch, seconds=[ended - caller.started for caller in told])


def _answer(caller: _Caller, body: bytes) -> None:
    if not caller.told.done():  # its request met the deadline
        caller.told.set_result(body)


def _refuse(caller: _Caller, refusal: Refusal) -> None:
    if not caller.told.done():
        refusal.request_id = caller.request.request_id
        caller.told.set_exception(refusal)


def _send_on(callers: Sequence[_Caller]) -> None:
    for caller in callers:
        if not caller.told.done():
            caller.told.set_result(None)
