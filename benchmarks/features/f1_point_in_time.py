"""F1 and F2: the point-in-time join of three views, ours beside the best that is written by hand.

    python -m benchmarks.features.f1_point_in_time --rows 10000000 --labels 1000000 --polars-python PATH

Peers: DuckDB with narrow keys and a gather, DuckDB with wide ASOF joins, pandas merge_asof, Polars (by an interpreter
that has it: it is no dependency), Feast on DuckDB (likewise), the naive inequality join. Every engine but Feast, where
nothing has a knowledge time, answers the same bitemporal question from the same Parquet files, in turns; answers are
compared value for value. `--labels 100000` is row F2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
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

FEAST = "Feast, DuckDB (event time only)"


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


class ByHand:
    """SQL for DuckDB, written for just this question: rows that can ever win, then ASOF joins."""

    def __init__(self, world: World, *, memory_limit: str, is_wide: bool) -> None:
        self.world, self.memory_limit, self.is_wide = world, memory_limit, is_wide

    def __call__(self) -> pd.DataFrame:
        """Join all views."""
        spill = self.world.labels.parent / "spill"
        with sql.connect(memory_limit=self.memory_limit, temp_directory=spill) as connection:
            connection.execute(f"CREATE TEMP TABLE l AS SELECT * FROM read_parquet('{self.world.labels}')")
            part = self._wide if self.is_wide else self._narrow
            for number, path in enumerate(self.world.views):
                connection.execute(f"CREATE TEMP TABLE p{number} AS {part(number, path)}")
            joined = " JOIN ".join(f"p{i}" + (" USING (n)" if i else "") for i in range(len(self.world.views)))
            return connection.sql(f"SELECT * EXCLUDE (n) FROM {joined} ORDER BY n").to_arrow_table().to_pandas()

    def _winners(self, path: Path, carried: str) -> str:
        order = "usable_at, event_at, known_at, file_row_number"
        return (
            f"SELECT k, usable_at, event_at, {carried} FROM (SELECT *,"
            f" max(event_at) OVER (PARTITION BY k ORDER BY {order}"
            f" ROWS UNBOUNDED PRECEDING) AS newest, lead(usable_at) OVER (PARTITION BY k ORDER BY {order}) AS following"
            f" FROM (SELECT k, event_at, known_at, {carried}, file_row_number,"
            f" greatest(event_at, known_at) AS usable_at FROM read_parquet('{path}', file_row_number = true)))"
            " WHERE event_at = newest AND following IS DISTINCT FROM usable_at"
        )

    def _wide(self, number: int, path: Path) -> str:
        fresh = f"w.event_at > l.predict_at - INTERVAL {TTL_DAYS[number]} DAY"
        chosen = ", ".join(f"CASE WHEN {fresh} THEN w.{c} END AS {c}" for c in names(number))
        winners = self._winners(path, sql.column_list(names(number)))
        return f"SELECT l.n, {chosen} FROM l ASOF LEFT JOIN ({winners}) w ON l.k = w.k AND l.predict_at >= w.usable_at"

    def _narrow(self, number: int, path: Path) -> str:
        winners = self._winners(path, "file_row_number AS place")
        fresh = f"w.event_at > l.predict_at - INTERVAL {TTL_DAYS[number]} DAY"
        found = (
            f"SELECT l.n, CASE WHEN {fresh} THEN w.place END AS place"
            f" FROM l ASOF LEFT JOIN ({winners}) w ON l.k = w.k AND l.predict_at >= w.usable_at"
        )
        chosen = ", ".join(f"v.{c}" for c in names(number))
        rows = f"read_parquet('{path}', file_row_number = true)"
        return f"SELECT found.n, {chosen} FROM ({found}) found LEFT JOIN {rows} v ON v.file_row_number = found.place"


class Elsewhere:
    """A join by another interpreter, which measures itself: starting it is not counted."""

    def __init__(self, world: World, *, python: str, script: str) -> None:
        self.python, self.script = python, Path(__file__).with_name(script)
        self.output = world.labels.parent / f"{self.script.stem}.parquet"
        views = [
            {"path": str(path), "ttl_days": TTL_DAYS[i], "features": names(i)} for i, path in enumerate(world.views)
        ]
        self.world = json.dumps({"views": views, "labels": str(world.labels), "output": str(self.output)})
        self.seconds = 0.0

    def __call__(self) -> pd.DataFrame:
        """Join all views."""
        done = subprocess.run([self.python, str(self.script), self.world], check=True, capture_output=True, text=True)
        self.seconds = float(done.stdout.splitlines()[-1])
        return pd.read_parquet(self.output)


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
    parser.add_argument("--polars-python", help="an interpreter that has polars")
    parser.add_argument("--feast-python", help="an interpreter that has feast[duckdb]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Path(folder), rows=options.rows, labels=options.labels)
        reduced = Reduced(world, memory_limit=options.memory_limit)
        once = measure_seconds(reduced.write, repeats=1)[0]
        engines = {"forecastle, reduced view": reduced, **_engines(world, options)}
        seconds: dict[str, list[float]] = {name: [] for name in engines}
        answers: dict[str, pd.DataFrame] = {}
        for _ in range(options.repeats):  # in turns, so that other work on the machine meets all of them
            for name, engine in engines.items():
                measured = measure_seconds(lambda n=name, e=engine: answers.update({n: e()}), repeats=1)
                seconds[name] += [engine.seconds] if isinstance(engine, Elsewhere) else measured
        table = [
            {
                "engine": name,
                "median_s": statistics.median(measured),
                "times ours": median_ratio(seconds["forecastle"], measured),
                "times reduced": median_ratio(seconds["forecastle, reduced view"], measured),
                "rows that differ": "other rule" if name == FEAST else _differing(answers["forecastle"], answers[name]),
            }
            for name, measured in seconds.items()
        ]
    size = f"{options.rows:,} feature rows, {options.labels:,} labels, 30 features"
    title = f"point-in-time join: {size} (limit {options.memory_limit}, reducing once: {once:.1f} s"
    print_table(f"{title})", table, packages=("duckdb", "pandas", "numpy"))


def _engines(world: World, options: argparse.Namespace) -> dict[str, Callable[[], pd.DataFrame]]:
    limit = options.memory_limit
    engines: dict[str, Callable[[], pd.DataFrame]] = {
        "forecastle": Ours(world, memory_limit=limit),
        "DuckDB by hand, narrow and gather": ByHand(world, memory_limit=limit, is_wide=False),
        "DuckDB by hand, wide ASOF": ByHand(world, memory_limit=limit, is_wide=True),
        "pandas merge_asof": lambda: pandas_merge_asof(world),
    }
    if options.polars_python:
        engines["Polars"] = Elsewhere(world, python=options.polars_python, script="polars_join.py")
    if options.feast_python:
        engines[FEAST] = Elsewhere(world, python=options.feast_python, script="feast_join.py")
    if not options.skip_naive:
        engines["DuckDB inequality join"] = lambda: naive(world)
    return engines


def _differing(truth: pd.DataFrame, other: pd.DataFrame) -> int:
    return int((~((truth == other) | (truth.isna() & other.isna()))).any(axis=1).sum())


if __name__ == "__main__":
    main()
