"""Row S3: the anytime-valid comparison of two forecasters, all bounds of 25,165 pairs, and one more pair.

Belongs here: our time for every look at once and for one update after a short and a long history, beside root
finding look by look with SciPy's brentq.
Does not belong here: correctness, which `tests/measure/test_confidence_sequence.py` shows.

    python -m benchmarks.statistics.s3_comparison
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from benchmarks.table import measure_seconds, print_table
from forecastle.measure.confidence_sequence import SequenceState, confidence_sequence, log_mixture

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS, PEER_PAIRS, UPDATES, TARGET_SECONDS = 25_165, 500, 1_000, 0.2


def main() -> None:
    """Print one line for the batch and one for each length of history before an update."""
    rng = np.random.default_rng(0)
    p = rng.random(PAIRS)
    y = (rng.random(PAIRS) < p).astype(float)
    d = (np.clip(p + rng.normal(0, 0.05, PAIRS), 0, 1) - y) ** 2 - (p - y) ** 2
    batch = _median(lambda: confidence_sequence(d, width=2.0))
    variances = np.linspace(1.0, float(np.sum(d**2)) + 2.0, PEER_PAIRS)
    peer = _median(lambda: [_root(v) for v in variances]) * PAIRS / PEER_PAIRS
    rows: list[dict[str, object]] = [
        {
            "what": f"bounds and e-values at {PAIRS:,} looks",
            "ours (s)": batch,
            "target (s)": TARGET_SECONDS,
            "brentq, bounds only (s, extrapolated)": peer,
            "ratio": peer / batch,
        }
    ]
    for history in (100, PAIRS):
        state = SequenceState(2.0).update_many(d[:history])
        seconds = _median(lambda start=state: _updates(start)) / UPDATES
        rows.append({"what": f"update and interval after {history:,} pairs", "ours (s)": seconds})
    print_table("S3 anytime-valid comparison", rows)


def _median(function: Callable[[], object]) -> float:
    return statistics.median(measure_seconds(function, repeats=5))


def _root(variance: float) -> float:
    target = math.log(2 / 0.05)
    return float(brentq(lambda s: float(log_mixture(s, variance, width=2.0)) - target, 0.0, 1e4))


def _updates(state: SequenceState) -> None:
    for _ in range(UPDATES):
        state = state.update(0.01)
        state.interval()


if __name__ == "__main__":
    main()
