"""Calibration over classes: each view by hand, sums that must agree, and the two-class case."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import MeasureError
from forecastle.measure.cumulative import cumulative_calibration
from forecastle.measure.decomposition import decompose
from forecastle.measure.isotonic import pool_ties
from forecastle.measure.multiclass import MULTICLASS_COLUMNS, class_cells, multiclass_calibration
from tests.measure.minstd import fixture

P = np.array([[0.5, 0.3, 0.2], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.4, 0.4, 0.2]])
OUTCOMES = ["a", "b", "b", "c"]


def test_class_wise_by_hand():
    """Class b against the rest: outcomes 0, 1, 1, 0 for probabilities .3, .2, .8, .4."""
    cells = class_cells(OUTCOMES, P, classes="abc")["b"]
    assert cells.probabilities.tolist() == [0.2, 0.3, 0.4, 0.8]
    assert cells.events.tolist() == [1.0, 0.0, 0.0, 1.0]


def test_top_label_by_hand():
    """Rows 1, 2 and 4 name a (the first of equals) at .5, .6, .4, of which the first came true; c is never named."""
    found = class_cells(OUTCOMES, P, classes="abc", view="top_label")
    assert list(found) == ["a", "b"]
    assert found["a"].probabilities.tolist() == [0.4, 0.5, 0.6]
    assert found["a"].events.tolist() == [0.0, 1.0, 0.0]
    assert found["b"].events.tolist() == [1.0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_class_wise_brier_adds_up(seed, classes):
    """The class-wise Brier scores sum to the multiclass score, and each obeys score = MCB - DSC + UNC."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), 60)
    y = rng.integers(0, classes, 60)
    table = multiclass_calibration(y, p, classes=range(classes), minimum_rows=1)
    wise = table[table["view"] == "class_wise"]
    assert wise["brier"].sum() == pytest.approx(((np.eye(classes)[y] - p) ** 2).sum(axis=1).mean())
    parts = table["miscalibration"] - table["discrimination"] + table["uncertainty"]
    assert table["brier"].to_numpy() == pytest.approx(parts.to_numpy(), abs=1e-12)


def test_two_classes_are_the_binary_case():
    """With two classes both class-wise rows are the binary forecast's own numbers (MINSTD, A)."""
    data = fixture()
    y, p = data["y"], data["A"]
    table = multiclass_calibration(y, np.column_stack([1 - p, p]), classes=(0, 1))
    assert tuple(table.columns) == MULTICLASS_COLUMNS
    binary, error = decompose(y, p), cumulative_calibration(pool_ties(y, p))
    for _, row in table[table["view"] == "class_wise"].iterrows():
        assert row["miscalibration"] == pytest.approx(binary.miscalibration, abs=1e-12)
        assert row["ecce_range"] == pytest.approx(error.range, abs=1e-12)
        assert row["q_value"] < 1e-5


def test_errors_that_cancel_in_the_confidence_show_by_class():
    """One class over-confident, one under-confident: the confidence is right on average, both classes are not."""
    rng = np.random.default_rng(3)
    names = rng.integers(0, 2, 4000)
    p = np.where(names[:, None] == np.arange(2), 0.7, 0.3)
    came_true = rng.random(4000) < np.where(names == 0, 0.5, 0.9)
    outcome = np.where(came_true, names, 1 - names)
    table = multiclass_calibration(outcome, p, classes=(0, 1)).set_index(["view", "class"])
    assert np.mean(came_true) == pytest.approx(0.7, abs=0.02)
    assert (table.loc["top_label", "q_value"] < 1e-6).all()


def test_weights_count_as_repeated_rows():
    """Weight 3 is three rows; weight 0 is none."""
    weighted = multiclass_calibration(OUTCOMES, P, classes="abc", weights=[3, 1, 1, 0], minimum_rows=1)
    rows = [0, 0, 0, 1, 2]
    repeated = multiclass_calibration(np.array(OUTCOMES)[rows], P[rows], classes="abc", minimum_rows=1)
    assert weighted["brier"].to_numpy() == pytest.approx(repeated["brier"].to_numpy())


@pytest.mark.parametrize(
    ("outcomes", "p", "classes", "says"),
    [
        (OUTCOMES, P[:, :2], "abc", "shape"),
        (OUTCOMES, P * 0.9, "abc", "sum to 1"),
        (["a", "b", "b", "d"], P, "abc", "not among the classes"),
        (["a", "b", "b", None], P, "abc", "not among the classes"),
        (OUTCOMES[:3], P, "abc", "different lengths"),
        (OUTCOMES, P, "abb", "each class once"),
    ],
)
def test_refusals(outcomes, p, classes, says):
    """Impossible input is refused with its remedy."""
    with pytest.raises(MeasureError, match=says):
        multiclass_calibration(outcomes, p, classes=classes)
