"""L3: a walk-forward backtest with a retraining a day: is it linear, and is feature work repeated for each date?

    python -m benchmarks.learning.l3_backtest --days 180

Target: linear in the rows that the cuts see, so a row seen costs the second half no more than the first. Feature work
cannot be repeated: a backtest is given rows that were joined once, each as of its own predict_at, and no warehouse.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.learning.world import NOW, plant_rows, write_plant
from benchmarks.table import print_table
from forecastle.contract.load import LoadedSystem
from forecastle.learn.backtest import Cut, plan_cuts, run_backtest, visible_rows

PENALISED = "{estimator: sklearn.linear_model.LogisticRegression, params: {C: 0.1}, preprocess: standard}"


class Nothing:
    """Keeps no answers, so that every cut is computed."""

    def read(self, _cut: Cut, *, model: str, inputs: str) -> pd.DataFrame | None:  # noqa: ARG002
        """None: nothing was kept."""
        return None

    def keep(self, _cut: Cut, _rows: pd.DataFrame, *, model: str, inputs: str) -> None:
        """Let go."""


def main() -> None:
    """Back-test in two halves and compare what a row of theirs cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    frame = plant_rows(options.rows)
    with tempfile.TemporaryDirectory() as folder:
        system = write_plant(Path(folder), models=f"  line: {PENALISED}\n")
        since = NOW - timedelta(days=options.days)
        cuts = plan_cuts(frame, every=timedelta(days=1), since=since, until=NOW)
        first, second = cuts[: len(cuts) // 2], cuts[len(cuts) // 2 :]
        rows = [_half(system, frame, part, name) for part, name in ((first, "first half"), (second, "second half"))]
    print_table("L3: a retraining a day", rows, packages=("scikit-learn", "pandas"))


def _half(system: LoadedSystem, frame: pd.DataFrame, cuts: tuple[Cut, ...], name: str) -> dict[str, Any]:
    embargo = system.declaration.evaluate.split.embargo
    seen = sum(len(visible_rows(frame, cut, embargo=embargo)) for cut in cuts)
    began = time.process_time()
    result = run_backtest(system, frame, model="line", cuts=cuts, kept=Nothing())
    spent = time.process_time() - began
    return {
        "cuts": name,
        "retrainings": result.computed,
        "core s": spent,
        "core s a retraining": spent / max(result.computed, 1),
        "rows seen": seen,
        "core µs a row seen": spent / seen * 1e6,
    }


if __name__ == "__main__":
    main()
