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
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
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


class Rolling:
    """One world of events and every way to make the view of it."""

    def __init__(self, folder: Path, *, rows: int, memory_limit: str) -> None:
        self.folder, self.memory_limit = folder, memory_limit
        self.audits: list[float] = []
        self._written_at, self._runs = 0.0, itertools.count()
        self.warehouse = Warehouse(folder, clock=lambda: NOW, memory_limit=memory_limit, crash_at=self._note)
        self.source = self.warehouse.publish("b/source/events", events(rows))

    def engines(self, *, with_pandas: bool) -> dict[str, Callable[[], object]]:
        """Name → the whole work once."""
        ordered = f"SELECT * FROM ({SELECT}) ORDER BY k, known_at, event_at"
        found: dict[str, Callable[[], object]] = {
            "by hand, unsorted": lambda: self.by_hand(self._to_file(SELECT)),
            "by hand, sorted": lambda: self.by_hand(self._to_file(ordered)),
            "by hand, in memory": lambda: self.by_hand(f"CREATE TEMP TABLE held AS {SELECT}"),
            "forecastle feature view": self.library,
        }
        return found | ({"pandas": self.by_pandas} if with_pandas else {})

    def by_hand(self, statement: str) -> None:
        """One statement over the events, by DuckDB alone."""
        with sql.connect(memory_limit=self.memory_limit, temp_directory=self.warehouse.temp_directory) as connection:
            connection.execute(f"CREATE VIEW events AS {self.warehouse.relation(self.source)}")
            connection.execute(statement)

    def library(self) -> None:
        """The view, audited and published."""
        name = TableName("b", "features", f"rolling_{next(self._runs)}")
        entity = Entity(keys={"k": "int64"})
        run_view(self.warehouse, name, VIEW, entity=entity, text=SELECT, sources={"events": self.source})
        self.audits.append(time.perf_counter() - self._written_at)

    def by_pandas(self) -> pd.DataFrame:
        """The same by rolling windows of groups."""
        frame = self.warehouse.frame(self.source).sort_values(["k", "event_at"]).set_index("event_at")
        group = frame.groupby("k")["x"]
        week = group.rolling(timedelta(days=7))
        return pd.DataFrame({"mean": week.mean(), "sd": week.std(), "n": group.rolling("24h").count()})

    def _to_file(self, select: str) -> str:
        target = self.folder / f"hand_{next(self._runs)}.parquet"
        return f"COPY ({select}) TO '{target}' (FORMAT parquet, COMPRESSION lz4_raw)"

    def _note(self, point: str) -> None:
        if point == "publish.after_write":
            self._written_at = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-limit", default="4GB")
    parser.add_argument("--pandas", action="store_true", help="run pandas too (24 s for ten million rows)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = Rolling(Path(folder), rows=options.rows, memory_limit=options.memory_limit)
        engines = world.engines(with_pandas=options.pandas)
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
    title = f"rolling features over {options.rows:,} events (audit {statistics.median(world.audits):.2f} s)"
    print_table(title, table, packages=("duckdb", "pandas"))


def _by_rounds(ours: list[float], peers: list[float]) -> float:
    return statistics.median(our / peer for our, peer in zip(ours, peers, strict=True))


if __name__ == "__main__":
    main()
