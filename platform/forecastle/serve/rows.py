"""Many requests to predictions at once: usual rows in columns, the others one by one, the model called for many.

Belongs here: who goes which way, what is to be logged, and what each row is told after that.
Does not belong here: where rows come from (`batch.py`, `together.py`), the steps (`predict.py`, `predict_columns.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from forecastle.serve.champion import Champion
from forecastle.serve.columns import UsualRows
from forecastle.serve.parse import PredictRequest
from forecastle.serve.plan import Served
from forecastle.serve.predict import Predictor, check_repeat
from forecastle.serve.predict_columns import Answered, answered
from forecastle.serve.refusal import Refusal
from forecastle.serve.resolve import Rows
from forecastle.store.prediction import Prediction, WritableLog


class Made(msgspec.Struct, frozen=True, gc=False):
    """A row's prediction, not logged yet; `served` is None where an earlier request's answer is repeated."""

    prediction: Prediction
    served: Served | None


Row = Made | Refusal
"""How a row is answered that stands in no columns."""


class Now(msgspec.Struct, frozen=True, gc=False):
    """What all rows share: the bundle that answers, the moment (µs since 1970 UTC), the timer when work began."""

    champion: Champion
    now_us: int
    started: float


class RowsMade(msgspec.Struct, frozen=True, gc=False):
    """How each row is answered: in columns, or alone by its place."""

    columns: Answered
    alone: Mapping[int, Row]

    def new(self) -> list[Prediction]:
        """What is to be logged beside the columns' record, in the order of `alone`."""
        return [row.prediction for row in self.alone.values() if isinstance(row, Made) and row.served is not None]

    def settled(self, stored: Sequence[Prediction]) -> dict[int, Row]:
        """What each row alone is told once `new` is logged as `stored`: its own, or what its request id was told."""
        logged = iter(stored)
        return {
            place: _settled(row, next(logged)) if isinstance(row, Made) and row.served is not None else row
            for place, row in self.alone.items()
        }


NO_COLUMNS: Final = Answered(None, (), {})


async def logged(log: WritableLog, made: RowsMade) -> Sequence[Prediction]:
    """What `new` was stored as, once it and the columns' record are on disk by one transaction.

    Raises:
        CapacityError, StoreError: nothing was written; no answer may leave.
    """
    new = made.new()
    return await log.append_many(new, batch=made.columns.batch) if new or made.columns.batch is not None else ()


def known_row(known: Prediction, digest: str) -> Row:
    """A row whose request id has answered a request already: the same answer, or that it was another request."""
    try:
        check_repeat(known, digest)
    except Refusal as refusal:
        return _of(known.request_id, refusal)
    return Made(known, None)


def routed(predictor: Predictor, request: PredictRequest, now: Now) -> PredictRequest | Row:
    """The request itself where the champion answers it, the challenger's prediction or refusal where that one does."""
    if not predictor.is_challengers(request):
        return request
    try:
        return Made(*predictor.routed(request, now.champion, now_us=now.now_us, started=now.started))
    except Refusal as refusal:
        return _of(request.request_id, refusal)


def made_rows(
    predictor: Predictor, asked: Mapping[int, PredictRequest | Row], now: Now, *, columns_min: int = 1
) -> RowsMade:
    """The predictions of rows by place; fewer than `columns_min` of one kind go one by one.

    Usual rows that say nothing but an entity, or nothing but all features, whichever are more, go in columns.
    """
    requests = _requests(asked)
    stored = _stored(predictor, requests, now)
    answers = NO_COLUMNS if now.champion.members else _in_columns(predictor, requests, stored, now, columns_min)
    taken = {*answers.places, *answers.refused}
    left = {place: row for place, row in asked.items() if place not in taken}
    return RowsMade(answers, _alone(predictor, left, stored, now))


def given_columns(predictor: Predictor, rows: Sequence[tuple[Any, ...]], now: Now) -> Answered:
    """The usual ones of rows that give every feature, in the order of the champion's plan."""
    return _answered(predictor, now.champion.columns.given(rows), None, now)


def alone_rows(predictor: Predictor, asked: Mapping[int, PredictRequest | Row], now: Now) -> dict[int, Row]:
    """The predictions of rows by place, each by itself but for the model."""
    return _alone(predictor, asked, _stored(predictor, _requests(asked), now), now)


def _requests(asked: Mapping[int, PredictRequest | Row]) -> dict[int, PredictRequest]:
    return {place: row for place, row in asked.items() if isinstance(row, PredictRequest)}


def _stored(predictor: Predictor, requests: Mapping[int, PredictRequest], now: Now) -> dict[int, Rows | None]:
    """What the online store holds of each request's entity, read at once."""
    read = predictor.rows_many([request.entity for request in requests.values()], now.champion)
    return dict(zip(requests, read, strict=True))


def _in_columns(
    predictor: Predictor,
    requests: Mapping[int, PredictRequest],
    stored: Mapping[int, Rows | None],
    now: Now,
    columns_min: int,
) -> Answered:
    """The usual rows of the kind that there are more of, unless there are too few."""
    named = {i: one.entity for i, one in requests.items() if one.entity and not one.features and not one.request_id}
    given = _given(requests, now.champion)
    if max(len(named), len(given)) < columns_min:
        return NO_COLUMNS
    if len(given) > len(named):
        return _placed(given_columns(predictor, list(given.values()), now), list(given))
    usual = now.champion.columns.stored([stored[place] for place in named], now_us=now.now_us)
    return _placed(_answered(predictor, usual, list(named.values()), now), list(named))


def _given(requests: Mapping[int, PredictRequest], champion: Champion) -> dict[int, tuple[Any, ...]]:
    """Values of the requests that say nothing but all features."""
    rows = {
        place: champion.columns.given_row(request.features)
        for place, request in requests.items()
        if request.entity is None and not request.request_id
    }
    return {place: row for place, row in rows.items() if row is not None}


def _answered(
    predictor: Predictor, usual: UsualRows, entities: Sequence[Mapping[str, Any]] | None, now: Now
) -> Answered:
    if not usual.places:
        return NO_COLUMNS
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


def _alone(
    predictor: Predictor, asked: Mapping[int, PredictRequest | Row], stored: Mapping[int, Rows | None], now: Now
) -> dict[int, Row]:
    """Every row's prediction or refusal; the model sees all rows that it answers as one matrix."""
    rows: dict[int, Row] = {}
    ready: dict[int, tuple[PredictRequest, Served]] = {}
    for place, row in asked.items():
        if not isinstance(row, PredictRequest):
            rows[place] = row
            continue
        try:
            ready[place] = row, predictor.served(row, stored[place], now.champion, now_us=now.now_us)
        except Refusal as refusal:
            rows[place] = _of(row.request_id, refusal)
    if ready:
        told = predictor.predictions(list(ready.values()), now.champion, now_us=now.now_us, started=now.started)
        for (place, (request, served)), answer in zip(ready.items(), told, strict=True):
            rows[place] = _of(request.request_id, answer) if isinstance(answer, Refusal) else Made(answer, served)
    return {place: rows[place] for place in asked}


def _of(request_id: str | None, refusal: Refusal) -> Refusal:
    refusal.request_id = request_id
    return refusal


def _settled(row: Made, stored: Prediction) -> Row:
    if stored.prediction_id == row.prediction.prediction_id:
        return row
    return known_row(stored, row.prediction.request_sha256)
