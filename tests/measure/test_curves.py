"""Curve tables carry the numbers they are drawn from, and stay small."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import auc as area_under
from sklearn.metrics import roc_curve as sklearn_roc_curve

from forecastle.contract.errors import MeasureError
from forecastle.measure.cumulative import cumulative_calibration
from forecastle.measure.curves import (
    cumulative_curve,
    murphy_curve,
    probability_histogram,
    reliability_curve,
    roc_curve,
)
from forecastle.measure.decomposition import decompose
from forecastle.measure.isotonic import pool_scores, pool_ties
from forecastle.measure.scores import auc
from tests.measure.minstd import fixture


@pytest.fixture(scope="module")
def data():
    return fixture()


def test_reliability_blocks_by_hand():
    """Rates 0, 1, 0 at 0.1, 0.2, 0.3 pool into blocks 0 and 1/2."""
    table = reliability_curve(pool_ties([0, 1, 0], [0.1, 0.2, 0.3]))
    assert table.to_dict("list") == {
        "probability_low": [0.1, 0.2],
        "probability_high": [0.1, 0.3],
        "event_rate": [0.0, 0.5],
        "weight": [1.0, 2.0],
        "events": [0.0, 1.0],
    }


def test_reliability_curve_gives_back_the_discrimination(data):
    """Block rates and weights alone give ybar (1 - ybar) - mean q (1 - q), the Brier discrimination."""
    table = reliability_curve(pool_ties(data["y"], data["A"]))
    share, rate = table["weight"] / 2000, table["event_rate"]
    found = 0.489 * 0.511 - (share * rate * (1 - rate)).sum()
    assert found == pytest.approx(0.0855557386, abs=5e-11)


def test_histogram_holds_every_row_once(data):
    """Bins are half open, the last closed: 0.1 falls into the second of ten, 1.0 into the last."""
    table = probability_histogram(pool_ties([0, 1, 1], [0.0999, 0.1, 1.0]), bins=10)
    assert table["weight"].tolist() == [1.0, 1.0, 0, 0, 0, 0, 0, 0, 0, 1.0]
    assert probability_histogram(pool_ties(data["y"], data["C"]))[["weight", "events"]].sum().tolist() == [
        2000,
        978,
    ]


def test_roc_curve_equals_scikit_learn(data):
    """Every corner of scikit-learn's curve stands in ours, tied scores included."""
    table = roc_curve(pool_scores(data["y"], data["C"]))
    false_rate, true_rate, threshold = sklearn_roc_curve(data["y"], data["C"], drop_intermediate=False)
    assert table["false_positive_rate"].to_numpy() == pytest.approx(false_rate)
    assert table["true_positive_rate"].to_numpy() == pytest.approx(true_rate)
    assert table["threshold"].to_numpy() == pytest.approx(threshold)


def test_thinned_roc_curve_keeps_its_area(data):
    """100 points of 2,000 keep the ends and the area to 1e-4."""
    table = roc_curve(pool_scores(data["y"], data["A"]), points=100)
    assert len(table) <= 202
    area = area_under(table["false_positive_rate"], table["true_positive_rate"])
    assert area == pytest.approx(auc(data["y"], data["A"]), abs=1e-3)
    assert table.iloc[[0, -1], 1:].to_numpy().tolist() == [[0.0, 0.0], [1.0, 1.0]]


def test_roc_curve_needs_both_classes():
    """One class has no rates to plot."""
    with pytest.raises(MeasureError, match="both are needed"):
        roc_curve(pool_scores([1, 1], [0.1, 0.2]))


def test_areas_of_the_murphy_diagram_are_the_decomposition(data):
    """The three areas are the Brier score, score minus miscalibration, and uncertainty."""
    table = murphy_curve(pool_ties(data["y"], data["A"]), points=4001)
    areas = [np.trapezoid(table[name], table["threshold"]) for name in table.columns[1:]]
    d = decompose(data["y"], data["A"])
    assert areas == pytest.approx([d.score, d.score - d.miscalibration, d.uncertainty], abs=2e-6)


def test_cumulative_curve_keeps_its_extremes_when_thinned(data):
    """Range and end point of a curve of 50 points are those of all 2,000."""
    cells = pool_ties(data["y"], data["A"])
    table = cumulative_curve(cells, points=50)
    assert len(table) <= 53
    assert np.ptp(table["difference"]) == cumulative_calibration(cells).range
    assert table["difference"].iloc[-1] == pytest.approx(cells.base_rate - cells.mean_probability)
    assert table["share"].iloc[[0, -1]].tolist() == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("draw", [lambda c: probability_histogram(c, bins=0), lambda c: murphy_curve(c, points=1)])
def test_too_few_points_are_refused(draw):
    """A curve of no points is refused."""
    with pytest.raises(MeasureError, match="at least"):
        draw(pool_ties([0, 1], [0.2, 0.8]))
