"""The picture of a search: every judged trial, and a best that never gets worse."""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecastle.draw.search import trials_diagram


def test_the_line_is_the_best_so_far() -> None:
    """Of losses 3, 1, failed, 2 the line says 3, 1, 1; the failed trial is not drawn."""
    axes = trials_diagram(pd.DataFrame({"trial": [0, 1, 2, 3], "log_loss": [3.0, 1.0, np.nan, 2.0]})).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [3.0, 1.0, 1.0]
    assert axes.collections[0].get_offsets().tolist() == [[0.0, 3.0], [1.0, 1.0], [3.0, 2.0]]
