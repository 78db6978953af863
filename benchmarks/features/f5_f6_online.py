"""F5 and F6: writing to and reading from the online stores, beside a bare dict, one row per value, and Feast.

    python -m benchmarks.features.f5_f6_online --entities 20000

20,000 entities × 30 float64 features in 3 views; "one row per value" is the shape many hand-made stores start with.
Feast writes and reads its own SQLite store by its own interpreter (`--feast-python`).
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.features.redis_server import redis_url
from benchmarks.table import print_table
from forecastle.store.online import OnlineView
from forecastle.store.online_redis import RedisOnlineStore
from forecastle.store.online_sqlite import SQLiteOnlineStore

VIEWS = tuple(
    OnlineView(f"view_{v}", {"entity_id": "int64"}, {f"v{v}_f{i}": "float64" for i in range(10)}) for v in range(3)
)
Rows = list[tuple[object, ...]]


def rows_of(entities: int, *, at_us: int, seed: int) -> Rows:
    values = np.random.default_rng(seed).standard_normal((entities, 10)).tolist()
    return [(entity, at_us, at_us, *features) for entity, features in enumerate(values)]


class OneRowPerValue:
    """SQLite, WAL, a row per (entity, feature)."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute(
            "CREATE TABLE v (entity INTEGER, feature TEXT, at INTEGER, value REAL, PRIMARY KEY (entity, feature))"
            " WITHOUT ROWID"
        )

    def write(self, view: OnlineView, rows: Rows) -> None:
        """Store where nothing newer is."""
        flat = [(r[0], f, r[1], value) for r in rows for f, value in zip(view.features, r[3:], strict=True)]
        self.connection.execute("BEGIN")
        self.connection.executemany(
            "INSERT INTO v VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value, at = excluded.at"
            " WHERE excluded.at >= v.at",
            flat,
        )
        self.connection.execute("COMMIT")

    def read(self, entity: int) -> dict[str, float]:
        """Everything of one entity."""
        return dict(self.connection.execute("SELECT feature, value FROM v WHERE entity = ?", (entity,)).fetchall())


class Dict:
    """No store at all: the floor."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, object], tuple[object, ...]] = {}

    def write(self, view: OnlineView, rows: Rows) -> None:
        """Store where nothing newer is."""
        for row in rows:
            key = (view.name, row[0])
            stored = self.rows.get(key)
            if stored is None or row[1:3] >= stored[1:3]:
                self.rows[key] = row

    def read(self, entity: int) -> list[tuple[object, ...]]:
        """Everything of one entity."""
        return [self.rows[view.name, entity] for view in VIEWS]


def percentiles_us(call: Callable[[int], object], *, entities: int, count: int) -> tuple[float, float]:
    chosen = np.random.default_rng(1).integers(0, entities, count).tolist()
    taken = []
    for entity in chosen:
        started = time.perf_counter()
        call(entity)
        taken.append(1e6 * (time.perf_counter() - started))
    cuts = statistics.quantiles(taken, n=100)
    return cuts[49], cuts[98]


def values_per_second(write: Callable[[OnlineView, Rows], object], entities: int, *, batch: int, at_us: int) -> float:
    rows = {view.name: rows_of(entities, at_us=at_us, seed=batch) for view in VIEWS}
    started = time.perf_counter()
    for view in VIEWS:
        for start in range(0, entities, batch):
            write(view, rows[view.name][start : start + batch])
    return 30 * entities / (time.perf_counter() - started)


def measured(
    write: Callable[[OnlineView, Rows], object], read: Callable[[int], object], *, entities: int, reads: int
) -> Mapping[str, object]:
    """One store's line: values written a second by size of batch, microseconds of a read."""
    bulk = values_per_second(write, entities, batch=entities, at_us=1)
    batched = values_per_second(write, entities, batch=100, at_us=2)
    single = values_per_second(write, entities // 10, batch=1, at_us=3)
    p50, p99 = percentiles_us(read, entities=entities, count=reads)
    return _line(batched, single, p50, p99, bulk=bulk)


def feast(python: str, *, entities: int, reads: int) -> Mapping[str, object]:
    """The same line of Feast's SQLite store, by an interpreter that has it."""
    script = str(Path(__file__).with_name("feast_online.py"))
    asked = json.dumps({"entities": entities, "reads": reads})
    done = subprocess.run([python, script, asked], check=True, capture_output=True, text=True)
    return _line(**json.loads(done.stdout.splitlines()[-1]))


def _line(batched: float, single: float, p50: float, p99: float, *, bulk: float | None = None) -> Mapping[str, object]:
    return {
        "bulk values/s": "" if bulk is None else bulk,
        "100-row batches values/s": batched,
        "single rows/s": single / 10,
        "read p50 us": p50,
        "read p99 us": p99,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=20_000)
    parser.add_argument("--reads", type=int, default=20_000)
    parser.add_argument("--feast-python", help="an interpreter that has feast[duckdb]; it gets a tenth of the work")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, redis_url() as url:
        path = Path(folder) / "ours.sqlite"
        ours, peer, floor = SQLiteOnlineStore(path), OneRowPerValue(Path(folder) / "eav.sqlite"), Dict()
        reader = SQLiteOnlineStore(path, read_only=True)
        engines = {
            "forecastle (SQLite, wide)": (ours.write, lambda entity: reader.read(VIEWS, (entity,))),
            "SQLite, one row per value": (peer.write, peer.read),
            "dict, no store": (floor.write, floor.read),
        }
        if url:
            remote = RedisOnlineStore(url, "bench")
            engines["forecastle (Redis, packed)"] = (remote.write, lambda entity: remote.read(VIEWS, (entity,)))
        else:
            print("redis-server is not installed: no row for Redis")
        size = {"entities": options.entities, "reads": options.reads}
        table = [{"store": name, **measured(write, read, **size)} for name, (write, read) in engines.items()]
        if options.feast_python:
            tenth = {name: number // 10 for name, number in size.items()}
            table.append({"store": "Feast (SQLite)", **feast(options.feast_python, **tenth)})
        ours.close()
        reader.close()
    print_table(f"online store: {options.entities:,} entities × 30 features in 3 views", table, packages=("numpy",))


if __name__ == "__main__":
    main()
