"""Row S4: bootstrap intervals of Brier, log loss, AUC and ECE, 1,000 resamples of 100,000 rows.

Belongs here: our time by rows and by clusters, beside index resampling with scikit-learn's metrics.
Does not belong here: correctness, which `tests/measure/test_bootstrap.py` shows.
Run with `python -m benchmarks.statistics.s4_bootstrap`.
"""

from __future__ import annotations

import statistics

import numpy as np
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from benchmarks.table import measure_seconds, print_table
from forecastle.measure.bootstrap import score_intervals

ROWS, RESAMPLES, PEER_RESAMPLES, TARGET_SECONDS = 100_000, 1_000, 10, 10.0


def main() -> None:
    """Print one line for each way of resampling."""
    rng = np.random.default_rng(0)
    p = rng.random(ROWS)
    y = (rng.random(ROWS) < p).astype(float)
    day = rng.integers(0, 2_000, ROWS)

    def by_index() -> None:
        for _ in range(PEER_RESAMPLES):
            picked = rng.integers(0, ROWS, ROWS)
            brier_score_loss(y[picked], p[picked])
            log_loss(y[picked], p[picked])
            roc_auc_score(y[picked], p[picked])

    peer = statistics.median(measure_seconds(by_index, repeats=3)) * RESAMPLES / PEER_RESAMPLES
    rows = []
    for name, clusters in (("rows", None), ("2,000 clusters", day)):
        ours = statistics.median(
            measure_seconds(
                lambda labels=clusters: score_intervals(y, p, clusters=labels, resamples=RESAMPLES, seed=1),
                repeats=3,
            )
        )
        rows.append(
            {
                "resampled": name,
                "ours, four scores (s)": ours,
                "target (s)": TARGET_SECONDS,
                "scikit-learn, three scores (s, extrapolated)": peer,
                "ratio": peer / ours,
            }
        )
    print_table("S4 bootstrap intervals", rows, packages=("numpy", "scipy", "scikit-learn"))


if __name__ == "__main__":
    main()
