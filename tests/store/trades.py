"""A small system for tests of streams: trades of markets arrive one by one, prices come in a daily file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forecastle.contract.load import LoadedSystem, load_system

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=30)

DECLARATION = """
system: trades
description: Will the market resolve yes?
owner: team:tests
entity:
  market: {{keys: {{market_id: int64}}}}
sources:
  trades:
    kind: stream{origin}
    event_at: traded_at
    known_at: known_at
    key: [trade_id]
    columns:
      trade_id: {{dtype: int64, unit: id, min: 0}}
      mid: {{dtype: int64, unit: id, min: 0}}
      traded_at: {{dtype: timestamp, unit: utc}}
      price: {{dtype: float64, unit: probability, min: 0, max: 1}}
      side: {{dtype: string, unit: category, allowed: [buy, sell], nullable: true}}
      day: {{dtype: date, unit: date, nullable: true}}
      known_at: {{dtype: timestamp, unit: utc}}
  prices:
    kind: parquet
    path: "${{DATA}}/trades/prices.parquet"
    event_at: priced_at
    known_at: {{delay: 0s}}
    key: [mid, priced_at]
    columns:
      mid: {{dtype: int64, unit: id, min: 0}}
      priced_at: {{dtype: timestamp, unit: utc}}
      fair: {{dtype: float64, unit: probability, min: 0, max: 1}}
feature_views:
  activity:
    entity: market
    sql: activity.sql
    ttl: 3d
    stream: trades
    features:
      trades_24h: {{dtype: int64, unit: count, min: 0}}
      price_mean_24h: {{dtype: float64, unit: probability, min: 0, max: 1, nullable: true}}
      edge: {{dtype: float64, unit: ratio, min: -1, max: 1, nullable: true}}
label: {{sql: resolved.sql, matures: 1d}}
models:
  plain: {{estimator: lightgbm.LGBMClassifier}}
evaluate: {{split: {{embargo: 1d}}, baseline: price_mean_24h}}
gates: {{miscalibration_max: 0.1, suspicious_gain: 0.5}}
drift: {{window: 7d}}
retrain: {{schedule: "0 3 * * *", max_age: 7d}}
"""

ACTIVITY = """
-- One row per market and instant at which a trade became known, as of that instant.
WITH instants AS (
  SELECT DISTINCT trades.mid, trades.known_at FROM trades
),
recent AS (
  SELECT
    instants.mid,
    instants.known_at,
    MAX(trades.traded_at) AS traded_at,
    COUNT(CASE WHEN trades.traded_at > instants.known_at - INTERVAL 24 HOUR THEN trades.trade_id END) AS trades_24h,
    AVG(CASE WHEN trades.traded_at > instants.known_at - INTERVAL 24 HOUR THEN trades.price END
      ORDER BY trades.trade_id) AS price_mean_24h
  FROM instants
  INNER JOIN trades ON trades.mid = instants.mid AND trades.known_at <= instants.known_at
  GROUP BY instants.mid, instants.known_at
),
priced AS (
  SELECT recent.mid, recent.known_at, MAX(prices.fair) AS fair
  FROM recent
  INNER JOIN prices ON prices.mid = recent.mid AND prices.known_at <= recent.known_at
  GROUP BY recent.mid, recent.known_at
)
SELECT
  recent.mid AS market_id,
  recent.traded_at AS event_at,
  recent.known_at AS known_at,
  recent.trades_24h AS trades_24h,
  recent.price_mean_24h AS price_mean_24h,
  priced.fair - recent.price_mean_24h AS edge
FROM recent
LEFT JOIN priced ON priced.mid = recent.mid AND priced.known_at = recent.known_at
"""

RESOLVED = """
SELECT trades.mid AS market_id, trades.event_at AS predict_at, CAST(trades.price > 0.5 AS BIGINT) AS outcome,
  trades.known_at + INTERVAL 1 DAY AS known_at
FROM trades
"""


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade: minutes after START at which it happened, and how many later it was known."""

    trade_id: int
    mid: int
    minute: int
    price: float
    late: int = 1

    def event(self, **changes: Any) -> dict[str, Any]:
        traded_at = START + timedelta(minutes=self.minute)
        return {
            "trade_id": self.trade_id,
            "mid": self.mid,
            "traded_at": traded_at.isoformat(),
            "price": self.price,
            "side": "buy",
            "day": traded_at.date().isoformat(),
            "known_at": (traded_at + timedelta(minutes=self.late)).isoformat(),
            **changes,
        }

    def body(self, **changes: Any) -> bytes:
        return json.dumps(self.event(**changes)).encode()

    def at(self, minute: int) -> Trade:
        return replace(self, minute=minute)


def write_trades(folder: Path, *, origin: str = "") -> LoadedSystem:
    """Write the system's folder; `origin` is YAML beside `kind: stream`."""
    folder.mkdir(parents=True)
    (folder / "system.yaml").write_text(DECLARATION.format(origin=origin))
    (folder / "activity.sql").write_text(ACTIVITY)
    (folder / "resolved.sql").write_text(RESOLVED)
    return load_system(folder)


def write_prices(data: Path, *, markets: int = 5, days: int = 3) -> None:
    """One fair price a market and day."""
    rows = [(m, START + timedelta(days=d), (m + d + 1) / 20) for m in range(markets) for d in range(days)]
    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True))
    kinds = (pa.int64(), pa.timestamp("us", tz="UTC"), pa.float64())
    arrays = {n: pa.array(c, k) for n, c, k in zip(("mid", "priced_at", "fair"), columns, kinds, strict=True)}
    (data / "trades").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), data / "trades" / "prices.parquet")


def minutes(trades: Sequence[Trade]) -> int:
    """The minute by which all of them are known."""
    return max((trade.minute + trade.late for trade in trades), default=0)
