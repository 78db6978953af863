"""L4: an earlier training set built again, beside its first build.

    python -m benchmarks.features.l4_rebuild --markets 3000

On simulated prediction markets: sources, views and the first training set are made, then the same moment is rebuilt
from the tables as `forecastle rebuild` does it. The two are compared by content hash.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.table import measure_seconds, median_ratio, print_table
from forecastle.contract.load import load_system
from forecastle.store.feature_views import publish_view
from forecastle.store.sources import ingest
from forecastle.store.training_set import publish_training_set, rebuild_training_set
from forecastle.store.warehouse import Warehouse

SYSTEM = Path(__file__).parents[2] / "platform" / "systems" / "prediction_markets"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markets", type=int, default=3000)
    parser.add_argument("--days", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    system = load_system(SYSTEM)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        system.function("simulate:world")(
            data / system.name, seed=1, now=NOW, markets=options.markets, days=options.days
        )
        warehouse = Warehouse(Path(folder) / "warehouse", clock=lambda: NOW)
        sources = system.declaration.sources
        for name in sorted(sources, key=lambda name: not isinstance(sources[name].known_at, str)):
            if name != "markets":
                ingest(warehouse, system.name, name, sources[name], data=data)
        ingest(warehouse, system.name, "markets", sources["markets"], data=data)
        for name in system.declaration.feature_views:
            publish_view(warehouse, system, name)
        first = measure_seconds(lambda: publish_training_set(warehouse, system, now=NOW), repeats=options.repeats)
        again = measure_seconds(lambda: rebuild_training_set(warehouse, system, as_of=NOW), repeats=options.repeats)
        rebuilt = rebuild_training_set(warehouse, system, as_of=NOW)
        rows = rebuilt.version.rows
    table = [
        {"build": "first", "median_s": sorted(first)[len(first) // 2], "times first": 1.0},
        {"build": "rebuilt", "median_s": sorted(again)[len(again) // 2], "times first": median_ratio(first, again)},
    ]
    print_table(f"training set of {rows:,} rows; the same rows: {rebuilt.same}", table, packages=("duckdb", "pandas"))


if __name__ == "__main__":
    main()
