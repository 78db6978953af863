"""What the service tells about itself: health, the model card, the OpenAPI document as a page.

Belongs here: documents made from the bundle in use, so that they are true of it.
Does not belong here: predictions, HTTP, the OpenAPI document itself (`openapi.py`).
"""

from __future__ import annotations

import html
from typing import Any

from forecastle.serve.challenger import Challenger
from forecastle.serve.champion import Champion, ChampionWatch

Json = dict[str, Any]


def health(
    system: str,
    watch: ChampionWatch,
    *,
    challenger: Challenger | None,
    online: bool | None,
    is_log_failing: bool,
    pending: int,
    events_pending: int,
    workers: Json | None,
) -> Json:
    """Health of the service.

    `degraded` while the newest champion is refused, the online store is away, the log takes nothing or workers die.

    `workers` is what their parent says of them; None where one process serves.
    """
    champion = watch.current
    steady = workers is None or not (workers["waiting"] or workers["early_deaths"])
    whole = champion is not None and watch.error is None and online is not False and steady and not is_log_failing
    return {
        "status": "ok" if whole else "degraded" if champion is not None else "unavailable",
        "system": system,
        "bundle": champion.bundle.hash if champion else None,
        "model_version": champion.model_version if champion else None,
        "challenger": trial_of(challenger) if challenger else None,
        "refused_swap": watch.error,
        "online_store": {True: "available", False: "unavailable", None: "not asked yet"}[online],
        "log": "unavailable" if is_log_failing else "available",
        "log_pending": pending,
        "events_pending": events_pending,
        "workers": workers,
    }


def trial_of(challenger: Challenger) -> Json:
    """The bundle under trial and whom it answers: a share of the entities, or nobody in the shadow."""
    bundle = challenger.bundle
    return {
        "bundle": bundle.bundle.hash,
        "model_version": bundle.model_version,
        "share": 0.0 if challenger.is_shadow else challenger.share,
        "shadow": challenger.is_shadow,
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


def card_document(champion: Champion) -> bytes:
    """The champion's card as a page; of a bundle from before there were pages, its Markdown as it is."""
    bundle = champion.bundle
    if bundle.card_page:
        return bundle.card_page.encode()
    title, card = html.escape(f"{bundle.system} / {champion.model}"), html.escape(bundle.card)
    return f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><pre>{card}".encode()


def docs_page(document: Json) -> bytes:
    """The OpenAPI document as one HTML page without scripts or anything from elsewhere."""
    routes = "".join(
        f"<tr><td>{method.upper()}<td>{_path_cell(method, html.escape(path))}<td>{html.escape(operation['summary'])}"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    body = document["paths"].get("/predict", {}).get("post", {}).get("requestBody")
    schema = body["content"]["application/json"]["schema"]["properties"]["features"]["properties"] if body else {}
    features = "".join(_feature_line(name, rules) for name, rules in schema.items())
    title = html.escape(document["info"]["title"])
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<link rel=icon href='data:,'>"  # else browsers ask for a favicon.ico that is not there
        "<style>body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "td,th{text-align:left;padding:.2rem 1rem .2rem 0;border-bottom:1px solid #ddd}</style>"
        f"<h1>{title}</h1><table><tr><th>Method<th>Path<th>What it answers{routes}</table>"
        "<h2>Features a request may give</h2>"
        f"<table><tr><th>Feature<th>Type<th>Unit<th>Range<th>Description{features}</table>"
    ).encode()


def _path_cell(method: str, path: str) -> str:
    # A browser follows a link by GET, which the other paths refuse.
    return f"<a href='{path}'>{path}</a>" if method == "get" else path


def _feature_line(name: str, rules: Json) -> str:
    kind = rules.get("type", "")
    span = f"{rules.get('minimum', '')} … {rules.get('maximum', '')}" if rules.keys() & {"minimum", "maximum"} else ""
    cells = (name, kind if isinstance(kind, str) else " or ".join(kind), rules.get("x-unit", ""), span,
             rules.get("description", ""))  # fmt: skip
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}" for cell in cells)
