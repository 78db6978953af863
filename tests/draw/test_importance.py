"""Importance bars are shares, largest first."""

from __future__ import annotations

import pandas as pd
import pytest

from forecastle.draw.importance import importance_bars


def bars(table: pd.DataFrame, **options: int) -> dict[str, float]:
    axes = importance_bars(table, **options).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    return dict(zip(names, [bar.get_width() for bar in axes.patches], strict=True))


def test_shares_of_the_sum_largest_first() -> None:
    """Importances 1 and 3 become shares 3/4 and 1/4 in that order."""
    drawn = bars(pd.DataFrame({"feature": ["small", "large"], "importance": [1, 3]}))
    assert list(drawn.items()) == [("large", 3 / 4), ("small", 1 / 4)]


def test_the_rest_is_one_bar() -> None:
    """With at most 3 bars, the 4th to 5th of five features and the 3rd are "3 others"."""
    table = pd.DataFrame({"feature": list("abcde"), "importance": [50, 20, 15, 10, 5]})
    assert bars(table, most_features=3) == pytest.approx({"a": 0.5, "b": 0.2, "3 others": 0.15 + 0.10 + 0.05})


def test_a_model_that_looks_at_nothing() -> None:
    """All importances zero draw bars of zero, not NaN."""
    assert bars(pd.DataFrame({"feature": ["a", "b"], "importance": [0.0, 0.0]})) == {"a": 0.0, "b": 0.0}
