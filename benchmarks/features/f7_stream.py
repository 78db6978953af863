"""F7: from an event's acknowledgement by the push queue to its features readable online, at a steady rate.

    python -m benchmarks.features.f7_stream --seconds 20

A producer in a process of its own queues events at a fixed rate for 1,000 markets; the worker takes them, stores them,
computes ten window features of every market they touch with DuckDB and writes them online. An event's latency ends when
the store holds a row of its market that is as new as the event. A feature update is a new value of one feature of one
entity: each event is ten of them, so 10,000 updates/s are 1,000 events/s; 10,000 events/s are shown beside it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.features.redis_server import redis_url
from benchmarks.table import print_table
from forecastle.contract.clock import system_clock
from forecastle.contract.load import LoadedSystem, load_system
from forecastle.store.events import EventQueue
from forecastle.store.home import Home
from forecastle.store.online import OnlineView
from forecastle.store.online_stores import open_online
from forecastle.store.push import online_view
from forecastle.store.stream_inputs import PushInput, push_events
from forecastle.store.stream_log import StreamLog
from forecastle.store.streams import Step, StreamWorker, lock_path
from forecastle.store.warehouse import Warehouse

MARKETS = 1_000
BATCH = 50
STATISTICS = ("COUNT", "AVG", "MIN", "MAX", "SUM")
WINDOWS = {"1m": "1 MINUTE", "5m": "5 MINUTE"}
FEATURES = [f"{statistic.lower()}_{window}" for window in WINDOWS for statistic in STATISTICS]
DECLARATION = """
system: ticks
description: Will the next tick be up?
owner: team:benchmarks
entity: {{market: {{keys: {{market_id: int64}}}}}}
sources:
  ticks:
    kind: stream
    history: 6m
    event_at: ticked_at
    known_at: {{delay: 0s}}
    key: [tick_id]
    columns:
      tick_id: {{dtype: int64, unit: id}}
      market_id: {{dtype: int64, unit: id}}
      ticked_at: {{dtype: timestamp, unit: utc}}
      price: {{dtype: float64, unit: probability, min: 0, max: 1}}
feature_views:
  windows:
    entity: market
    sql: windows.sql
    ttl: 1h
    stream: ticks
    features: {{{features}}}
label: {{sql: up.sql, matures: 1d}}
models: {{plain: {{estimator: lightgbm.LGBMClassifier}}}}
evaluate: {{split: {{embargo: 1d}}, baseline: avg_1m}}
gates: {{miscalibration_max: 0.1, suspicious_gain: 0.5}}
drift: {{window: 7d}}
retrain: {{schedule: "0 3 * * *", max_age: 7d}}
"""


def write_system(folder: Path) -> LoadedSystem:
    folder.mkdir(parents=True)
    features = ", ".join(f"{name}: {{dtype: float64, unit: probability}}" for name in FEATURES)
    # Decimals: sums of floats over a part of the history would end in other digits than the batch's.
    windows = ",\n  ".join(
        f"CAST({statistic}(CAST(ticks.price AS DECIMAL(18, 6)))"
        " OVER (PARTITION BY ticks.market_id ORDER BY ticks.event_at RANGE BETWEEN"
        f" INTERVAL {span} PRECEDING AND CURRENT ROW) AS DOUBLE) AS {statistic.lower()}_{window}"
        for window, span in WINDOWS.items()
        for statistic in STATISTICS
    )
    times = "ticks.event_at AS event_at, ticks.known_at AS known_at"
    (folder / "system.yaml").write_text(DECLARATION.format(features=features))
    (folder / "windows.sql").write_text(f"SELECT ticks.market_id AS market_id, {times},\n  {windows}\nFROM ticks\n")
    (folder / "up.sql").write_text(
        "SELECT ticks.market_id AS market_id, ticks.event_at AS predict_at, CAST(1 AS BIGINT) AS outcome,"
        " ticks.known_at AS known_at FROM ticks\n"
    )
    return load_system(folder)


def produce(path: Path, *, rate: int, seconds: float) -> None:
    """Queue events at a fixed rate; an event's time is that of its batch."""
    queue, chance = EventQueue(path), np.random.default_rng(0)
    began, sent = time.monotonic(), 0
    while (due := began + sent / rate) < began + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        at = datetime.now(UTC).isoformat()
        markets, prices = chance.integers(0, MARKETS, BATCH).tolist(), chance.random(BATCH).round(4).tolist()
        bodies = [
            msgspec.json.encode({"tick_id": sent + n, "market_id": m, "ticked_at": at, "price": p})
            for n, (m, p) in enumerate(zip(markets, prices, strict=True))
        ]
        push_events(queue, "ticks", bodies, ids=[str(sent + n) for n in range(BATCH)], now_us=0)
        sent += BATCH
    queue.close()


