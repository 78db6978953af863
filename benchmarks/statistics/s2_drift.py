"""Row S2: drift of 50 columns x 100,000 rows against stored references, five statistics and their tests each.

Belongs here: our table and what a team would write with SciPy, in one run. Does not belong here: Evidently, which does
not import beside pandas 3 (its figures in PERFORMANCE.md are quoted, not measured here).

    python -m benchmarks.statistics.s2_drift
"""

from __future__ import annotations

import statistics

import numpy as np
from scipy import stats

from benchmarks.table import measure_seconds, median_ratio, print_table
from forecastle.measure.drift import drift_table, reference

COLUMNS, ROWS, REPEATS = 50, 100_000, 5


def main() -> None:
    """Build the columns once, time each way over all of them."""
    rng = np.random.default_rng(20260601)
    before = {f"x{i}": rng.normal(size=ROWS) for i in range(COLUMNS)}
    now = {f"x{i}": rng.normal(0.01 * (i % 5), 1, ROWS) for i in range(COLUMNS)}
    sketched = {name: reference(values) for name, values in before.items()}
    complete = {name: reference(values, points=ROWS) for name, values in before.items()}
    presorted = {name: np.sort(values) for name, values in before.items()}
    seconds = {
        "Forecastle, KS + W1 + PSI + JS + Hellinger + tails + units": measure_seconds(
            lambda: drift_table(sketched, now), repeats=REPEATS
        ),
        "Forecastle, every reference value kept": measure_seconds(lambda: drift_table(complete, now), repeats=REPEATS),
        "SciPy ks_2samp": measure_seconds(
            lambda: [stats.ks_2samp(presorted[k], now[k], method="asymp") for k in now], repeats=REPEATS
        ),
        "SciPy wasserstein_distance": measure_seconds(
            lambda: [stats.wasserstein_distance(presorted[k], now[k]) for k in now], repeats=REPEATS
        ),
        "building the references": measure_seconds(
            lambda: [reference(values) for values in before.values()], repeats=REPEATS
        ),
    }
    ours = next(iter(seconds.values()))
    rows = [
        {"what": what, "median s": statistics.median(taken), "times ours": median_ratio(ours, taken)}
        for what, taken in seconds.items()
    ]
    print_table(f"S2 drift, {COLUMNS} columns x {ROWS:,} rows, target at most 1 s", rows)
    print(f"largest error of D by the sketch: {_sketch_error(sketched, complete, now):.1e}")


def _sketch_error(sketched, complete, now) -> float:
    a, b = drift_table(sketched, now).features["ks"], drift_table(complete, now).features["ks"]
    return float((a - b).abs().max())


if __name__ == "__main__":
    main()
