"""Ties are pooled once and for all, and the isotonic fit is the weighted least-squares one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from forecastle.contract.errors import MeasureError
from forecastle.measure.isotonic import (
    isotonic_fit,
    need_unweighted,
    pool_groups,
    pool_scores,
    pool_ties,
    quantile_cells,
)
from tests.measure.minstd import fixture

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 10)), min_size=1, max_size=60)


def test_equal_probabilities_share_a_cell():
    """Three rows at 0.5 with two events make one cell of weight 3."""
    cells = pool_ties([1, 0, 1, 1], [0.5, 0.5, 0.5, 0.2])
    assert cells.probabilities.tolist() == [0.2, 0.5]
    assert cells.weights.tolist() == [1.0, 3.0]
    assert cells.events.tolist() == [1.0, 2.0]
    assert cells.base_rate == 3 / 4
    assert cells.mean_probability == pytest.approx((0.2 + 3 * 0.5) / 4)


def test_weights_sum_in_cells_and_zero_weights_leave():
    """A weight of 2 counts twice, its square 4; a weight of 0 makes no cell."""
    cells = pool_ties([1, 0, 1], [0.5, 0.5, 0.9], weights=[2.0, 1.0, 0.0])
    assert cells.probabilities.tolist() == [0.5]
    assert (cells.weights[0], cells.events[0], cells.squared_weights[0]) == (3.0, 2.0, 5.0)
    with pytest.raises(MeasureError, match="without weights"):
        need_unweighted(cells, what="this test")


@settings(max_examples=50, deadline=None)
@given(rows)
def test_fit_equals_scikit_learn(data):
    """The fitted rates equal scikit-learn's isotonic regression on the same rows."""
    y = np.array([float(outcome) for outcome, _ in data])
    p = np.array([tenth / 10 for _, tenth in data])
    cells = pool_ties(y, p)
    expected = IsotonicRegression().fit(p, y).predict(cells.probabilities)
    assert isotonic_fit(cells).rates == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(rows)
def test_each_block_is_the_mean_of_its_rows(data):
    """Rates never fall, and every block carries the event rate of its own rows."""
    cells = pool_ties([y for y, _ in data], [p / 10 for _, p in data])
    fit = isotonic_fit(cells)
    assert (np.diff(fit.rates) >= 0.0).all()
    events = np.add.reduceat(cells.events, fit.starts)
    weights = np.add.reduceat(cells.weights, fit.starts)
    assert fit.rates[fit.starts] == pytest.approx(events / weights)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 10), st.integers(0, 3)), min_size=1, max_size=60))
def test_groups_pool_as_if_alone(data):
    """Pooling all groups in one pass gives each group's own cells."""
    y, p, g = (np.array(column, dtype=float) for column in zip(*data, strict=True))
    p = p / 10
    found, codes = np.unique(g, return_inverse=True)
    for code, cells in enumerate(pool_groups(y, p, codes.astype(np.int64))):
        alone = pool_ties(y[codes == code], p[codes == code])
        assert cells.rows == alone.rows
        assert cells.probabilities.tolist() == alone.probabilities.tolist()
        assert cells.events.tolist() == alone.events.tolist()
    assert found.size == code + 1


def test_a_known_order_changes_nothing():
    """Passing the argsort saves the sort and gives the same cells."""
    data = fixture()
    given_order = pool_ties(data["y"], data["C"], order=np.argsort(data["C"]))
    assert given_order.events.tolist() == pool_ties(data["y"], data["C"]).events.tolist()


def test_merged_cells_keep_totals_and_bound_their_number():
    """2,000 cells merged into 50 keep rows, events and the mean probability."""
    data = fixture()
    cells = pool_ties(data["y"], data["a"])
    merged = quantile_cells(cells, count=50)
    assert merged.probabilities.size == 50
    assert merged.weights.tolist() == [40.0] * 50
    assert merged.events.sum() == 978
    assert merged.mean_probability == pytest.approx(cells.mean_probability, abs=1e-12)
    assert quantile_cells(merged, count=50) is merged


def test_scores_beyond_one_are_pooled_for_ranks_only():
    """Any finite score may be pooled for rank measures, not for calibration."""
    assert pool_scores([0, 1], [-3.0, 7.0]).probabilities.tolist() == [-3.0, 7.0]
    with pytest.raises(MeasureError, match="outside"):
        pool_ties([0, 1], [-3.0, 7.0])


def test_mismatched_lengths_are_refused():
    """Outcomes and probabilities must pair up."""
    with pytest.raises(MeasureError, match="different lengths"):
        pool_ties([0, 1], [0.1])


def test_groups_without_weight_are_refused():
    """A group whose rows all weigh nothing has no cells, and is named as such."""
    with pytest.raises(MeasureError, match="1 with weight, of 2"):
        pool_groups([0, 1], [0.1, 0.2], np.array([0, 1]), weights=[1.0, 0.0])