class Probe:
    """Hears of every step and asks the store, as serving would, how new each market's row is."""

    def __init__(self, view: OnlineView, *, home: Home, url: str) -> None:
        self.view = view
        self.reader = open_online(url, path=home.online("ticks"), system="ticks", read_only=True)
        self.latencies: list[float] = []
        self.events = 0
        self.first_at: float | None = None
        self.last_at = 0.0
        self._seen: dict[int, int] = {}

    def __call__(self, step: Step) -> None:
        """Note how old the newest event of every tenth market is, when its row has changed."""
        if not step.stored:
            return
        self.events += step.stored
        now = time.time()
        self.first_at, self.last_at = self.first_at or now, now
        for market in range(0, MARKETS, 10):
            row = self.reader.read([self.view], (market,))["windows"]
            if row is not None and row.event_at_us != self._seen.get(market):
                self._seen[market] = row.event_at_us
                self.latencies.append(now - row.event_at_us / 1e6)

    def told(self) -> Mapping[str, object]:
        """What was done a second, and latencies."""
        events_per_second = self.events / max(self.last_at - (self.first_at or 0), 1e-9)
        return {
            "events/s done": events_per_second,
            "feature updates/s": len(FEATURES) * events_per_second,
            "p50 s": float(np.quantile(self.latencies, 0.5)),
            "p99 s": float(np.quantile(self.latencies, 0.99)),
        }


def measure(name: str, url: str, *, rate: int, seconds: float) -> Mapping[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home").create()
        system = write_system(Path(folder) / "ticks")
        queue, log = EventQueue(home.pushed("ticks")), StreamLog(home.streams("ticks"))
        online = open_online(url, path=home.online("ticks"), system="ticks")
        declared = system.declaration
        view = online_view("windows", declared.feature_views["windows"], declared.entity["market"])
        online.write(view, [])
        probe, stop = Probe(view, home=home, url=url), threading.Event()
        worker = StreamWorker(
            system,
            warehouse=Warehouse(home.warehouse, clock=system_clock),
            online=online,
            log=log,
            inputs={"ticks": PushInput(queue, "ticks")},
            clock=system_clock,
            lock=lock_path(home, "ticks"),
        )
        with worker:
            thread = threading.Thread(target=worker.run, args=(stop,), kwargs={"on_step": probe})
            thread.start()
            options = ["--produce", str(home.pushed("ticks")), "--rate", str(rate), "--seconds", str(seconds)]
            subprocess.run([sys.executable, "-m", "benchmarks.features.f7_stream", *options], check=True)
            behind = worker.lag()[0].waiting
            while worker.lag()[0].waiting:
                time.sleep(0.1)
            time.sleep(1.0)
            stop.set()
            thread.join()
        for opened in (queue, log, online, probe.reader):
            opened.close()
    return {"online store": name, "events/s sent": rate, **probe.told(), "waiting at the end": behind}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--produce", type=Path)
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    if options.produce:
        produce(options.produce, rate=options.rate, seconds=options.seconds)
        return
    with redis_url() as url:
        stores = {"SQLite": "", **({"Redis": url} if url else {})}
        rates = [options.rate] if options.rate else [1_000, 5_000, 10_000]
        rows = [
            measure(name, store, rate=rate, seconds=options.seconds) for name, store in stores.items() for rate in rates
        ]
    print_table("event in → features readable online, 1,000 markets, 10 window features", rows, packages=("duckdb",))


if __name__ == "__main__":
    main()
