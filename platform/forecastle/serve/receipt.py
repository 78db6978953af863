"""The answer to a prediction request, made from its log record: what is answered is what is logged.

Belongs here: the receipt's JSON shape, and the record's features, ages and times as it shows them.
Does not belong here: deciding anything; every value is in the record already.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec

from forecastle.serve.resolve import MICROSECONDS, Resolution
from forecastle.store.prediction_log import Prediction

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
    has_interval = prediction.interval_low is not None and prediction.interval_high is not None
    interval = {"low": prediction.interval_low, "high": prediction.interval_high} if has_interval else None
    return _encode(
        {
            "prediction_id": prediction.prediction_id,
            "request_id": prediction.request_id,
            "system": prediction.system,
            "entity": _raw(prediction.entity_json),
            "predicted_at": iso(prediction.predicted_at_us),
            "probability": prediction.probability,
            "interval": interval,
            "model": {
                "name": prediction.model,
                "version": prediction.model_version,
                "bundle": prediction.bundle,
                "feature_set": prediction.feature_set,
            },
            "variant": prediction.variant,
            "features": _raw(prediction.features_json),
            "degraded": _raw(prediction.degraded_json),
            "decision": _raw(prediction.decision_json),
            "latency_ms": prediction.latency_ms,
        }
    )


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


def degraded_json(resolution: Resolution) -> str:
    """What was degraded, as the receipt shows it."""
    return _encode(resolution.degraded).decode() if resolution.degraded else "[]"


def json_text(value: Any) -> str:
    """Compact JSON text; NaN becomes null."""
    return _encode(value).decode()


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970 UTC of a tz-aware moment."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(moment_us: int) -> datetime:
    """The tz-aware moment, UTC, of microseconds since 1970 UTC."""
    return _EPOCH + timedelta(microseconds=moment_us)


@lru_cache(maxsize=4096)
def iso(moment_us: int) -> str:
    """ISO 8601 text, UTC, of microseconds since 1970 UTC."""
    return (_EPOCH + timedelta(microseconds=moment_us)).isoformat()


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())
