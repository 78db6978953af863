"""Golden rows: does a bundle still say what it said when it was made, bit for bit.

Belongs here: running a bundle over its own golden rows and naming what differs.
Does not belong here: making them (`train.py`).
"""

from __future__ import annotations

import numpy as np

from forecastle.learn.bundle import Bundle
from forecastle.learn.scorer import load_scorer


def golden_faults(bundle: Bundle) -> tuple[str, ...]:
    """What differs between recorded and recomputed golden rows; empty when every bit agrees.

    Raises:
        BundleError: the model's bytes are not the recorded ones, or cannot be opened.
    """
    scorer = load_scorer(bundle)
    faults = []
    for index, row in enumerate(bundle.golden.rows):
        raw = scorer.score_row([np.nan if value is None else value for value in row])
        if raw != bundle.golden.raw[index]:
            faults.append(f"golden row {index}: raw score {raw!r}, recorded {bundle.golden.raw[index]!r}")
            continue
        probability = bundle.calibrator.apply_scalar(raw)
        if probability != bundle.golden.probability[index]:
            recorded = bundle.golden.probability[index]
            faults.append(f"golden row {index}: probability {probability!r}, recorded {recorded!r}")
    return tuple(faults)
