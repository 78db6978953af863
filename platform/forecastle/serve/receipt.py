"""The answer to a prediction request, made from its log record: what is answered is what is logged.

Belongs here: the receipt's JSON shape, and the record's features, ages and times as it shows them.
Does not belong here: deciding anything; every value is in the record already.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec

from forecastle.serve.resolve import MICROSECONDS, Degraded, Resolution
from forecastle.store.prediction import Prediction
from forecastle.store.prediction_batch import Pieces, PredictionBatch, iso

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class _ShownFeature(msgspec.Struct, frozen=True, gc=False):
    """One feature of a receipt, its keys in this order."""

    value: Any
    status: str
    age_seconds: float | None = None
    event_at: str | None = None
    known_at: str | None = None


_encode: Final = msgspec.json.Encoder().encode


def receipt(prediction: Prediction) -> bytes:
    """The receipt of one logged prediction, as JSON bytes; the same record gives the same bytes."""
    return "".join(receipt_parts(prediction)).encode()


def receipt_parts(prediction: Prediction, *, is_brief: bool = False) -> tuple[str, str, str]:
    """The receipt's text in three parts, the features in the middle: who joins many receipts copies them once.

    A brief one does not show the features; the log holds them all the same.
    """
    low, high = prediction.interval_low, prediction.interval_high
    interval = "null" if low is None or high is None else f'{{"low":{low!r},"high":{high!r}}}'
    model = _model(prediction.model, prediction.model_version, prediction.bundle, prediction.feature_set)
    head = (
        f'{{"prediction_id":"{prediction.prediction_id}","request_id":{_text(prediction.request_id)},'
        f'"system":{_name(prediction.system)},"entity":{prediction.entity_json},'
        f'"predicted_at":"{iso(prediction.predicted_at_us)}","probability":{prediction.probability!r},'
        f'"interval":{interval},"model":{model},"variant":{_name(prediction.variant)}'
    )
    tail = (
        f',"degraded":{prediction.degraded_json},"decision":{prediction.decision_json},'
        f'"latency_ms":{prediction.latency_ms!r}}}'
    )
    return (head, "", tail) if is_brief else (f'{head},"features":', prediction.features_json, tail)


def batch_pieces(batch: PredictionBatch, *, is_brief: bool = False) -> Pieces:
    """The receipts of a batch as pieces to weave: each the text that `receipt_parts` gives of its prediction."""
    ids = batch.row_ids()
    model = _model(batch.model, batch.model_version, batch.bundle, batch.feature_set)
    lows, highs = (map(repr, bounds) for bounds in batch.intervals or ((), ()))
    intervals = [f'{{"low":{low},"high":{high}}}' for low, high in zip(lows, highs, strict=True)]
    return [
        '{"prediction_id":"', ids, '","request_id":"', ids, f'","system":{_name(batch.system)},"entity":',
        batch.entities or "null", f',"predicted_at":"{iso(batch.predicted_at_us)}","probability":',
        list(map(repr, batch.probabilities)), ',"interval":', intervals or "null",
        f',"model":{model},"variant":{_name(batch.variant)}',
        *(() if is_brief else (',"features":', *batch.feature_pieces())),
        ',"degraded":[],"decision":', batch.decisions or "null", f',"latency_ms":{batch.latency_ms!r}}}',
    ]  # fmt: skip


def features_json(resolution: Resolution, *, now_us: int) -> str:
    """Features as the receipt shows them: name → value, status, age in seconds, event_at, known_at."""
    shown = {}
    for name, feature in resolution.features.items():
        event_at_us, known_at_us = feature.event_at_us, feature.known_at_us
        if event_at_us is None or known_at_us is None:
            shown[name] = _ShownFeature(feature.value, feature.status)
        else:
            age_seconds = (now_us - event_at_us) / MICROSECONDS
            shown[name] = _ShownFeature(feature.value, feature.status, age_seconds, iso(event_at_us), iso(known_at_us))
    return _encode(shown).decode()


def degraded_json(degraded: Sequence[Degraded]) -> str:
    """What was degraded, as the receipt shows it."""
    return _encode(degraded).decode() if degraded else "[]"


def json_text(value: Any) -> str:
    """Compact JSON text; NaN becomes null."""
    return _encode(value).decode()


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970 UTC of a tz-aware moment."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(moment_us: int) -> datetime:
    """The tz-aware moment, UTC, of microseconds since 1970 UTC."""
    return _EPOCH + timedelta(microseconds=moment_us)


@lru_cache(maxsize=64)
def _model(name: str, version: str, bundle: str, feature_set: str) -> str:
    return json_text({"name": name, "version": version, "bundle": bundle, "feature_set": feature_set})


def _text(value: str) -> str:
    """A JSON string; ids of the service's own and of callers are mostly words that need no escape."""
    return f'"{value}"' if value.isalnum() and value.isascii() else json_text(value)


_name = lru_cache(maxsize=64)(json_text)
