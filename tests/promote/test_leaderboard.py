"""All models in one table: intervals, the correction for many looks, whom the test rows did not choose."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from forecastle.draw.leaderboard import leaderboard_diagram
from forecastle.learn.choose import CHOICE_COLUMNS, Choice, Member
from forecastle.learn.evaluate import SCORE_COLUMNS
from forecastle.promote.gates import Decision
from forecastle.promote.leaderboard import caveat, leaderboard

MODELS = {"a": 0.20, "b": 0.19, "c": 0.21}
HALF = 0.01


def scores(brier: float) -> pd.DataFrame:
    """The "all" slice of a model and of the baseline, which has a Brier of 0.22."""
    rows = [{"forecaster": name, "slice": "all", "n": 100, "brier": value} for name, value in
            (("model", brier), ("baseline", 0.22))]  # fmt: skip
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


@pytest.fixture
def table() -> pd.DataFrame:
    """Three models; `a` was chosen on held-out rows, `b` is first on test rows, `c` is of a segment."""
    held_out = [("a", "all rows", 50, 0.5, 0.0, 0.0, True), ("b", "all rows", 50, 0.6, 0.1, 0.02, False)]
    choice = Choice((Member("a", None),), pd.DataFrame(held_out, columns=list(CHOICE_COLUMNS)), ("because",))
    return leaderboard(
        {name: scores(brier) for name, brier in MODELS.items()},
        {name: json.dumps([b - 0.22, b - 0.22 - HALF, b - 0.22 + HALF]) for name, b in MODELS.items()},
        {"a": None, "b": None, "c": {"sex": 2}},
        {"a": Decision(promote=True, reasons=("ok",), gates=()), "b": Decision(False, ("too few rows",), ())},
        choice,
    )


def test_each_forecaster_stands_once_lowest_brier_first(table: pd.DataFrame) -> None:
    """The baseline of a segment is another than that of all rows."""
    assert list(table["forecaster"]) == ["b", "a", "c", "baseline", "baseline, sex = 2"]
    assert list(table["segment"]) == ["all rows", "all rows", "sex = 2", "all rows", "sex = 2"]


def test_the_first_on_test_rows_is_not_the_one_that_was_chosen(table: pd.DataFrame) -> None:
    """The choice came before; the gates' words stand beside it."""
    by = table.set_index("forecaster")
    assert dict(by["chosen"]) == {"b": False, "a": True, "c": False, "baseline": False, "baseline, sex = 2": False}
    assert (by.loc["a", "gates"], by.loc["b", "gates"]) == ("passed", "refused: too few rows")


def test_p_values_are_corrected_for_all_models(table: pd.DataFrame) -> None:
    """Holm by hand: the smallest of three counts thrice, the next twice, never less than the one before."""
    error = HALF / 1.959963984540054
    plain = {name: math.erfc(abs(b - 0.22) / error / math.sqrt(2)) for name, b in MODELS.items()}
    first, second, third = sorted(plain, key=plain.__getitem__)
    expected = {first: 3 * plain[first]}
    expected[second] = max(2 * plain[second], expected[first])
    expected[third] = max(plain[third], expected[second])
    found = table.set_index("forecaster")["p_adjusted"]
    assert {name: found[name] for name in MODELS} == pytest.approx(expected)
    assert "luckiest" in caveat(table)


def test_the_picture_shows_every_model(table: pd.DataFrame) -> None:
    """Lowest difference first; forecasters that were compared with nothing are not in it."""
    labels = [text.get_text() for text in leaderboard_diagram(table).axes[0].get_yticklabels()]
    assert labels == ["b", "a", "c"]


def test_a_model_that_failed_stands_last_with_its_reason(table: pd.DataFrame) -> None:
    """It has no score, is not chosen, and counts in no correction."""
    held_out = pd.DataFrame([("a", "all rows", 50, 0.5, 0.0, 0.0, True)], columns=list(CHOICE_COLUMNS))
    found = leaderboard(
        {"a": scores(0.20)},
        {"a": json.dumps([-0.02, -0.03, -0.01])},
        {"a": None, "broken": {"sex": 2}},
        {},
        Choice((Member("a", None),), held_out, ()),
        failed={"broken": "no rows"},
    )
    last = found.iloc[-1]
    assert (last["forecaster"], last["segment"], last["gates"]) == ("broken", "sex = 2", "failed: no rows")
    assert math.isnan(last["brier"])
    assert not last["chosen"]
    assert list(found.columns) == list(table.columns)
    assert len(leaderboard_diagram(found).axes[0].get_yticklabels()) == 1
