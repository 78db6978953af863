"""JSON schemas of everything that is answered, and of the values of a contract.

Belongs here: schemas, draft 2020-12 as OpenAPI 3.1 uses it (https://spec.openapis.org/oas/v3.1.0).
Does not belong here: paths and statuses (`openapi.py`), making the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from forecastle.contract.column import Feature
from forecastle.serve.refusal import STATUS_OF_CODE

Json = dict[str, Any]

_TYPES: Final = {"float64": "number", "int64": "integer", "bool": "boolean"}


def value_schema(contract: Feature) -> Json:
    """What a value of one feature may be."""
    kind = _TYPES.get(contract.dtype, "string")
    schema: Json = {"type": [kind, "null"] if contract.nullable else kind}
    if contract.min is not None:
        schema["minimum"] = contract.min
    if contract.max is not None:
        schema["maximum"] = contract.max
    if contract.allowed is not None:
        schema["enum"] = [*contract.allowed, *([None] if contract.nullable else [])]
    if contract.unit:
        schema["x-unit"] = contract.unit
    if contract.description:
        schema["description"] = contract.description
    return schema


def entity_schema(keys: Mapping[str, str]) -> Json:
    """What an entity with these keys (name → dtype) may be."""
    return closed_of({name: {"type": "integer" if dtype == "int64" else "string"} for name, dtype in keys.items()})


def closed(**properties: Any) -> Json:
    """An object with just these properties, all of them there."""
    return closed_of(properties)


def closed_of(properties: Mapping[str, Any], *, optional: tuple[str, ...] = ()) -> Json:
    """An object with just these properties, all of them there but the optional ones."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


TEXT: Final = {"type": "string"}
WORD: Final = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"}
TIME: Final = {"type": "string", "format": "date-time"}
NUMBER: Final = {"type": "number"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_MAYBE_NUMBER: Final = {"type": ["number", "null"]}
_MAYBE_TEXT: Final = {"type": ["string", "null"]}
_MAYBE_TIME: Final = {"type": ["string", "null"], "format": "date-time"}
_SHARE: Final = {"type": "number", "minimum": 0, "maximum": 1}
_MODEL: Final = closed(name=TEXT, version=TEXT, bundle=TEXT, feature_set=TEXT)
_FAULT: Final = closed(
    code={"type": "string", "enum": sorted(STATUS_OF_CODE)},
    message=TEXT,
    details=_list(
        closed(feature=TEXT, value={}, rule=TEXT, message=TEXT, row={"type": ["integer", "null"], "minimum": 0})
    ),
    request_id=_MAYBE_TEXT,
)
_FEATURES: Final = {
    "type": "object",
    "additionalProperties": closed(
        value={},
        status={"type": "string", "enum": ["PRESENT", "STALE", "REQUEST", "COMPUTED", "DEFAULTED"]},
        age_seconds={"type": ["number", "null"]},
        event_at=_MAYBE_TIME,
        known_at=_MAYBE_TIME,
    ),
}
_DEGRADED: Final = _list(closed(feature=TEXT, reason=TEXT))
_DECISION: Final = {
    "description": "What the system's decision rule says; null where it declares none.",
    "anyOf": [
        {"type": "null"},
        {
            "type": "object",
            "properties": {"action": TEXT, "reasons": _list(TEXT)},
            "required": ["action", "reasons"],
            "additionalProperties": {"type": ["number", "string", "boolean", "null"]},
        },
    ],
}
RECEIPTS: Final = {
    "type": "string",
    "enum": ["full", "brief"],
    "default": "full",
    "description": "A brief receipt does not show the features; the log holds them all the same.",
}
_RECEIPT: Final = {
    "prediction_id": TEXT,
    "request_id": TEXT,
    "system": TEXT,
    "entity": {"type": ["object", "null"]},
    "predicted_at": TIME,
    "probability": _SHARE,
    "interval": {"anyOf": [{"type": "null"}, closed(low=_SHARE, high=_SHARE)]},
    "model": _MODEL,
    "variant": TEXT,
    "features": _FEATURES,
    "degraded": _DEGRADED,
    "decision": _DECISION,
    "latency_ms": NUMBER,
}
SCHEMAS: Final[dict[str, Json]] = {
    "Error": closed(error=_FAULT),
    "Receipt": closed_of(_RECEIPT),
    "BriefReceipt": closed_of({name: schema for name, schema in _RECEIPT.items() if name != "features"}),
    "Batch": closed(
        answered=_COUNT,
        refused=_COUNT,
        answers=_list(
            {
                "anyOf": [
                    closed(row=_COUNT, receipt={"anyOf": [_ref("Receipt"), _ref("BriefReceipt")]}),
                    closed(row=_COUNT, error=_FAULT),
                ]
            }
        ),
    ),
    "Explanation": closed(
        prediction_id=_MAYBE_TEXT,
        model=_MODEL,
        probability=_SHARE,
        same_number={"type": "boolean", "description": "Whether the bundle gives the answered probability again."},
        raw_score=NUMBER,
        method={"enum": ["additive", "one_at_a_time"], "description": "How contributions are made."},
        log_odds=NUMBER | {"description": "The model's raw log-odds, before its calibrator."},
        expected_log_odds=_MAYBE_NUMBER | {"description": "additive: the log-odds before anything is known."},
        contributions=_list(closed(feature=TEXT, value={"type": ["number", "string", "null"]}, log_odds=_MAYBE_NUMBER))
        | {"description": "additive: they and expected_log_odds make the log-odds; one_at_a_time: beside the median."},
        residual=_MAYBE_NUMBER | {"description": "What additive contributions and expected value miss: rounding."},
        features=_FEATURES,
        degraded=_DEGRADED,
        decision=_DECISION,
    ),
    "Outcome": closed(
        request_id=TEXT,
        system=TEXT,
        prediction_id=_MAYBE_TEXT,
        entity={"type": ["object", "null"]},
        outcome={"type": "integer", "enum": [0, 1]},
        known_at=TIME,
        received_at=TIME,
        corrects={"type": ["integer", "null"], "description": "The outcome told before this one, if there is one."},
        counts={"type": "boolean", "description": "Whether this is the outcome known last, which counts."},
    ),
    "Pushed": closed(
        view=TEXT, stored=_COUNT, repeated=_COUNT, online={"type": "string", "enum": ["written", "pending"]}
    ),
    "Streamed": closed(source=TEXT, stored=_COUNT, repeated=_COUNT),
    "Health": closed(
        status={"type": "string", "enum": ["ok", "degraded", "unavailable"]},
        system=TEXT,
        bundle=_MAYBE_TEXT,
        model_version=_MAYBE_TEXT,
        challenger={"type": ["object", "null"], "description": "The bundle under trial and its share of the entities."},
        refused_swap=_MAYBE_TEXT,
        online_store={"type": "string"},
        log={"type": "string", "enum": ["available", "unavailable"]},
        log_pending=_COUNT,
        events_pending=_COUNT,
        workers={
            "type": ["object", "null"],
            "description": "Workers running, waiting to start again, early deaths in a row; null for one process.",
        },
    )
    | {"additionalProperties": True},
    "Status": closed(status=TEXT),
    "Model": {"type": "object", "required": ["system", "model", "features", "model_features", "card"]},
    "Document": {"type": "object", "required": ["openapi", "info", "paths"]},
}
