"""Which films get a place: arithmetic by hand; on-demand features: the same bits alone and in a column."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.load import load_system
from tests.systems.streamrec.conftest import FOLDER

SYSTEM = load_system(FOLDER)
PARAMS = {"like_min": 0.05, "lift_min": 1.0}
YEARS = st.one_of(st.just(np.nan), st.floats(1900, 2030))


def test_a_film_that_this_user_likes_more_than_others_is_shown() -> None:
    """0.3 is twice the 0.15 of everybody."""
    made = SYSTEM.function("decide:place")(probability=0.3, liked_share=0.15, **PARAMS)
    assert made == {"action": "show", "reasons": [], "lift_ratio": pytest.approx(2.0)}


@pytest.mark.parametrize(
    ("probability", "share", "reasons"),
    [
        (0.04, 0.02, ["the probability is below 0.05"]),
        (0.10, 0.20, ["others like it more: lift 0.50, 1 is asked"]),
        (0.90, None, ["nobody knows how the film did"]),
    ],
)
def test_others_are_left_with_a_reason(probability: float, share: float | None, reasons: list[str]) -> None:
    """Unlikely, or no more than popular, or unknown."""
    made = SYSTEM.function("decide:place")(probability=probability, liked_share=share, **PARAMS)
    assert (made["action"], made["reasons"]) == ("leave", reasons)


def test_the_declared_parameters_are_those_of_the_rule() -> None:
    """The hand arithmetic above is about the rule that serves."""
    assert SYSTEM.declaration.decide is not None
    assert SYSTEM.declaration.decide.params == PARAMS


@given(st.lists(st.tuples(YEARS, YEARS), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_columns_and_single_values_give_the_same_bits(rows: list[tuple[float, float]]) -> None:
    """Training calls with arrays, a request with scalars."""
    era = SYSTEM.function("features:era")
    films, users = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    whole = era(release_year=films, user_mean_year=users)["era_gap_years"]
    alone = [era(release_year=film, user_mean_year=user)["era_gap_years"] for film, user in rows]
    assert whole.tobytes() == np.array(alone, dtype=np.float64).tobytes()
