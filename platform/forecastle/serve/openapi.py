"""The OpenAPI document: every path, what it takes, every status it answers with, true of the bundle in use.

Belongs here: the document, made from the champion's feature set, views and decision rule.
Does not belong here: schemas of the answers (`schemas.py`), answering. https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from forecastle.contract.feature_set import FeatureSet
from forecastle.contract.push_view import PushView
from forecastle.serve.champion import Champion
from forecastle.serve.refusal import STATUS_OF_CODE
from forecastle.serve.schemas import RECEIPTS, SCHEMAS, TIME, WORD, Json, closed, closed_of, entity_schema, value_schema
from forecastle.serve.settings import Settings

_OF_ALIVE: Final = frozenset({"foreign_origin", "unknown_host", "no_champion", "internal"})
_OF_ANY: Final = _OF_ALIVE | {"unauthorized"}
# path → what it answers, schema of the answer, codes of its refusals.
_PAGES: Final = {
    "/model": ("Card, hashes and contract of the bundle in use", "Model", _OF_ANY),
    "/healthz": (
        "Health: bundle in use, bundle under trial, last refused swap, log and online store",
        "Health",
        _OF_ANY,
    ),
    "/livez": ("200 while the process answers", "Status", _OF_ALIVE),
    "/readyz": ("200 while a bundle can answer, else 503", "Status", _OF_ALIVE),
    "/openapi.json": ("This document", "Document", _OF_ANY),
}
_ROUTE_CODES: Final = frozenset({"not_found", "method_not_allowed"})
_KNOWN_ID: Final = frozenset({"unknown_prediction", "bundle_unavailable"})
_OF_ONE: Final = frozenset({"request_id_reused", "after_cutoff", "online_store_unavailable"})


def openapi(settings: Settings, champion: Champion | None) -> Json:
    """The OpenAPI document; request ranges are those of the bundle in use."""
    paths: Json = {
        path: _get(summary, _content("application/json", schema), refused=refused)
        for path, (summary, schema, refused) in _PAGES.items()
    }
    paths["/metrics"] = _get("Prometheus metrics", _content("text/plain"))
    paths["/docs"] = _get("This document as a page", _content("text/html"))
    paths["/card"] = _get("The model card as a page", _content("text/html"))
    if champion is not None:
        paths |= _operations(champion, settings)
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Forecastle: {settings.system}",
            "version": champion.model_version if champion else "none",
            "description": "Calibrated probabilities with a receipt.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(SCHEMAS)},
    }
    if settings.token is not None:
        document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"bearer": []}]
    return document


def _operations(champion: Champion, settings: Settings) -> Json:
    features, views = champion.bundle.feature_set, champion.bundle.views
    request = _request(features)
    rows: Json = {"type": "array", "minItems": 1, "maxItems": settings.rows_limit}
    by_id = closed(prediction_id=WORD)
    one, many = settings.body_limit_bytes, settings.rows_body_limit_bytes
    found: Json = {
        "/predict": _post("One calibrated probability with its receipt", request, "Receipt", one, never=_KNOWN_ID),
        "/predict_batch": _post(
            f"Up to {settings.rows_limit:,} probabilities in one answer; a refused row does not stop the others",
            closed_of({"requests": rows | {"items": request}, "receipts": RECEIPTS}, optional=("receipts",)),
            "Batch",
            many,
            never=_KNOWN_ID | _OF_ONE,
        ),
        "/explain": _post(
            "What a prediction used and what each feature added to the log-odds; a request is not logged",
            {"anyOf": [by_id, request]},
            "Explanation",
            one,
            never={"request_id_reused"},
        ),
        "/outcome": _post(
            "What happened after a prediction; every correction is kept",
            _outcome(features),
            "Outcome",
            one,
            never={"bundle_unavailable", "after_cutoff", "online_store_unavailable"},
        ),
    }
    if views:
        push = {"anyOf": [_push(view, rows) for view in views]}
        summary = "Feature rows: durably queued, then online where none newer stands; one broken row refuses all"
        never = _KNOWN_ID | {"after_cutoff", "online_store_unavailable"}
        found["/events"] = _post(summary, push, "Pushed", many, never=never)
    summary = "Raw events of a stream: durably queued for the stream worker, which checks them by the source's contract"
    never = _KNOWN_ID | {"after_cutoff", "online_store_unavailable", "bundle_unavailable"}
    found["/stream"] = _post(summary, _stream(rows), "Streamed", many, never=never)
    return found


def _request(features: FeatureSet) -> Json:
    made = {name for group in features.on_demand for name in group.outputs}
    givable = [spec for spec in features.features if spec.name not in made and spec.contract.request]
    given = {spec.name: value_schema(spec.contract) for spec in givable}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "entity": entity_schema(features.keys)
            | {"description": "Features come from the online store; given ones override."},
            "features": {"type": "object", "properties": given, "additionalProperties": False},
            "request_id": WORD | {"description": "A repeat gets the first answer again."},
        },
        "anyOf": [
            {"required": ["entity"]},
            {"required": ["features"], "properties": {"features": {"required": list(given)}}},
        ],
    }


def _outcome(features: FeatureSet) -> Json:
    properties = {
        "prediction_id": WORD,
        "entity": entity_schema(features.keys),
        "outcome": {"type": "integer", "enum": [0, 1]},
        "known_at": TIME | {"description": "When it was first known; now when absent. Never after now."},
        "request_id": WORD,
    }
    either = {"oneOf": [{"required": ["prediction_id"]}, {"required": ["entity"]}]}
    return closed_of(properties, optional=("prediction_id", "entity", "known_at", "request_id")) | either


def _push(view: PushView, rows: Json) -> Json:
    row = {
        "event_id": WORD | {"description": "Unique in its view; the row's digest when absent."},
        "entity": entity_schema(view.keys),
        "event_at": TIME | {"description": "When the row was true in the world."},
        "known_at": TIME | {"description": "When it could first be known; now when absent."},
        "features": closed_of({name: value_schema(contract) for name, contract in view.features.items()}),
    }
    items = closed_of(row, optional=("event_id", "known_at"))
    return closed(view={"type": "string", "enum": [view.name]}, rows=rows | {"items": items})


def _stream(rows: Json) -> Json:
    event = {
        "event_id": WORD | {"description": "Unique in its source; the event's digest when absent."},
        "event": {"type": "object", "description": "One event, as the source's contract has it."},
    }
    items = closed_of(event, optional=("event_id",))
    return closed(source={"type": "string"}, events=rows | {"items": items})


def _post(summary: str, schema: Json, answer: str, limit_bytes: int, *, never: AbstractSet[str]) -> Json:
    """One POST operation; `never` are the codes of refusals that it cannot answer with."""
    refusals = _refusals(STATUS_OF_CODE.keys() - _ROUTE_CODES - never)
    operation = {
        "summary": summary,
        "description": f"At most {limit_bytes} bytes of exactly application/json.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": _content("application/json", answer), **refusals},
    }
    return {"post": operation}


def _get(summary: str, answer: Json, *, refused: AbstractSet[str] = _OF_ANY) -> Json:
    return {"get": {"summary": summary, "responses": {"200": answer, **_refusals(refused)}}}


def _refusals(codes: AbstractSet[str]) -> Json:
    return {str(status): _refused(status, codes) for status in sorted({STATUS_OF_CODE[code] for code in codes})}


def _refused(status: int, codes: AbstractSet[str]) -> Json:
    told = ", ".join(code for code in STATUS_OF_CODE if STATUS_OF_CODE[code] == status and code in codes)
    return _content("application/json", "Error") | {"description": f"Refused: {told}"}


def _content(media_type: str, schema: str | None = None) -> Json:
    inner = {"schema": {"$ref": f"#/components/schemas/{schema}"}} if schema else {}
    return {"description": "Answered", "content": {media_type: inner}}
