"""F1 and F2: the point-in-time join of three views, ours beside pandas merge_asof and the naive inequality join.

    python -m benchmarks.features.f1_point_in_time --rows 1000000 --labels 100000

Every engine answers the same bitemporal question from the same Parquet files; answers are compared value for value.
`--rows 10000000 --labels 1000000` is row F1, `--labels 100000` row F2.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd

from benchmarks.features.world import FEATURES, TTL_DAYS, World, make_world
from benchmarks.table import measure_seconds, median_ratio, print_table
from forecastle.store import sql
from forecastle.store.point_in_time import ViewJoin, point_in_time_join
from forecastle.store.reduced import open_reduced, reduced_join, write_reduced


def names(number: int) -> list[str]:
    return [f"v{number}_f{i}" for i in range(FEATURES)]


class Ours:
    """The library's join over the views' files."""

    def __init__(self, world: World, *, memory_limit: str) -> None:
        self.world = world
        self.memory_limit = memory_limit

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A connection that sees the labels and every view."""
        spill = self.world.labels.parent / "spill"
        connection = sql.connect(memory_limit=self.memory_limit, temp_directory=spill)
        connection.execute(f"CREATE TEMP VIEW labels AS SELECT * FROM read_parquet('{self.world.labels}')")
        for number, path in enumerate(self.world.views):
            rows = f"SELECT *, file_row_number AS n FROM read_parquet('{path}', file_row_number = true)"
            connection.execute(f"CREATE TEMP VIEW view_{number} AS {rows}")
        return connection

    def __call__(self) -> pd.DataFrame:
        """Join all views."""
        with self.connect() as connection:
            views = [
                ViewJoin(f"v{i}", f"view_{i}", ("k",), timedelta(days=TTL_DAYS[i]), tuple(names(i)), "n")
                for i in range(len(self.world.views))
            ]
            point_in_time_join(connection, "labels", views, output="joined")
            return self.features(connection)

    def features(self, connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
        """The 30 joined features."""
        columns = sql.column_list([c for number in range(len(self.world.views)) for c in names(number)])
        return connection.sql(f"SELECT {columns} FROM joined").to_arrow_table().to_pandas()


class Reduced(Ours):
    """The library's join over views that were reduced once."""

    def write(self) -> None:
        """Reduce each view, once."""
        with self.connect() as connection:
            for number in range(len(self.world.views)):
                chosen = sql.column_list(["k", "event_at", "known_at", *names(number)])
                connection.execute(f"CREATE TEMP VIEW rows_{number} AS SELECT {chosen} FROM view_{number}")
                folder = self.world.labels.parent / f"reduced_{number}"
                write_reduced(connection, f"rows_{number}", f"v{number}", keys=("k",), folder=folder)
        self.opened = [open_reduced(self.world.labels.parent / f"reduced_{i}") for i in range(len(self.world.views))]

    def __call__(self) -> pd.DataFrame:
        """Join all views."""
        with self.connect() as connection:
            ttls = [timedelta(days=days) for days in TTL_DAYS]
            reduced_join(connection, "labels", list(zip(self.opened, ttls, strict=True)), output="joined")
            return self.features(connection)


def naive(world: World) -> pd.DataFrame:
    """What one writes first: every label meets every row of its entity, the best one is kept."""
    with sql.connect(memory_limit="8GB", temp_directory=world.labels.parent / "spill") as connection:
        parts = []
        for number, path in enumerate(world.views):
            order = "(event_at, known_at, v.file_row_number)"
            best = ", ".join(f"arg_max_null({c}, {order}) AS {c}" for c in names(number))
            parts.append(
                f"SELECT l.n, {best} FROM read_parquet('{world.labels}') l"
                f" LEFT JOIN read_parquet('{path}', file_row_number = true) v"
                f" ON l.k = v.k AND v.known_at <= l.predict_at AND v.event_at <= l.predict_at"
                f" AND v.event_at > l.predict_at - INTERVAL {TTL_DAYS[number]} DAY GROUP BY l.n"
            )
        joined = " JOIN ".join(f"({part}) p{i}" + (" USING (n)" if i else "") for i, part in enumerate(parts))
        return connection.sql(f"SELECT * EXCLUDE (n) FROM {joined} ORDER BY n").df()


def pandas_merge_asof(world: World) -> pd.DataFrame:
    """The same reduction written in pandas, then merge_asof view by view."""
    labels = pd.read_parquet(world.labels)
    ordered = labels.sort_values("predict_at", kind="stable")
    parts = []
    for number, path in enumerate(world.views):
        rows = pd.read_parquet(path)
        rows["usable_at"] = rows[["event_at", "known_at"]].max(axis=1)
        rows = rows.sort_values(["k", "usable_at", "event_at", "known_at"], kind="stable")
        newest = rows.groupby("k")["event_at"].cummax()
        rows = rows[rows["event_at"] == newest].drop_duplicates(["k", "usable_at"], keep="last")
        rows = rows.sort_values("usable_at", kind="stable")
        found = pd.merge_asof(ordered, rows, left_on="predict_at", right_on="usable_at", by="k")
        stale = ~(found["event_at"] > found["predict_at"] - pd.Timedelta(days=TTL_DAYS[number]))
        values = found[names(number)].mask(stale)
        parts.append(values.set_index(ordered.index).sort_index())
    return pd.concat(parts, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="feature rows in all three views")
    parser.add_argument("--labels", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory-limit", default="2GB", help="DuckDB's limit for our join")
    parser.add_argument("--skip-naive", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Path(folder), rows=options.rows, labels=options.labels)
        ours = Ours(world, memory_limit=options.memory_limit)
        reduced = Reduced(world, memory_limit=options.memory_limit)
        once = measure_seconds(reduced.write, repeats=1)[0]
        engines: dict[str, Callable[[], pd.DataFrame]] = {"forecastle": ours, "forecastle, reduced view": reduced}
        engines["pandas merge_asof"] = lambda: pandas_merge_asof(world)
        if not options.skip_naive:
            engines["DuckDB inequality join"] = lambda: naive(world)
        seconds = {name: measure_seconds(engine, repeats=options.repeats) for name, engine in engines.items()}
        truth = ours()
        table = [
            {
                "engine": name,
                "median_s": sorted(measured)[len(measured) // 2],
                "times ours": median_ratio(seconds["forecastle"], measured),
                "rows that differ": int(
                    (~((truth == (got := engines[name]())) | (truth.isna() & got.isna()))).any(axis=1).sum()
                ),
            }
            for name, measured in seconds.items()
        ]
    size = f"{options.rows:,} feature rows, {options.labels:,} labels, 30 features"
    title = f"point-in-time join: {size} (reducing once: {once:.1f} s)"
    print_table(title, table, packages=("duckdb", "pandas", "numpy"))


if __name__ == "__main__":
    main()
