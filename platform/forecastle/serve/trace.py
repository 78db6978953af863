"""Trace: one answer walked back to everything it stands on, down to the source rows.

Belongs here: joining the records that other rooms keep: prediction log, bundle, registry, warehouse, MLflow.
Does not belong here: drawing it (`cli/`). Not served: this module may import what serving must not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from forecastle.contract.errors import StoreError
from forecastle.contract.load import LoadedSystem
from forecastle.learn.bundle import Bundle, load_bundle
from forecastle.learn.tracking import Tracking
from forecastle.promote.registry import Promotion, Registry
from forecastle.serve.source_rows import SourceRows, source_rows
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.home import Home
from forecastle.store.prediction import Prediction, ReadableLog
from forecastle.store.warehouse import Warehouse

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Trace:
    """Everything one answer stands on."""

    prediction: Prediction
    predicted_at: datetime
    bundle: Bundle
    promotion: Promotion | None
    training_set: TableVersion | None
    run: Mapping[str, Any]
    features: Mapping[str, Any]
    lineage: Mapping[str, tuple[tuple[str, str], ...]]
    sources: tuple[SourceRows, ...]
    recomputed: float

    @property
    def same_number(self) -> bool:
        """Whether the bundle gives the logged probability again, bit for bit, from the logged vector."""
        return self.recomputed == self.prediction.probability

    def to_dict(self) -> dict[str, Any]:
        """The trace as plain data for `--json`."""
        facts = dict(self.bundle.facts)
        return {
            "prediction_id": self.prediction.prediction_id,
            "predicted_at": self.predicted_at.isoformat(),
            "probability": self.prediction.probability,
            "recomputed": self.recomputed,
            "same_number": self.same_number,
            "bundle": {"hash": self.bundle.hash, "feature_set": self.bundle.feature_set.hash, "facts": facts},
            "promotion": _promotion(self.promotion),
            "training_set": _version(self.training_set),
            "mlflow_run": dict(self.run),
            "dagster_run_id": facts.get("dagster_run_id"),
            "features": dict(self.features),
            "sql": {view.name: view.sql_sha256 for view in self.bundle.feature_set.views},
            "lineage": {name: [f"{t}.{c}" for t, c in pairs] for name, pairs in self.lineage.items()},
            "source_rows": [rows.to_dict() for rows in self.sources],
        }


def trace_prediction(
    prediction_id: str,
    *,
    system: LoadedSystem,
    home: Home,
    log: ReadableLog,
    warehouse: Warehouse,
    registry: Registry,
    tracking: Tracking,
) -> Trace:
    """Walk one prediction back.

    Raises:
        StoreError: no such prediction, or a table it stands on is gone.
        BundleError: its bundle is missing or changed.
    """
    prediction = log.get(prediction_id)
    if prediction is None:
        raise StoreError(
            f"{system.name} has given no prediction {prediction_id!r}; look at the receipt's prediction_id"
        )
    bundle = load_bundle(home.bundles(system.name) / prediction.bundle, expected_hash=prediction.bundle)
    predicted_at = EPOCH + timedelta(microseconds=prediction.predicted_at_us)
    features = json.loads(prediction.features_json)
    live = [p for p in registry.history(system.name) if p.bundle == bundle.hash]
    return Trace(
        prediction=prediction,
        predicted_at=predicted_at,
        bundle=bundle,
        promotion=live[0] if live else None,
        training_set=_training_set(system, bundle, warehouse),
        run=tracking.describe(bundle.facts["mlflow_run_id"]),
        features=features,
        lineage=_lineage(system, bundle),
        sources=source_rows(
            warehouse, system, bundle.feature_set.views, entity=json.loads(prediction.entity_json), features=features
        ),
        recomputed=replay(bundle, json.loads(prediction.vector_json)),
    )


def replay(bundle: Bundle, vector: list[float | None]) -> float:
    """The probability that a bundle gives a logged vector."""
    from forecastle.learn.scorer import load_scorer

    raw = load_scorer(bundle).score_row([float("nan") if value is None else float(value) for value in vector])
    return bundle.calibrator.apply_scalar(raw)


def _training_set(system: LoadedSystem, bundle: Bundle, warehouse: Warehouse) -> TableVersion | None:
    """The version that the bundle was trained on; None where it was never here."""
    wanted = int(bundle.facts["training_set_version"])
    versions = warehouse.versions(TableName(system.name, "training_set", "all"))
    return next((version for version in versions if version.version == wanted), None)


def _lineage(system: LoadedSystem, bundle: Bundle) -> dict[str, tuple[tuple[str, str], ...]]:
    """Raw columns of each view feature, from the SQL as it stands in the system's folder."""
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for view in bundle.feature_set.views:
        declared = system.declaration.feature_views.get(view.name)
        if declared is None:
            continue
        columns = system.lineage(declared.sql)
        found.update({name: columns[name] for name in view.features if name in columns})
    return found


def _promotion(promotion: Promotion | None) -> dict[str, Any] | None:
    if promotion is None:
        return None
    return {
        "promotion_id": promotion.promotion_id,
        "promoted_at": promotion.promoted_at.isoformat(),
        "approved_by": promotion.approved_by,
        "model_version": promotion.model_version,
    }


def _version(version: TableVersion | None) -> dict[str, Any] | None:
    if version is None:
        return None
    return {
        "table": str(version.name),
        "version": version.version,
        "rows": version.rows,
        "content_hash": version.content_hash,
        "written_at": version.written_at.isoformat(),
    }
