"""The most unusual series stand first, the alarming one in another colour."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd

from forecastle.draw.images import png_bytes
from forecastle.draw.quality import quality_history
from forecastle.measure.quality import judge_quality

TODAY = date(2026, 6, 1)


def profile() -> pd.DataFrame:
    days = [TODAY - timedelta(days=39 - index) for index in range(40)]
    frames = []
    for column, found in (("calm", [1] * 40), ("loud", [1] * 39 + [60])):
        frames.append(
            pd.DataFrame(
                {
                    "table": "source/x",
                    "column": column,
                    "measure": "null_rate",
                    "day": days,
                    "rows": 200,
                    "found": found,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def test_an_alarm_stands_first_with_its_values() -> None:
    """Each panel's line holds the rates of its series."""
    judged = judge_quality(profile(), today=TODAY)
    first, second = quality_history(profile(), judged).axes
    assert first.get_title(loc="left") == "source/x.loud: null"
    assert np.allclose(first.lines[0].get_ydata(), [1 / 200] * 39 + [60 / 200])
    assert first.lines[0].get_color() != second.lines[0].get_color()


def test_nothing_to_show_is_a_picture_too() -> None:
    """An empty table draws an empty panel."""
    empty = profile().iloc[:0]
    assert png_bytes(quality_history(empty, judge_quality(empty, today=TODAY))).startswith(b"\x89PNG")
