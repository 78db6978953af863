"""F2's Feast peer: the same views and labels through `get_historical_features`, run by another interpreter.

    python feast_join.py '{"views": [{"path": …, "ttl_days": 7, "features": […]}], "labels": …, "output": …}'

Feast joins by event time alone: of rows known later it knows nothing, so its values are not compared with ours.
Prints the seconds from the label frame to the joined frame; then writes the frame. Needs feast[duckdb].
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64, Int64
from feast.value_type import ValueType


def main() -> None:
    world = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        store, references = opened(Path(folder), world)
        labels = pd.read_parquet(world["labels"]).rename(columns={"predict_at": "event_timestamp"})
        began = time.perf_counter()
        frame = store.get_historical_features(entity_df=labels, features=references).to_df()
        print(time.perf_counter() - began)
    frame.to_parquet(world["output"])


def opened(folder: Path, world: dict[str, Any]) -> tuple[FeatureStore, list[str]]:
    """A store in which every view is registered, and the names of all features."""
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=str(folder / "registry.db"),
        offline_store={"type": "duckdb"},
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    entity = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
    views = [_view(number, view, entity) for number, view in enumerate(world["views"])]
    store.apply([entity, *views])
    return store, [f"view_{n}:{name}" for n, view in enumerate(world["views"]) for name in view["features"]]


def _view(number: int, view: dict[str, Any], entity: Entity) -> FeatureView:
    source = FileSource(path=view["path"], timestamp_field="event_at", created_timestamp_column="known_at")
    return FeatureView(
        name=f"view_{number}",
        entities=[entity],
        ttl=timedelta(days=view["ttl_days"]),
        schema=[Field(name="k", dtype=Int64), *(Field(name=name, dtype=Float64) for name in view["features"])],
        source=source,
    )


if __name__ == "__main__":
    main()
