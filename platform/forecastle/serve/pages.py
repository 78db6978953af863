"""What the service tells about itself: health, the model card, the OpenAPI document and a page that shows it.

Belongs here: documents made from the champion's feature set, so that they are true of the bundle in use.
Does not belong here: predictions, HTTP. OpenAPI 3.1: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import html
from typing import Any, Final

from forecastle.contract.feature_set import FeatureSet, FeatureSpec
from forecastle.serve.champion import Champion, ChampionWatch
from forecastle.serve.refusal import STATUS_OF_CODE
from forecastle.serve.settings import Settings

Json = dict[str, Any]

_TYPES: Final = {"float64": "number", "int64": "integer", "bool": "boolean"}
_REQUEST_ID: Final = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"}
_PAGES: Final = {
    "/model": "Card, hashes and contract of the bundle in use",
    "/healthz": "Health: the bundle in use, the last refused swap, the log and the online store",
    "/livez": "200 while the process answers",
    "/readyz": "200 while a bundle can answer, else 503",
    "/openapi.json": "This document",
}


def health(system: str, watch: ChampionWatch, *, online: bool | None, pending: int) -> Json:
    """Health of the service; `degraded` while the newest champion is refused or the online store is away."""
    champion = watch.current
    whole = champion is not None and watch.error is None and online is not False
    return {
        "status": "ok" if whole else "degraded" if champion is not None else "unavailable",
        "system": system,
        "bundle": champion.bundle.hash if champion else None,
        "model_version": champion.model_version if champion else None,
        "refused_swap": watch.error,
        "online_store": {True: "available", False: "unavailable", None: "not asked yet"}[online],
        "log_pending": pending,
    }


def model_card(champion: Champion) -> Json:
    """The champion's card, hashes and contract."""
    bundle, features = champion.bundle, champion.bundle.feature_set
    return {
        "system": bundle.system,
        "model": {
            "name": champion.model,
            "version": champion.model_version,
            "bundle": bundle.hash,
            "feature_set": features.hash,
            "sha256": bundle.model_sha256,
            "calibrator": bundle.calibrator.name,
        },
        "promotion": champion.promotion,
        "facts": bundle.facts,
        "entity": {"name": features.entity, "keys": features.keys},
        "model_features": features.model_features,
        "features": {
            spec.name: spec.contract.model_dump(mode="json") | {"view": spec.view, "ttl_seconds": spec.ttl_seconds}
            for spec in features.features
        },
        "card": bundle.card,
    }


def openapi(settings: Settings, champion: Champion | None) -> Json:
    """The OpenAPI document; request ranges are those of the bundle in use."""
    paths: Json = {path: {"get": _get(text, path)} for path, text in _PAGES.items()}
    paths["/metrics"] = {"get": {"summary": "Prometheus metrics", "responses": {"200": _content("text/plain")}}}
    paths["/docs"] = {"get": {"summary": "This document as a page", "responses": {"200": _content("text/html")}}}
    if champion is not None:
        features = champion.bundle.feature_set
        paths["/predict"] = {"post": _predict(features, settings)}
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Forecastle: {settings.system}",
            "version": champion.model_version if champion else "none",
            "description": "Calibrated probabilities with a receipt.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": {"Receipt": _RECEIPT, "Error": _ERROR}},
    }
    if settings.token is not None:
        document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"bearer": []}]
    return document


def docs_page(document: Json) -> bytes:
    """The OpenAPI document as one HTML page without scripts or anything from elsewhere."""
    routes = "".join(
        f"<tr><td>{method.upper()}<td><a href='{html.escape(path)}'>{html.escape(path)}</a>"
        f"<td>{html.escape(operation['summary'])}"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    body = document["paths"].get("/predict", {}).get("post", {}).get("requestBody")
    schema = body["content"]["application/json"]["schema"]["properties"]["features"]["properties"] if body else {}
    features = "".join(_feature_line(name, rules) for name, rules in schema.items())
    title = html.escape(document["info"]["title"])
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<style>body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "td,th{text-align:left;padding:.2rem 1rem .2rem 0;border-bottom:1px solid #ddd}</style>"
        f"<h1>{title}</h1><table><tr><th>Method<th>Path<th>What it answers{routes}</table>"
        "<h2>Features a request may give</h2>"
        f"<table><tr><th>Feature<th>Type<th>Unit<th>Range<th>Description{features}</table>"
    ).encode()


