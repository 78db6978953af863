"""Scores equal published numbers, scikit-learn, arithmetic by hand, and their limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from forecastle.contract.errors import MeasureError
from forecastle.measure.bootstrap import score_intervals
from forecastle.measure.scores import (
    auc,
    auc_interval,
    brier_score,
    brier_scores,
    compare_auc,
    elementary_scores,
    log_loss,
    log_scores,
    normal_quantile,
    skill,
)
from tests.measure.minstd import fixture, triples

PUBLISHED = {
    "a": (0.1679236292, 0.5024047894),
    "A": (0.1733118268, 0.5330111060),
    "B": (0.1685606026, 0.5069537820),
    "C": (0.1683925000, 0.5051746773),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_scores_of_the_fixture_agree_with_r(name):
    """Brier score and log loss of the fixture, computed in R 4.2 and Python, to ten digits."""
    data = fixture()
    brier, log = PUBLISHED[name]
    assert brier_score(data["y"], data[name]) == pytest.approx(brier, abs=5e-11)
    assert log_loss(data["y"], data[name]) == pytest.approx(log, abs=5e-11)


def test_scores_by_hand():
    """One right and one wrong forecast of 0.8: (0.04 + 0.64) / 2 and -(ln 0.8 + ln 0.2) / 2."""
    assert brier_score([1, 0], [0.8, 0.8]) == pytest.approx((0.2**2 + 0.8**2) / 2)
    assert log_loss([1, 0], [0.8, 0.8]) == pytest.approx(-(np.log(0.8) + np.log(0.2)) / 2)
    assert brier_scores([1, 0], [0.8, 0.8]).tolist() == pytest.approx([0.04, 0.64])


def test_a_certain_wrong_forecast_costs_infinitely_and_a_right_one_nothing():
    """Log loss is never clipped: 0 for certain and right, infinite for certain and wrong."""
    assert log_scores([1, 0, 1], [1.0, 0.0, 0.0]).tolist() == [0.0, 0.0, np.inf]
    assert log_loss([1, 0], [1.0, 1.0]) == np.inf
    assert str(log_loss([1, 0], [1.0, 0.0])) == "0.0"


def test_a_row_of_no_weight_counts_for_nothing():
    """An infinite score of weight 0 leaves the mean finite."""
    assert log_loss([1, 1], [0.5, 0.0], weights=[1.0, 0.0]) == pytest.approx(np.log(2.0))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(0.01, 0.99), st.integers(1, 5)), min_size=2, max_size=50).filter(
        lambda data: 0 < sum(y for y, _, _ in data) < len(data)
    )
)
def test_weighted_scores_equal_scikit_learn(data):
    """Weighted Brier score, log loss and AUC equal scikit-learn's."""
    y, p, w = (np.array(column) for column in zip(*data, strict=True))
    assert brier_score(y, p, weights=w) == pytest.approx(brier_score_loss(y, p, sample_weight=w))
    assert log_loss(y, p, weights=w) == pytest.approx(sklearn_log_loss(y, p, sample_weight=w))
    assert auc(y, p, weights=w) == pytest.approx(roc_auc_score(y, p, sample_weight=w))


def test_auc_interval_agrees_with_proc():
    """AUC, DeLong variance and 95 % interval of forecast A equal R pROC."""
    data = fixture()
    found = auc_interval(data["y"], data["A"])
    assert found.auc == pytest.approx(0.8312553276, abs=5e-11)
    assert found.variance == pytest.approx(7.919479e-5, abs=5e-12)
    assert (found.low, found.high) == pytest.approx((0.8138133230, 0.8486973321), abs=5e-11)
    assert (found.positives, found.negatives) == (978, 1022)


def test_paired_auc_test_agrees_with_proc():
    """A against a noisy copy of a: AUC .8072717195 and Z 4.85295530 as R pROC gives."""
    data, (a, b, _) = fixture(), triples()
    found = compare_auc(data["y"], data["A"], a + 0.5 * (b - 0.5))
    assert found.other_auc == pytest.approx(0.8072717195, abs=5e-11)
    assert found.z == pytest.approx(4.85295530, abs=5e-9)
    assert found.low < found.difference < found.high
    assert found.p_value == pytest.approx(1.2e-6, rel=0.05)


def test_auc_counts_ties_half():
    """Pairs (0.5, 0.5) count half, (0.9, 0.5) one: (0.5 + 1) / 2."""
    assert auc([0, 1, 1], [0.5, 0.5, 0.9]) == 0.75


