"""F4: rolling features over many events: a feature view through the library, beside the same SQL by hand, and pandas.

    python -m benchmarks.features.f4_rolling --rows 10000000

Seven-day mean and standard deviation and a 24-hour count of each event. "By hand" is the SELECT, its rows written
to Parquet (LZ4, as the library writes), once as they come and once sorted by entity and time, as the library's table
is, and once left in memory; the library also audits every value against the contract, proves keys unique, hashes
bytes and rows, and publishes. "Audit" is that part of the library's run: from the written file to the new version.
Engines take turns. A ratio is that of the medians; beside it stands the median of the rounds' ratios, which other work
on the machine, coming and going, moves less.
pandas counts rows of one timestamp only up to its own position, so its answer differs on ties.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.table import measure_seconds, median_ratio, print_table
from forecastle.contract.system import Entity, FeatureView
from forecastle.store import sql
from forecastle.store.delta_log import TableName
from forecastle.store.feature_views import run_view
from forecastle.store.warehouse import Warehouse

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SELECT = """
SELECT events.k AS k, events.event_at AS event_at, events.known_at AS known_at,
  AVG(events.x) OVER week AS mean_7d, STDDEV_SAMP(events.x) OVER week AS sd_7d, COUNT(*) OVER day AS count_24h
FROM events
WINDOW
  week AS (PARTITION BY events.k ORDER BY events.event_at RANGE BETWEEN INTERVAL 7 DAY PRECEDING AND CURRENT ROW),
  day AS (PARTITION BY events.k ORDER BY events.event_at RANGE BETWEEN INTERVAL 24 HOUR PRECEDING AND CURRENT ROW)
"""
VIEW = FeatureView.model_validate(
    {
        "entity": "e",
        "sql": "rolling.sql",
        "ttl": "30d",
        "features": {
            "mean_7d": {"dtype": "float64", "unit": "score"},
            "sd_7d": {"dtype": "float64", "unit": "score", "min": 0, "nullable": True},
            "count_24h": {"dtype": "int64", "unit": "count", "min": 1},
        },
    }
)


def events(rows: int, *, entities: int = 50_000, seed: int = 0) -> pa.Table:
    """Irregular events of skewed entities over 180 days; each microsecond of an entity at most once."""
    chance = np.random.default_rng(seed)
    key = (entities * chance.random(rows) ** 2).astype(np.int64)
    at = 1_767_225_600_000_000 + np.sort(chance.choice(180 * 86_400_000, rows)) * 1000 + np.arange(rows) % 1000
    instants = pa.array(at, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    return pa.table({"k": key, "event_at": instants, "known_at": instants, "x": chance.standard_normal(rows)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-limit", default="4GB")
    parser.add_argument("--pandas", action="store_true", help="run pandas too (24 s for ten million rows)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        written: list[float] = []

        def note(point: str) -> None:
            if point == "publish.after_write":
                written.append(time.perf_counter())

        warehouse = Warehouse(Path(folder), clock=lambda: NOW, memory_limit=options.memory_limit, crash_at=note)
        source = warehouse.publish("b/source/events", events(options.rows))
        runs, audits = iter(range(1000)), list[float]()

        def by_hand(select: str) -> None:
            with sql.connect(memory_limit=options.memory_limit, temp_directory=warehouse.temp_directory) as connection:
                connection.execute(f"CREATE VIEW events AS {warehouse.relation(source)}")
                target = Path(folder) / f"hand_{next(runs)}.parquet"
                connection.execute(f"COPY ({select}) TO '{target}' (FORMAT parquet, COMPRESSION lz4_raw)")

        def in_memory() -> None:
            with sql.connect(memory_limit=options.memory_limit, temp_directory=warehouse.temp_directory) as connection:
                connection.execute(f"CREATE VIEW events AS {warehouse.relation(source)}")
                connection.execute(f"CREATE TEMP TABLE held AS {SELECT}")

        def library() -> None:
            name = TableName("b", "features", f"rolling_{next(runs)}")
            run_view(warehouse, name, VIEW, entity=Entity(keys={"k": "int64"}), text=SELECT, sources={"events": source})
            audits.append(time.perf_counter() - written[-1])

        def by_pandas() -> pd.DataFrame:
            frame = warehouse.frame(source).sort_values(["k", "event_at"]).set_index("event_at")
            group = frame.groupby("k")["x"]
            week = group.rolling(timedelta(days=7))
            return pd.DataFrame({"mean": week.mean(), "sd": week.std(), "n": group.rolling("24h").count()})

        engines = {
            "by hand, unsorted": lambda: by_hand(SELECT),
            "by hand, sorted": lambda: by_hand(f"SELECT * FROM ({SELECT}) ORDER BY k, known_at, event_at"),
            "by hand, in memory": in_memory,
            "forecastle feature view": library,
        }
        engines |= {"pandas": by_pandas} if options.pandas else {}
        seconds: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(options.repeats):  # in turns, so that other work on the machine meets all of them
            for name, engine in engines.items():
                seconds[name] += measure_seconds(engine, repeats=1)
    table = [
        {
            "engine": name,
            "median_s": statistics.median(s),
            "times unsorted": median_ratio(seconds["by hand, unsorted"], s),
            "times sorted": median_ratio(seconds["by hand, sorted"], s),
            "times in memory": median_ratio(seconds["by hand, in memory"], s),
            "times sorted, by rounds": _by_rounds(s, seconds["by hand, sorted"]),
        }
        for name, s in seconds.items()
    ]
    audit = f"audit {statistics.median(audits):.2f} s, load average {os.getloadavg()[0]:.1f}"
    print_table(f"rolling features over {options.rows:,} events ({audit})", table, packages=("duckdb", "pandas"))


def _by_rounds(ours: list[float], peers: list[float]) -> float:
    return statistics.median(our / peer for our, peer in zip(ours, peers, strict=True))


if __name__ == "__main__":
    main()
