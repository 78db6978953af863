"""The CORP decomposition equals R's, adds up, and keeps its invariances."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import MeasureError
from forecastle.measure.decomposition import (
    PARTS,
    decompose,
    decompose_forecasts,
    decompose_slices,
    decomposition_intervals,
)
from forecastle.measure.isotonic import isotonic_fit, pool_ties
from tests.measure.minstd import fixture

PUBLISHED = {
    "a": (0.0036003678, 0.0855557386, 0.0111230872, 0.2016234588),
    "A": (0.0089885654, 0.0855557386, 0.0417294037, 0.2016234588),
    "B": (0.0042373412, 0.0855557386, 0.0156720797, 0.2016234588),
    "C": (0.0014447411, 0.0829312411, 0.0036207746, 0.1913512584),
}
NIAMEY = {
    "Logistic": (0.2057461719, 0.0170760574, 0.0555406605),
    "EMOS": (0.2320251794, 0.0182829433, 0.0304685390),
    "ENS": (0.2661676743, 0.0660722283, 0.0441153290),
    "EPC": (0.2342817554, 0.0223497474, 0.0322787670),
}
rows = st.lists(st.tuples(st.integers(0, 1), st.floats(0.0, 1.0)), min_size=1, max_size=80)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parts_of_the_fixture_agree_with_r(name):
    """Miscalibration and discrimination of both scores equal R isoreg to ten digits."""
    data = fixture()
    brier, log = decompose(data["y"], data[name]), decompose(data["y"], data[name], rule="log_loss")
    expected = pytest.approx(PUBLISHED[name], abs=5e-11)
    assert (brier.miscalibration, brier.discrimination, log.miscalibration, log.discrimination) == expected
    assert brier.uncertainty == pytest.approx(0.249879, abs=1e-15)
    assert log.uncertainty == pytest.approx(0.6929051610, abs=5e-11)
    assert brier.skill == pytest.approx((brier.uncertainty - brier.score) / brier.uncertainty)


@settings(max_examples=80, deadline=None)
@given(rows, st.sampled_from(["brier", "log_loss"]))
def test_parts_add_up_and_are_not_negative(data, rule):
    """Score = miscalibration - discrimination + uncertainty to 1e-12; neither part is below zero."""
    d = decompose([y for y, _ in data], [p for _, p in data], rule=rule)
    if np.isfinite(d.score):
        assert d.score == pytest.approx(d.miscalibration - d.discrimination + d.uncertainty, abs=1e-12)
    assert d.miscalibration >= -1e-12
    assert d.discrimination >= -1e-12


@settings(max_examples=50, deadline=None)
@given(rows)
def test_recalibrated_forecasts_have_no_miscalibration(data):
    """Decomposing the isotonic fit again finds nothing to recalibrate."""
    y, p = np.array([float(y) for y, _ in data]), np.array([p for _, p in data])
    cells = pool_ties(y, p)
    q = isotonic_fit(cells).rates[np.searchsorted(cells.probabilities, p)]
    for rule in ("brier", "log_loss"):
        assert decompose(y, q, rule=rule).miscalibration == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1000)), min_size=1, max_size=80))
def test_discrimination_ignores_monotone_maps(data):
    """A strictly increasing map of the forecasts leaves discrimination as it was."""
    y, p = [y for y, _ in data], np.array([k / 1000 for _, k in data])
    assert decompose(y, p**3).discrimination == pytest.approx(decompose(y, p).discrimination, abs=1e-12)


def test_whole_weights_equal_repeated_rows():
    """A row of weight 3 is three rows."""
    y, p, w = [0, 1, 1, 0], [0.2, 0.4, 0.4, 0.9], [1, 3, 2, 2]
    weighted = decompose(y, p, weights=w)
    repeated = decompose(np.repeat(y, w), np.repeat(p, w))
    for part in PARTS:
        assert getattr(weighted, part) == pytest.approx(getattr(repeated, part), abs=1e-15)


def test_limits_are_reported_not_hidden():
    """One class has no uncertainty and no skill; a certain wrong forecast has infinite log loss."""
    single = decompose([1, 1], [0.7, 0.9])
    assert (single.uncertainty, single.discrimination, single.skill) == (0.0, 0.0, None)
    assert single.miscalibration == pytest.approx((0.09 + 0.01) / 2)
    wrong = decompose([0, 1, 1], [1.0, 0.5, 0.6], rule="log_loss")
    assert (wrong.score, wrong.miscalibration) == (np.inf, np.inf)
    assert np.isfinite(wrong.uncertainty)
    constant = decompose([0, 1, 1, 0], [0.5] * 4)
    assert (constant.miscalibration, constant.discrimination) == (0.0, 0.0)


@pytest.mark.parametrize("name", NIAMEY)
def test_niamey_precipitation_has_the_published_parts(real_data, name):
    """92 rainfall forecasts of the CORP paper: R reliabilitydiag prints EMOS .232 .0183 .0305 .244."""
    rain = pd.read_csv(real_data / "calibration" / "precip_niamey_2016.csv")
    d = decompose(rain["obs"], rain[name])
    assert (d.score, d.miscalibration, d.discrimination) == pytest.approx(NIAMEY[name], abs=5e-11)
    assert d.uncertainty == pytest.approx(0.2442107750, abs=5e-11)
    assert np.isinf(decompose(rain["obs"], rain[name], rule="log_loss").score) == (name == "ENS")


def test_baseball_has_the_published_parts(real_data):
    """25,165 games: parts of FiveThirtyEight and the market, and their common uncertainty."""
    games = pd.read_parquet(real_data / "calibration" / "mlb_forecasters_2010_2019.parquet")
    names = ["fivethirtyeight", "vegas"]
    table = decompose_forecasts(games["y"], {name: games[name] for name in names})
    brier = table[table["rule"] == "brier"].set_index("forecast")
    assert brier["miscalibration"].tolist() == pytest.approx([0.0005168167, 0.0004436031], abs=5e-11)
    assert brier["discrimination"].tolist() == pytest.approx([0.0067833304, 0.0083433995], abs=5e-11)
    assert brier["uncertainty"].tolist() == pytest.approx([0.2487618215] * 2, abs=5e-11)


def test_slices_are_decomposed_as_if_alone():
    """Each slice's rows in the table equal its own decomposition; slices come sorted."""
    data = fixture()
    label = np.where(np.arange(2000) % 3 == 0, "late", "early")
    table = decompose_slices(data["y"], data["A"], label)
    assert table["slice"].tolist() == ["early", "early", "late", "late"]
    assert table["rule"].tolist() == ["brier", "log_loss"] * 2
    alone = decompose(data["y"][label == "late"], data["A"][label == "late"], rule="log_loss")
    assert [table.loc[3, part] for part in PARTS] == pytest.approx([getattr(alone, part) for part in PARTS])
    assert table.loc[3, "n"] == 667