def test_auc_limits():
    """Separated classes give an interval of no width, equal scores no difference."""
    perfect = auc_interval([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert (perfect.auc, perfect.low, perfect.high) == (1.0, 1.0, 1.0)
    same = compare_auc([0, 1, 0, 1], [1, 2, 3, 4], [1, 2, 3, 4])
    assert (same.difference, same.z, same.p_value) == (0.0, 0.0, 1.0)
    opposed = compare_auc([0, 0, 1, 1], [1, 2, 3, 4], [4, 3, 2, 1])
    assert (opposed.difference, opposed.z, opposed.p_value) == (1.0, np.inf, 0.0)


@pytest.mark.parametrize("measure", [auc, auc_interval, lambda y, p: compare_auc(y, p, p)])
def test_auc_of_one_class_is_refused(measure):
    """Without both classes there is no pair to rank."""
    with pytest.raises(MeasureError, match="negative outcomes"):
        measure([1, 1, 1], [0.1, 0.2, 0.3])


def test_skill_and_its_limits():
    """(0.25 - 0.2) / 0.25; none against a reference of zero; minus infinity for an infinite score."""
    assert skill(0.2, 0.25) == pytest.approx(0.2)
    assert skill(0.0, 0.0) is None
    assert skill(np.inf, 0.69) == -np.inf


def test_elementary_scores_by_hand():
    """At 0.5, the event forecast at 0.2 costs 2 (1 - 0.5) and the non-event at 0.3 nothing."""
    assert elementary_scores([1, 0], [0.2, 0.3], [0.5]).tolist() == [0.5]
    assert elementary_scores([1, 0], [0.2, 0.7], [0.5]).tolist() == [1.0]


def test_area_under_elementary_scores_is_the_brier_score():
    """The Murphy diagram integrates to the Brier score (Ehm et al. 2016)."""
    data = fixture()
    thresholds = np.linspace(0.0, 1.0, 5001)
    area = np.trapezoid(elementary_scores(data["y"], data["B"], thresholds), thresholds)
    assert area == pytest.approx(0.1685606026, abs=2e-6)


@pytest.mark.parametrize("measure", [brier_score, log_loss])
@pytest.mark.parametrize(("y", "p"), [([], []), ([1], [1.2]), ([2], [0.2]), ([1, 0], [0.1]), ([1], [float("nan")])])
def test_unclean_input_is_refused(measure, y, p):
    """Empty, out of range, unpaired or missing input has no score."""
    with pytest.raises(MeasureError):
        measure(y, p)


def test_real_forecasts_have_the_published_scores(real_data):
    """Mean Brier scores of 25,165 baseball games, as the Choe-Ramdas notebook prints them."""
    import pandas as pd

    games = pd.read_parquet(real_data / "calibration" / "mlb_forecasters_2010_2019.parquet")
    published = {"fivethirtyeight": 0.242495, "vegas": 0.240862, "laplace": 0.248745, "k29": 0.252346}
    for name, expected in published.items():
        assert brier_score(games["y"], games[name]) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0])
def test_levels_outside_zero_and_one_are_refused(level):
    """A confidence level is a share strictly between 0 and 1."""
    with pytest.raises(MeasureError, match="level"):
        normal_quantile(level)
    assert normal_quantile(0.95) == pytest.approx(1.959964, abs=5e-7)


def test_auc_of_single_row_clusters_is_delong():
    """Obuchowski's variance with one row a cluster is DeLong's, for each forecast of the fixture."""
    data = fixture()
    for name in "aABC":
        plain = auc_interval(data["y"], data[name])
        single = auc_interval(data["y"], data[name], clusters=np.arange(data["y"].size))
        assert single.auc == pytest.approx(plain.auc, abs=1e-12)
        assert single.variance == pytest.approx(plain.variance, rel=1e-9)
        assert (plain.clusters, single.clusters) == (None, data["y"].size)


def test_auc_of_repeated_rows_knows_it():
    """Rows repeated five times say nothing new: by cluster the interval is that of the rows met once."""
    data = fixture()
    y, p, cluster = np.repeat(data["y"], 5), np.repeat(data["C"], 5), np.repeat(np.arange(data["y"].size), 5)
    once = auc_interval(data["y"], data["C"])
    assert auc_interval(y, p).variance < once.variance / 4
    assert auc_interval(y, p, clusters=cluster).variance == pytest.approx(once.variance, rel=1e-9)


def test_clustered_auc_agrees_with_the_cluster_bootstrap():
    """Days that share their luck: Obuchowski's standard error is the bootstrap's to 10 %, and DeLong's too small."""
    rng = np.random.default_rng(5)
    day = np.repeat(np.arange(150), 20)
    signal = rng.normal(size=150)[day] + 0.5 * rng.normal(size=day.size)
    p = 1 / (1 + np.exp(-signal))
    y = (rng.random(day.size) < 1 / (1 + np.exp(-(0.7 * signal + rng.normal(size=150)[day])))).astype(float)
    found = auc_interval(y, p, clusters=day)
    drawn = score_intervals(y, p, clusters=day, resamples=600, seed=1)["auc"]
    assert found.auc == pytest.approx(drawn.estimate, abs=1e-12)
    assert found.high - found.low == pytest.approx(drawn.high - drawn.low, rel=0.1)
    assert auc_interval(y, p).variance < 0.5 * found.variance
