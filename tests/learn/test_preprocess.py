"""Preprocessing: arithmetic in sight, one row as many, and what a bundle may not say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from forecastle.contract.errors import BundleError
from forecastle.learn.preprocess import choose_preprocess, preprocess_from_json

NULL = math.nan
MATRIX = np.array([[1.0, 5.0, 2.0], [NULL, 5.0, 1.0], [3.0, 5.0, 2.0], [8.0, 5.0, 1.0]])


def test_impute_is_the_median_and_a_column_that_says_where() -> None:
    """The median of 1, 3, 8 is 3; only the column with nulls has an indicator."""
    made = choose_preprocess(MATRIX, preprocess="impute", one_hot={})
    assert made.names(("a", "b", "c")) == ("a", "a_is_missing", "b", "c")
    assert made.apply(MATRIX).T.tolist() == [[1, 3, 3, 8], [0, 1, 0, 0], [5, 5, 5, 5], [2, 1, 2, 1]]
    assert made.apply_row([NULL, NULL, 7.0]) == [3.0, 1.0, 5.0, 7.0]


def test_standard_has_mean_0_and_deviation_1() -> None:
    """A constant column is divided by one, so that it becomes 0."""
    seen = choose_preprocess(MATRIX, preprocess="standard", one_hot={}).apply(MATRIX)
    assert seen.mean(axis=0)[[0, 2, 3]] == pytest.approx([0, 0, 0], abs=1e-15)
    assert seen.std(axis=0)[[0, 2, 3]] == pytest.approx([1, 0, 1])


def test_one_hot_is_a_column_for_each_value() -> None:
    """A value that training had not seen, and null, are 0 everywhere; other columns stay as they are."""
    made = choose_preprocess(MATRIX, preprocess="none", one_hot={2: (1.0, 2.0)})
    assert made.names(("a", "b", "c")) == ("a", "b", "c_is_1", "c_is_2")
    assert [made.apply_row([0.0, 0.0, value])[2:] for value in (1.0, 2.0, 9.0, NULL)] == [
        [1, 0],
        [0, 1],
        [0, 0],
        [0, 0],
    ]
    assert choose_preprocess(MATRIX, preprocess="none", one_hot={}) is None


def test_json_gives_the_same_record_or_a_reason() -> None:
    """What was written is read; another shape, a column that is not there and a division by 0 are refused."""
    made = choose_preprocess(MATRIX, preprocess="standard", one_hot={2: (1.0,)})
    assert preprocess_from_json(made.to_json()) == made
    for wrong in (
        {},
        {"width": 1, "steps": [[3, "value", None, 0.0, 1.0]]},
        {"width": 1, "steps": [[0, "value", None, 0.0, 0.0]]},
        {"width": 1, "steps": [[0, "guess", None, 0.0, 1.0]]},
    ):
        with pytest.raises(BundleError, match="build the bundle again"):
            preprocess_from_json(wrong)
