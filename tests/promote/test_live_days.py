"""Live numbers by day: coverage, what is final, gaps that hands can check, days made again when they change."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from forecastle.promote.live_days import (
    CALIBRATION_COLUMNS,
    PERFORMANCE_COLUMNS,
    calibration_of_days,
    changed_days,
    day_sentence,
    days_in,
    performance_of,
    with_days,
)

FIRST = pd.Timestamp("2026-03-01T10:00:00Z")
MATURES = pd.Timedelta(days=10)


def asked(
    count: int, *, day: int, outcome: float | None = 1.0, probability: float = 0.75, **columns: object
) -> pd.DataFrame:
    """Rows of the outcomes table that were asked on one day; now is day 12."""
    at = FIRST + timedelta(days=day) + pd.to_timedelta(np.arange(count), unit="s")
    known = outcome is not None
    is_mature = at + MATURES <= FIRST + timedelta(days=12)
    frame = pd.DataFrame({
        "prediction_id": [f"{day}-{n}" for n in range(count)], "predicted_at": at, "matures_at": at + MATURES,
        "probability": probability, "guess": 0.5, "outcome": np.nan if outcome is None else outcome,
        "status": "known" if known else "waiting", "is_mature": is_mature, "crossing_id": np.arange(count),
    })  # fmt: skip
    return frame.assign(**columns)


def test_a_day_says_how_far_it_is_and_that_it_is_not_final() -> None:
    """Day 0 is older than ten days, day 5 is not: its numbers are there and are not final."""
    days = days_in(pd.concat([asked(4, day=0), asked(3, day=5), asked(2, day=5, outcome=None)]))
    table = performance_of(days, list(days), baseline="guess")
    assert tuple(table.columns) == PERFORMANCE_COLUMNS
    assert table["day"].tolist() == [date(2026, 3, 1), date(2026, 3, 6)]
    assert table["is_final"].tolist() == [True, False]
    assert table["share_known"].tolist() == [1.0, 3 / 5]
    assert table["brier"].tolist() == pytest.approx([0.25**2, 0.25**2])
    assert table["baseline_brier"].tolist() == pytest.approx([0.25, 0.25])
    first, second = (day_sentence(row) for row in table.itertuples())
    assert first.endswith("; final.")
    assert second == "3 of 5 predictions of 2026-03-06 have an outcome; not final before 2026-03-16 10:00 UTC."


def test_a_day_without_questions_is_a_row_that_says_so() -> None:
    """Nothing was asked: no scores, and never final."""
    (row,) = performance_of({}, [date(2026, 3, 1)], baseline="guess").itertuples()
    assert (row.predictions, row.is_final) == (0, False)
    assert day_sentence(row) == "Nothing was asked on 2026-03-01."


def test_the_gap_of_a_day_has_an_interval_by_clusters() -> None:
    """Half of 40 crossings late, 0.75 was said: the gap is −0.25, its error that of 40 independent outcomes."""
    rows = asked(40, day=0).assign(outcome=np.tile([0.0, 1.0], 20))
    (row,) = calibration_of_days(days_in(rows), [date(2026, 3, 1)], cluster="crossing_id").itertuples()
    error = np.sqrt(40 * 0.25 * 40 / 39) / 40
    assert row.gap == pytest.approx(-0.25)
    assert (row.low, row.high) == pytest.approx((-0.25 - 1.959964 * error, -0.25 + 1.959964 * error), rel=1e-6)
    few = calibration_of_days(days_in(rows.head(10)), [date(2026, 3, 1)], cluster="crossing_id")
    assert tuple(few.columns) == CALIBRATION_COLUMNS
    assert few[["low", "high", "p_value"]].isna().all(axis=None)


def test_only_days_that_changed_are_made_again() -> None:
    """An outcome that arrives, or is corrected, changes its day; other days keep their rows."""
    rows = pd.concat([asked(4, day=0), asked(3, day=5, outcome=None)])
    days = days_in(rows)
    table = with_days(None, performance_of(days, list(days), baseline="guess"))
    today = date(2026, 3, 13)
    assert changed_days(days, table, asked=[today]) == [today]
    later = days_in(pd.concat([asked(4, day=0), asked(3, day=5)]))
    changed = changed_days(later, table, asked=[today])
    assert changed == [date(2026, 3, 6), today]
    renewed = with_days(table, performance_of(later, changed, baseline="guess"))
    assert renewed["day"].tolist() == [date(2026, 3, 1), date(2026, 3, 6), today]
    assert renewed["known"].tolist() == [4, 3, 0]
    assert changed_days(later, renewed, asked=[]) == []