def test_intervals_hold_the_estimates_and_repeat_with_the_seed():
    """Every interval holds its estimate; the same seed gives the same intervals, another one does not."""
    data = fixture()
    first = decomposition_intervals(data["y"], data["A"], seed=1)
    assert first == decomposition_intervals(data["y"], data["A"], seed=1)
    assert first != decomposition_intervals(data["y"], data["A"], seed=2)
    for rule, intervals in zip(("brier", "log_loss"), first, strict=True):
        estimate = decompose(data["y"], data["A"], rule=rule)
        for part in PARTS:
            low, high = getattr(intervals, part)
            assert low <= getattr(estimate, part) <= high


def test_score_interval_is_the_textbook_one():
    """The bootstrap interval of the mean Brier score is near mean ± 1.96 s / sqrt(n)."""
    data = fixture()
    squares = (data["y"] - data["a"]) ** 2
    half = 1.959964 * squares.std(ddof=1) / np.sqrt(2000)
    low, high = decomposition_intervals(data["y"], data["a"], seed=3)[0].score
    assert (low, high) == pytest.approx((squares.mean() - half, squares.mean() + half), abs=0.1 * half)


def test_calibrated_forecasts_are_not_called_miscalibrated_by_the_interval():
    """The interval of miscalibration of calibrated forecasts reaches (nearly) down to zero."""
    data = fixture()
    low, high = decomposition_intervals(data["y"], data["a"], seed=4)[0].miscalibration
    assert low < 0.0005 < high
    low, _ = decomposition_intervals(data["y"], data["A"], seed=4)[0].miscalibration
    assert low > 0.002


def test_clusters_widen_intervals_of_repeated_rows():
    """Every row copied four times: intervals by cluster are those of the single rows, rows alone are half as
    wide.
    """
    data = fixture()
    y, p, cluster = (np.repeat(values, 4) for values in (data["y"], data["A"], np.arange(2000)))
    width = {
        name: np.ptp(decomposition_intervals(y, p, clusters=clusters, seed=5)[0].score)
        for name, clusters in (("rows", None), ("clusters", cluster))
    }
    assert width["clusters"] / width["rows"] == pytest.approx(2.0, rel=0.1)


def test_many_clusters_are_grouped():
    """More than 5,000 clusters are put together at random, and the interval stays the same in size."""
    generator = np.random.default_rng(0)
    p = generator.random(12_000)
    y = (generator.random(12_000) < p).astype(float)
    grouped = decomposition_intervals(y, p, clusters=np.arange(12_000), seed=6)[0]
    plain = decomposition_intervals(y, p, seed=6)[0]
    assert grouped.clusters == 12_000
    assert np.ptp(grouped.score) == pytest.approx(np.ptp(plain.score), rel=0.15)


def test_intervals_without_an_answer_are_none():
    """An infinite log loss and the skill of a single class have no interval."""
    brier, log = decomposition_intervals([0, 1, 1, 0], [1.0, 0.5, 0.6, 0.1], seed=0)
    assert (log.score, log.miscalibration) == (None, None)
    assert brier.score[0] < brier.score[1]
    assert decomposition_intervals([1, 1], [0.5, 0.6], seed=0)[0].skill is None


@pytest.mark.parametrize(
    "options", [{"clusters": ["one"] * 4}, {"resamples": 10}, {"level": 1.0}, {"clusters": ["a", "b"]}]
)
def test_intervals_refuse_what_cannot_be_resampled(options):
    """One cluster, too few resamples, an impossible level and unpaired clusters are refused."""
    with pytest.raises(MeasureError):
        decomposition_intervals([0, 1, 1, 0], [0.1, 0.5, 0.6, 0.1], seed=0, **options)


def test_unknown_rules_are_refused_with_a_hint():
    """A misspelt rule is answered with the closest one."""
    with pytest.raises(MeasureError, match="did you mean 'log_loss'"):
        decompose([0, 1], [0.2, 0.8], rule="logloss")
