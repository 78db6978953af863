"""F5's and F6's Feast peer: writes and reads of Feast's SQLite online store, run by another interpreter.

    python feast_online.py '{"entities": 2000, "reads": 500}'

Three views of ten features, as in `f5_f6_online.py`. Prints one JSON object: values written a second in batches of a
hundred rows and row by row, and the percentiles of a read of all thirty. Needs feast[duckdb].
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from feast import FeatureStore
from feast_join import opened

FEATURES = 10
VIEWS = 3
BATCH = 100


def main() -> None:
    asked = json.loads(sys.argv[1])
    names = [[f"v{view}_f{n}" for n in range(FEATURES)] for view in range(VIEWS)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "none.parquet"
        rows(1, names[0]).to_parquet(path)
        world = {"views": [{"path": str(path), "ttl_days": 3650, "features": of_view} for of_view in names]}
        store, references = opened(Path(folder), world)
        entities = asked["entities"]
        batched = written_per_second(store, names, entities, batch=BATCH)
        single = written_per_second(store, names, max(entities // 20, 1), batch=1)
        p50, p99 = read_us(store, references, entities=entities, count=asked["reads"])
    print(json.dumps({"batched": batched, "single": single, "p50": p50, "p99": p99}))


def rows(entities: int, names: list[str]) -> pd.DataFrame:
    """One row an entity, all of now."""
    now = pd.Timestamp.now(tz="UTC")
    values = np.random.default_rng(0).random((entities, FEATURES))
    return pd.DataFrame(values, columns=names).assign(k=range(entities), event_at=now, known_at=now)


def written_per_second(store: FeatureStore, names: list[list[str]], entities: int, *, batch: int) -> float:
    """Values a second of `write_to_online_store`."""
    frames = [rows(entities, of_view) for of_view in names]
    began = time.perf_counter()
    for number, frame in enumerate(frames):
        for start in range(0, entities, batch):
            store.write_to_online_store(f"view_{number}", frame.iloc[start : start + batch])
    return VIEWS * FEATURES * entities / (time.perf_counter() - began)


def read_us(store: FeatureStore, references: list[str], *, entities: int, count: int) -> tuple[float, float]:
    """Median and 99th percentile of `get_online_features` of one entity, microseconds."""
    taken = []
    for entity in np.random.default_rng(1).integers(0, entities, count).tolist():
        began = time.perf_counter()
        store.get_online_features(features=references, entity_rows=[{"k": entity}]).to_dict()
        taken.append(1e6 * (time.perf_counter() - began))
    cuts = statistics.quantiles(taken, n=100)
    return cuts[49], cuts[98]


if __name__ == "__main__":
    main()
