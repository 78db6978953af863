"""F8: on-demand features of one row: the system's own NumPy functions on scalars, beside pandas and DuckDB.

    python -m benchmarks.features.f8_on_demand

Ten features by one function with named arguments, as serving calls it. Scalar answers are compared bit for bit with the
batch's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from benchmarks.table import print_table

ROWS = 100_000


def signals(a: Any, b: Any, c: Any, d: Any) -> dict[str, Any]:
    """Ten features such as declarations have: differences, ratios, logs, clips, flags."""
    with np.errstate(all="ignore"):
        spread = a - b
        ratio = np.divide(a, b)
        return {
            "spread": spread,
            "ratio": ratio,
            "log_ratio": np.log(ratio),
            "distance": np.abs(spread),
            "scaled": spread / (c + 1.0),
            "volume": np.log1p(c),
            "edge": np.minimum(np.maximum(a * d, 0.0), 1.0),
            "root": np.sqrt(c),
            "odds": np.divide(a, 1.0 - a),
            "is_dear": np.greater(a, b) * 1.0,
        }


SQL = """
SELECT a - b, a / b, ln(a / b), abs(a - b), (a - b) / (c + 1.0), ln(1 + c), least(greatest(a * d, 0.0), 1.0), sqrt(c),
  a / (1 - a), CAST(a > b AS DOUBLE)
FROM (SELECT ?::DOUBLE AS a, ?::DOUBLE AS b, ?::DOUBLE AS c, ?::DOUBLE AS d)
"""


def one_call(function: Callable[[], object], *, repeats: int) -> list[float]:
    """Microseconds of each call, sorted, after a tenth of them as warm-up."""
    found = []
    for number in range(repeats + repeats // 10):
        started = time.perf_counter_ns()
        function()
        if number >= repeats // 10:
            found.append((time.perf_counter_ns() - started) / 1000)
    return sorted(found)


def differing(columns: Mapping[str, np.ndarray]) -> int:
    """Values of the batch that a scalar call does not give bit for bit."""
    batch = signals(**columns)
    count = 0
    for row in range(0, ROWS, 7):
        one = signals(**{name: float(values[row]) for name, values in columns.items()})
        for name, value in one.items():
            count += np.float64(value).tobytes() != np.float64(batch[name][row]).tobytes()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20_000)
    options = parser.parse_args()
    chance = np.random.default_rng(0)
    columns = {name: chance.uniform(0.01, 0.99, ROWS) for name in "abcd"}
    given = {name: float(values[0]) for name, values in columns.items()}
    frame = pd.DataFrame({name: [value] for name, value in given.items()})
    engine = duckdb.connect()
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "NumPy functions on scalars (forecastle)": (lambda: signals(**given), options.repeats),
        "DuckDB execute": (lambda: engine.execute(SQL, list(given.values())).fetchall(), options.repeats // 20),
        "pandas, one-row frame": (lambda: pd.DataFrame(signals(**frame)), options.repeats // 20),
    }
    table = []
    for name, (call, repeats) in calls.items():
        micros = one_call(call, repeats=repeats)
        table.append({"engine": name, "p50 us": micros[len(micros) // 2], "p99 us": micros[len(micros) * 99 // 100]})
    table[0]["differing from batch"] = differing(columns)
    print_table("on-demand features, one row, ten features", table, packages=("numpy", "pandas", "duckdb"))


if __name__ == "__main__":
    main()
