"""Values and tables as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastle.draw.markdown import markdown_table, value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1679236, "0.1679"),
        (1e-5 + 2e-7, "1.02e-05"),
        (0.0, "0"),
        (1764, "1,764"),
        (np.int64(246953), "246,953"),
        (12345.678, "12,346"),
        (999.94, "999.9"),
        (999.96, "1,000"),
        (-0.25, "-0.25"),
        (float("nan"), "–"),
        (float("inf"), "∞"),
        (-float("inf"), "-∞"),
        (None, "–"),
        (pd.NaT, "–"),
        (pd.NA, "–"),
        (True, "yes"),
        (np.bool_(False), "no"),
        ("brier", "brier"),
        ((0.5, 1), "0.5, 1"),
        (datetime(2026, 6, 1, 12, 30, tzinfo=UTC), "2026-06-01 12:30 UTC"),
        (datetime(2026, 6, 1, 12, 30, tzinfo=timezone(timedelta(hours=2))), "2026-06-01 10:30 UTC"),
        (pd.Timestamp("2026-06-01", tz="UTC"), "2026-06-01 00:00 UTC"),
        (pd.Timestamp("2026-06-01"), "2026-06-01 00:00"),
    ],
)
def test_values(value: object, text: str) -> None:
    """Each kind of value has one way to be written."""
    assert value_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_written_numbers_are_near(value: float) -> None:
    """A written number differs from the number by at most half a unit of its fourth digit."""
    assert float(value_text(value).replace(",", "")) == pytest.approx(value, rel=5.1e-4, abs=1e-300)


def test_a_table_in_markdown() -> None:
    """Headings, numbers to the right, text to the left, missing as a dash."""
    table = pd.DataFrame({"feature": ["market_price", None], "psi": [0.25, np.nan], "rows": [1000, 2]})
    assert markdown_table(table, names={"psi": "PSI"}).split("\n") == [
        "| feature | PSI | rows |",
        "| --- | ---: | ---: |",
        "| market_price | 0.25 | 1,000 |",
        "| – | – | 2 |",
    ]


def test_cells_cannot_break_the_table() -> None:
    """Pipes, line ends and markup in a cell stay in their cell."""
    line = markdown_table(pd.DataFrame({"a": ["x|y\n<b>*z*`"]})).split("\n")[2]
    assert line == r"| x\|y &lt;b&gt;\*z\*\` |"


def test_rows_left_out_are_counted() -> None:
    """A shortened table says how many rows it does not show."""
    lines = markdown_table(pd.DataFrame({"a": range(1500)}), max_rows=2).split("\n")
    assert len(lines) == 6
    assert lines[-1] == "… and 1,498 more rows"
    assert "more" not in markdown_table(pd.DataFrame({"a": [1, 2]}), max_rows=2)


def test_an_empty_table_keeps_its_headings() -> None:
    """No rows leave the head of the table."""
    assert markdown_table(pd.DataFrame({"a": []})).split("\n")[0] == "| a |"
