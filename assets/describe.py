"""What every asset says of itself: key, group, owner, kinds, freshness, columns, column lineage.

Belongs here: attributes that hold for all kinds, and the translation of contracts into Dagster's metadata.
Does not belong here: what one kind computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import dagster as dg

from forecastle.contract.column import Column
from forecastle.contract.errors import ForecastleError
from forecastle.contract.load import LoadedSystem
from forecastle.contract.source import Freshness
from forecastle.store.delta_log import TableVersion

_FOLLOWING = frozenset({
    "features", "online", "parity", "data_quality", "drift", "outcomes", "live_performance", "live_calibration",
    "experiment", "retrain_decision",
})  # fmt: skip

POOL = "rows_and_models"
"""Runs with such a step share the slots of `dagster.yaml`; one slot more is left to a person's approval."""
_OWN_SLOT = frozenset({"promotion", "bento"})

Lineage = Mapping[str, Sequence[tuple[str, str]]]


def key(system: LoadedSystem, kind: str, name: str | None = None) -> dg.AssetKey:
    """Asset key: the system, the kind, and the name where a kind has several."""
    return dg.AssetKey([system.name, kind, *([name] if name else [])])


def attributes(
    system: LoadedSystem,
    kind: str,
    name: str | None = None,
    *,
    description: str,
    kinds: set[str],
    deps: Sequence[dg.AssetKey] = (),
    freshness: Freshness | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Arguments of `dg.asset` that every asset of ours has.

    Without a freshness of its own, an asset is expected as often as the models are retrained.
    """
    age = system.declaration.retrain.max_age
    window = freshness or Freshness(warn=age, fail=2 * age)
    return {
        "key": key(system, kind, name),
        "group_name": system.name,
        "owners": [system.declaration.owner],
        "description": description,
        "kinds": kinds,
        "deps": list(deps),
        "metadata": dict(metadata or {}),
        "freshness_policy": policy(window),
        "pool": None if kind in _OWN_SLOT else POOL,
        **_automation(system, kind),
    }


def _automation(system: LoadedSystem, kind: str) -> dict[str, Any]:
    """When an asset is made without being asked: after what it is made of, or hourly; training only by decision."""
    if kind in _FOLLOWING:
        # Of batch predictions only some days were ever made; what follows them waits for none of the others.
        by_day = dg.AssetSelection.assets(key(system, "batch_predictions"))
        missing = dg.AutomationCondition.any_deps_missing()
        eager = dg.AutomationCondition.eager()
        return {"automation_condition": eager.replace(missing, missing.ignore(by_day)) if kind == "drift" else eager}
    return {"automation_condition": dg.AutomationCondition.on_cron("0 * * * *")} if kind == "predictions" else {}


def policy(freshness: Freshness) -> dg.FreshnessPolicy:
    """Dagster's policy for a declared freshness; it cannot watch windows below a minute, so it starts there."""
    least = timedelta(seconds=60)
    warn, fail = max(freshness.warn, least), max(freshness.fail, 2 * least)
    return dg.FreshnessPolicy.time_window(fail_window=fail, warn_window=warn)


def column_schema(columns: Mapping[str, Column], extra: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Contract → `dagster/column_schema`; `extra` names further columns with their types."""
    declared = [
        dg.TableColumn(
            name,
            type=column.dtype,
            description=_rules(column),
            constraints=dg.TableColumnConstraints(nullable=column.nullable, other=_other(column)),
            tags={"unit": column.unit} if column.unit else None,
        )
        for name, column in columns.items()
    ]
    further = [dg.TableColumn(name, type=dtype) for name, dtype in (extra or {}).items() if name not in columns]
    return {"dagster/column_schema": dg.TableSchema(columns=[*further, *declared])}


def column_lineage(system: LoadedSystem, lineage: Lineage) -> dict[str, Any]:
    """Raw columns of each column → `dagster/column_lineage`."""
    return {
        "dagster/column_lineage": dg.TableColumnLineage(
            deps_by_column={
                name: [dg.TableColumnDep(asset_key=key(system, "source", t), column_name=c) for t, c in origins]
                for name, origins in lineage.items()
            }
        )
    }


def version_metadata(version: TableVersion) -> dict[str, Any]:
    """What a materialisation says of the table version it published."""
    return {
        "dagster/row_count": version.rows,
        "version": version.version,
        "content_hash": version.content_hash,
        "sha256": version.sha256,
        "bytes": version.bytes,
        "unchanged": version.unchanged,
    }


@contextmanager
def told_plainly() -> Iterator[None]:
    """A refusal of the library becomes a failed step with its sentence; trying again would change nothing."""
    try:
        yield
    except ForecastleError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None


def _rules(column: Column) -> str:
    freshest = [column.description] if column.description else []
    if column.owner:
        freshest.append(f"Owner: {column.owner}.")
    return " ".join(freshest)


def _other(column: Column) -> list[str]:
    rules = []
    if column.min is not None:
        rules.append(f"≥ {column.min:g}")
    if column.max is not None:
        rules.append(f"≤ {column.max:g}")
    if column.allowed is not None:
        rules.append("one of " + ", ".join(map(str, column.allowed)))
    return rules
