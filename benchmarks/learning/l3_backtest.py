"""L3: a walk-forward backtest with a retraining a day: is it linear, and is feature work repeated for each date?

    python -m benchmarks.learning.l3_backtest --days 180

Rows were joined once, as of their own predict_at; a cut only chooses among them. Target: linear (core seconds a cut of the
second half, with more rows behind it, per row seen, not above those of the first), and no feature work for any date.
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
from forecastle.store import feature_views, training_set

PENALISED = "{estimator: sklearn.linear_model.LogisticRegression, params: {C: 0.1}, preprocess: standard}"


class Nothing:
    """Keeps no answers, so that every cut is computed."""

    def read(self, _cut: Cut, *, model: str, inputs: str) -> pd.DataFrame | None:  # noqa: ARG002
        """None: nothing was kept."""
        return None

    def keep(self, _cut: Cut, _rows: pd.DataFrame, *, model: str, inputs: str) -> None:  # noqa: ARG002
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
        joins = _count_feature_work()
        first, second = cuts[: len(cuts) // 2], cuts[len(cuts) // 2 :]
        rows = [_half(system, frame, part, name) for part, name in ((first, "first half"), (second, "second half"))]
    for row in rows:
        row["feature work"] = len(joins)
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


def _count_feature_work() -> list[str]:
    """From now on each join of features and each view that is made leaves its name in the list that is returned."""
    calls: list[str] = []

    def counted(name: str) -> Any:
        def inner(*_given: Any, **_named: Any) -> None:
            calls.append(name)

        return inner

    feature_views.publish_view = counted("publish_view")
    training_set.draft_training_set = counted("draft_training_set")
    return calls


if __name__ == "__main__":
    main()
