"""Input checks refuse everything that statistics cannot answer, and say why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import (
    as_codes,
    as_finite,
    as_outcomes,
    as_probabilities,
    as_weights,
    same_length,
)

UNHASHABLE = pd.Series([{1}, {2}], dtype=object)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "no rows"),
        ([0.1, np.nan], "missing or infinite"),
        ([0.1, np.inf], "missing or infinite"),
        ([0.1, None], "missing or infinite"),
        ([[0.1], [0.2]], r"shape \(2, 1\)"),
        (0.3, "shape"),
        (["a"], "not numeric"),
        (object(), "not numeric"),
    ],
)
def test_unclean_numbers_are_refused_with_their_reason(values, words):
    """Empty, missing, infinite, two-dimensional and non-numeric input each have their own sentence."""
    with pytest.raises(MeasureError, match=words):
        as_finite(values, name="score")


def test_the_refusal_names_position_and_way_out():
    """The message says what was got, where it stands and what to do."""
    with pytest.raises(MeasureError) as refusal:
        as_finite([1.0, 2.0, np.nan], name="score")
    assert str(refusal.value) == (
        "score: got 1 missing or infinite of 3 values (first: nan at position 2); only finite numbers are "
        "allowed; drop these rows and say how many were excluded"
    )


def test_probabilities_include_both_ends_and_nothing_outside():
    """0 and 1 are probabilities; anything beyond is counted and refused."""
    assert as_probabilities([0, 1, 0.5]).tolist() == [0.0, 1.0, 0.5]
    with pytest.raises(MeasureError, match="2 of 3 values outside"):
        as_probabilities([-0.1, 0.5, 1.0000001])


@pytest.mark.parametrize("values", [[True, False], [1, 0], np.array([1.0, 0.0]), pd.Series([1, 0])])
def test_outcomes_of_any_type_become_floats(values):
    """Booleans, integers, arrays and series all become 1.0 and 0.0."""
    assert as_outcomes(values).tolist() == [1.0, 0.0]


def test_outcomes_other_than_zero_and_one_are_refused():
    """A third value is named with its position."""
    with pytest.raises(MeasureError, match="got 2 at position 1"):
        as_outcomes([0, 2, 1])


def test_weights_default_to_ones_and_must_weigh_something():
    """None means equal weights; negative, all-zero or misfitting weights are refused."""
    assert as_weights(None, n=3).tolist() == [1.0, 1.0, 1.0]
    for weights in ([-1.0, 2.0], [0.0, 0.0], [1.0]):
        with pytest.raises(MeasureError, match="weight"):
            as_weights(weights, n=2)


@pytest.mark.parametrize(
    "values",
    [["b", "a", "b"], np.array(["b", "a", "b"]), pd.Series(["b", "a", "b"], dtype="category")],
)
def test_codes_number_the_sorted_labels(values):
    """Labels of every container are numbered in sorted order."""
    codes, labels = as_codes(values, name="group")
    assert labels == ("a", "b")
    assert codes.tolist() == [1, 0, 1]


def test_codes_of_numbers_are_plain_python_labels():
    """Integer labels come back as Python integers, which JSON can write."""
    _, labels = as_codes(np.array([3, 1]), name="group")
    assert [type(label) for label in labels] == [int, int]


@pytest.mark.parametrize("values", [[], [["a"]], ["a", None], [1.0, np.nan], UNHASHABLE])
def test_labels_that_make_no_groups_are_refused(values):
    """Empty, two-dimensional, missing and unhashable labels are refused."""
    with pytest.raises(MeasureError, match="group"):
        as_codes(values, name="group")


def test_lengths_are_compared_by_name():
    """Equal lengths are returned; unequal ones are listed whole."""
    assert same_length(outcome=[0, 1], probability=[0.1, 0.2]) == 2
    with pytest.raises(MeasureError, match="outcome 2, probability 1"):
        same_length(outcome=[0, 1], probability=[0.1])
