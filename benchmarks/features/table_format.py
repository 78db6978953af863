"""The measurements behind docs/decisions/0002-table-format.md: writing and opening a table version.

    python -m benchmarks.features.table_format

One table of 1,000,000 rows × 11 columns; ours includes audit, two hashes and flushing to disk.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import duckdb
from deltalake import DeltaTable, write_deltalake

from benchmarks.table import measure_seconds, print_table
from forecastle.store import sql
from forecastle.store.warehouse import Warehouse

COLUMNS = "i, TIMESTAMPTZ '2026-01-01' + INTERVAL 1 SECOND * i AS at, " + ", ".join(
    f"hash(i, {n})::DOUBLE / 1e19 AS f{n}" for n in range(9)
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--versions", type=int, default=50, help="versions of a small table before it is opened")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        warehouse = Warehouse(folder / "warehouse", clock=lambda: datetime(2026, 6, 1, tzinfo=UTC), memory_limit="4GB")
        writing = _writing(folder, warehouse, rows=options.rows, repeats=options.repeats)
        opening = _opening(folder, warehouse, options.versions)
    print_table(f"writing {options.rows:,} rows × 11 columns", writing, packages=("duckdb", "deltalake"))
    print_table(f"opening a table of {options.versions} versions", opening, packages=("duckdb", "deltalake"))


def _writing(folder: Path, warehouse: Warehouse, *, rows: int, repeats: int) -> list[dict[str, object]]:
    numbers = count()
    with closing(sql.connect(memory_limit="4GB")) as connection:
        connection.execute(f"CREATE TABLE t AS SELECT {COLUMNS} FROM range({rows}) r(i)")

        def parquet() -> None:
            connection.execute(f"COPY t TO '{folder}/{next(numbers)}.parquet' (FORMAT parquet, COMPRESSION zstd)")

        def delta() -> None:
            write_deltalake(f"{folder}/delta", connection.sql("SELECT * FROM t").to_arrow_reader(), mode="overwrite")

        def database() -> None:
            connection.execute(f"ATTACH '{folder}/{next(numbers)}.duckdb' AS d")
            connection.execute("CREATE TABLE d.t AS SELECT * FROM t")
            connection.execute("DETACH d")

        def publish() -> None:
            query = f"SELECT * REPLACE (i + {next(numbers)} AS i) FROM t"
            warehouse.publish("bench/table/large", query, connection=connection)

        writers: dict[str, Callable[[], None]] = {
            "Parquet file (DuckDB COPY)": parquet,
            "Delta (write_deltalake)": delta,
            "DuckDB file": database,
            "forecastle publish (Delta, audited, hashed, flushed)": publish,
        }
        return [
            {"write": name, "median_s": sorted(measure_seconds(write, repeats=repeats))[repeats // 2]}
            for name, write in writers.items()
        ]


def _opening(folder: Path, warehouse: Warehouse, versions: int) -> list[dict[str, object]]:
    with duckdb.connect() as connection:
        for number in range(versions):
            warehouse.publish("bench/table/small", f"SELECT {number} AS a", connection=connection)
    path = str(folder / "warehouse" / "bench" / "table" / "small")

    def fresh() -> Warehouse:
        return Warehouse(folder / "warehouse", clock=lambda: datetime(2026, 6, 1, tzinfo=UTC))

    readers: dict[str, Callable[[], object]] = {
        "DeltaTable(path)": lambda: DeltaTable(path),
        "DeltaTable(path).history()": lambda: DeltaTable(path).history(),
        "forecastle version()": lambda: fresh().version("bench/table/small"),
        "forecastle versions()": lambda: fresh().versions("bench/table/small"),
    }
    return [
        {"open": name, "median_ms": 1000 * sorted(measure_seconds(read, repeats=9))[4]}
        for name, read in readers.items()
    ]


if __name__ == "__main__":
    main()