def _feature_line(name: str, rules: Json) -> str:
    kind = rules.get("type", "")
    span = f"{rules.get('minimum', '')} … {rules.get('maximum', '')}" if rules.keys() & {"minimum", "maximum"} else ""
    cells = (name, kind if isinstance(kind, str) else " or ".join(kind), rules.get("x-unit", ""), span,
             rules.get("description", ""))  # fmt: skip
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}" for cell in cells)


def _predict(features: FeatureSet, settings: Settings) -> Json:
    made = {name for group in features.on_demand for name in group.outputs}
    givable = [spec for spec in features.features if spec.name not in made and spec.contract.request]
    given = {spec.name: _value_schema(spec) for spec in givable}
    keys: Json = {name: {"type": "integer" if dtype == "int64" else "string"} for name, dtype in features.keys.items()}
    entity = {"type": "object", "properties": keys, "required": list(keys), "additionalProperties": False}
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "entity": entity | {"description": "Features come from the online store; given ones override."},
            "features": {"type": "object", "properties": given, "additionalProperties": False},
            "request_id": _REQUEST_ID | {"description": "A repeat gets the first answer again."},
        },
        "anyOf": [
            {"required": ["entity"]},
            {"required": ["features"], "properties": {"features": {"required": list(given)}}},
        ],
    }
    codes = sorted(set(STATUS_OF_CODE.values()) - {404, 405})
    refusals = {str(status): _refused(status) for status in codes}
    return {
        "summary": "One calibrated probability with its receipt",
        "description": f"At most {settings.body_limit_bytes} bytes of exactly application/json.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": _content("application/json", "Receipt"), **refusals},
    }


def _value_schema(spec: FeatureSpec) -> Json:
    contract = spec.contract
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


def _get(summary: str, path: str) -> Json:
    refusals = {"503": _refused(503)} if path in ("/model", "/readyz") else {}
    return {"summary": summary, "responses": {"200": _content("application/json"), **refusals}}


def _refused(status: int) -> Json:
    codes = [code for code, of in STATUS_OF_CODE.items() if of == status]
    return _content("application/json", "Error") | {"description": f"Refused: {', '.join(codes)}"}


def _content(media_type: str, schema: str | None = None) -> Json:
    inner = {"schema": {"$ref": f"#/components/schemas/{schema}"}} if schema else {}
    return {"description": "Answered", "content": {media_type: inner}}


def _object(**properties: Any) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": "string", "format": "date-time"}
_MAYBE_TIME: Final = {"type": ["string", "null"], "format": "date-time"}
_SHARE: Final = {"type": "number", "minimum": 0, "maximum": 1}
_ERROR: Final = _object(
    error=_object(
        code={"type": "string", "enum": sorted(STATUS_OF_CODE)},
        message=_TEXT,
        details={"type": "array", "items": _object(feature=_TEXT, value={}, rule=_TEXT, message=_TEXT)},
        request_id={"type": ["string", "null"]},
    )
)
_FEATURE: Final = _object(
    value={},
    status={"type": "string", "enum": ["PRESENT", "STALE", "REQUEST", "COMPUTED", "DEFAULTED"]},
    age_seconds={"type": ["number", "null"]},
    event_at=_MAYBE_TIME,
    known_at=_MAYBE_TIME,
)
_RECEIPT: Final = _object(
    prediction_id=_TEXT,
    request_id=_TEXT,
    system=_TEXT,
    entity={"type": ["object", "null"]},
    predicted_at=_TIME,
    probability=_SHARE,
    interval={"anyOf": [{"type": "null"}, _object(low=_SHARE, high=_SHARE)]},
    model=_object(name=_TEXT, version=_TEXT, bundle=_TEXT, feature_set=_TEXT),
    variant=_TEXT,
    features={"type": "object", "additionalProperties": _FEATURE},
    degraded={"type": "array", "items": _object(feature=_TEXT, reason=_TEXT)},
    decision={},
    latency_ms={"type": "number"},
)
