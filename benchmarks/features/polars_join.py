"""F1's Polars peer: the join as one writes it in Polars, run by another interpreter, since Polars is no dependency.

    python polars_join.py '{"views": [{"path": …, "ttl_days": 7, "features": […]}], "labels": …, "output": …}'

Prints the seconds from the files to the joined frame; then writes the frame. Needs polars and nothing else.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import polars as pl


def joined(world: dict[str, Any]) -> pl.DataFrame:
    """The features of each label row, in the labels' order."""
    labels = pl.scan_parquet(world["labels"]).sort("predict_at", maintain_order=True)
    parts = [_one(labels, view) for view in world["views"]]
    return pl.concat(pl.collect_all(parts), how="horizontal")


def _one(labels: pl.LazyFrame, view: dict[str, Any]) -> pl.LazyFrame:
    rows = pl.scan_parquet(view["path"]).with_columns(usable_at=pl.max_horizontal("event_at", "known_at"))
    rows = rows.sort("k", "usable_at", "event_at", "known_at", maintain_order=True)
    event = pl.col("event_at").to_physical()
    rows = rows.filter(event == event.cum_max().over("k")).unique(["k", "usable_at"], keep="last", maintain_order=True)
    found = labels.join_asof(
        rows.sort("usable_at"), left_on="predict_at", right_on="usable_at", by="k", check_sortedness=False
    )
    fresh = pl.col("event_at") > pl.col("predict_at") - pl.duration(days=view["ttl_days"])
    kept = [pl.when(fresh).then(pl.col(name)).alias(name) for name in view["features"]]
    return found.select("n", *kept).sort("n").select(view["features"])


def main() -> None:
    world = json.loads(sys.argv[1])
    began = time.perf_counter()
    frame = joined(world)
    print(time.perf_counter() - began)
    frame.write_parquet(world["output"])


if __name__ == "__main__":
    main()
