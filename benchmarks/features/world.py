"""The seeded world of the point-in-time benchmarks: three feature views with late and corrected rows, and labels.

Belongs here: generating the rows as Parquet files, the same for every engine.
Does not belong here: joining, timing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAYS: Final = 180
START_US: Final = 1_767_225_600_000_000
HOUR_US: Final = 3_600_000_000
SHARES: Final = (0.5, 0.35, 0.15)
TTL_DAYS: Final = (7, 30, 3650)
FEATURES: Final = 10


@dataclass(frozen=True, slots=True)
class World:
    """Files of one world: a path a view, and the labels'."""

    views: tuple[Path, ...]
    labels: Path


def make_world(
    folder: Path, *, rows: int, labels: int, entities: int = 50_000, seed: int = 0, only_names: bool = False
) -> World:
    """Write `rows` feature rows in three views and `labels` label rows over 180 days.

    15 % of feature rows are known hours or days late, 30 % arrive in hourly batches, 2 % are corrections of the event
    before; entities are skewed; 1 % of labels are of unknown entities. `only_names`: the files are there already.
    """
    if only_names:
        return World(
            tuple(folder / f"view_{number}.parquet" for number in range(len(SHARES))), folder / "labels.parquet"
        )
    chance = np.random.default_rng(seed)
    views = []
    for number, share in enumerate(SHARES):
        path = folder / f"view_{number}.parquet"
        pq.write_table(_view(chance, int(rows * share), entities, number), path)
        views.append(path)
    path = folder / "labels.parquet"
    key = _entities(chance, labels, entities)
    unknown = chance.random(labels) < 0.01
    at = START_US + chance.integers(0, DAYS * 24 * HOUR_US, labels)
    pq.write_table(
        pa.table(
            {"n": np.arange(labels), "k": np.where(unknown, key + 10 * entities, key), "predict_at": _instants(at)}
        ),
        path,
    )
    return World(tuple(views), path)


def _view(chance: np.random.Generator, rows: int, entities: int, number: int) -> pa.Table:
    event = START_US + chance.integers(0, DAYS * 24 * HOUR_US, rows)
    key = _entities(chance, rows, entities)
    corrected = np.flatnonzero(chance.random(rows) < 0.02)
    corrected = corrected[corrected > 0]
    event[corrected], key[corrected] = event[corrected - 1], key[corrected - 1]
    delay = chance.integers(1, 60_000_000, rows)
    late = chance.random(rows) < 0.15
    delay[late] = chance.integers(HOUR_US, 5 * 24 * HOUR_US, int(late.sum()))
    delay[corrected] += chance.integers(HOUR_US, 48 * HOUR_US, len(corrected))
    known = event + delay
    batched = chance.random(rows) < 0.3
    known[batched] = (known[batched] // HOUR_US + 1) * HOUR_US
    features = {f"v{number}_f{i}": chance.standard_normal(rows) for i in range(FEATURES)}
    return pa.table({"k": key, "event_at": _instants(event), "known_at": _instants(known), **features})


def _entities(chance: np.random.Generator, count: int, entities: int) -> np.ndarray:
    return (entities * chance.random(count) ** 2).astype(np.int64)


def _instants(microseconds: np.ndarray) -> pa.Array:
    return pa.array(microseconds, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
