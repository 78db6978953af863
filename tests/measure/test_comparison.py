"""Comparing forecasters: R's Diebold–Mariano, the published baseball notebook, promotion under peeking."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from forecastle.contract.errors import MeasureError
from forecastle.measure.comparison import compare_forecasts, paired_test, score_differences
from forecastle.measure.confidence_sequence import confidence_sequence
from tests.measure.minstd import fixture

if TYPE_CHECKING:
    from pathlib import Path

FIXTURE = fixture()
Y, A, B = FIXTURE["y"], FIXTURE["A"], FIXTURE["B"]
D = score_differences(Y, A, B).values


def test_paired_t_equals_the_published_numbers() -> None:
    """Brier A - B: mean .0047512243, t 2.86730755, p .0041831762, CI (.0015015309, .0080009176) (§8.2)."""
    test = paired_test(D)
    assert test.mean == pytest.approx(0.0047512243, abs=5e-11)
    assert test.statistic == pytest.approx(2.86730755, abs=5e-9)
    assert test.p_value == pytest.approx(0.0041831762, abs=5e-11)
    assert [test.low, test.high] == pytest.approx([0.0015015309, 0.0080009176], abs=5e-11)
    assert test.method == "paired t"


@pytest.mark.parametrize(
    ("horizon", "kernel", "expected"),
    [
        (3, "rectangular", 2.99936613),
        (3, "bartlett", 2.92220197),
        (7, "rectangular", 2.95032204),
        (7, "bartlett", 2.92715353),
    ],
)
def test_diebold_mariano_equals_r_forecast(horizon: int, kernel: Any, expected: float) -> None:
    """R forecast::dm.test with varestimator acf (rectangular) and bartlett (STATISTICS §8.2)."""
    assert paired_test(D, horizon=horizon, kernel=kernel).statistic == pytest.approx(expected, abs=5e-9)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-5, 5), min_size=3, max_size=30).filter(lambda x: np.std(x) > 1e-3))
def test_horizon_one_is_scipys_t_test(values: list[float]) -> None:
    """SciPy's one-sample t test is an independent implementation."""
    theirs, ours = stats.ttest_1samp(values, 0.0), paired_test(values)
    assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-9, abs=1e-9)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-7, abs=1e-12)
    interval = theirs.confidence_interval(0.95)
    assert [ours.low, ours.high] == pytest.approx([interval.low, interval.high], rel=1e-8, abs=1e-9)


def test_a_negative_variance_falls_back_to_bartlett() -> None:
    """Alternating differences: c0 + 2 c1 = 1 - 2(n-1)/n < 0 under the rectangular kernel."""
    test = paired_test([1.0, -1.0] * 10, horizon=2, kernel="rectangular")
    assert "bartlett" in test.method
    assert test.standard_error > 0


def test_differences_that_never_vary() -> None:
    """Twins: statistic 0, p 1. A constant gap: infinite statistic, p 0."""
    assert paired_test([0.0, 0.0, 0.0]).p_value == 1.0
    constant = paired_test([0.25, 0.25, 0.25])
    assert (constant.statistic, constant.p_value) == (math.inf, 0.0)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.booleans(), st.floats(0.1, 0.8), st.floats(0.1, 0.8)), min_size=1, max_size=20),
    score=st.sampled_from(["brier", "log"]),
)
def test_differences_keep_their_width_and_change_sign(rows: list[Any], score: Any) -> None:
    """|d| <= width/2 always; swapping the forecasters flips every sign."""
    y, p, q = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    d = score_differences(y, p, q, score=score, limits=(0.1, 0.8))
    assert bool(np.all(np.abs(d.values) <= d.width / 2 + 1e-12))
    swapped = score_differences(y, q, p, score=score, limits=(0.1, 0.8))
    assert bool(np.all(d.values == -swapped.values))


def test_widths() -> None:
    """Brier on [0, 1]: 2; on [.1, .8]: 2·max(.8² - .1², .9² - .2²) = 1.54; log: 2·max(ln 8, ln 4.5)."""
    y, p, q = [0, 1], [0.1, 0.8], [0.2, 0.2]
    assert score_differences(y, p, q).width == 2.0
    assert score_differences(y, p, q, limits=(0.1, 0.8)).width == pytest.approx(2 * (0.9**2 - 0.2**2))
    log = score_differences(y, p, q, score="log", limits=(0.1, 0.8))
    assert log.width == pytest.approx(2 * math.log(8))
    assert log.values.tolist() == pytest.approx([math.log(0.8 / 0.9), math.log(0.2 / 0.8)])


def test_comparison_says_what_it_knows() -> None:
    """B beats A by .00475: the fixed-size test is sure, the anytime-valid bounds are not yet."""
    comparison = compare_forecasts(Y, A, B, seed=1)
    assert (comparison.verdict, comparison.n) == ("undecided", 2000)
    assert [comparison.low, comparison.high] == pytest.approx([-0.004135, 0.013637], abs=5e-7)
    assert comparison.e_better == pytest.approx(4.25995, abs=5e-6)
    assert comparison.test.p_value < 0.05
    assert comparison.bootstrap.low > 0
    assert "undecided" in comparison.reasons[1]


def test_verdict_follows_the_bounds() -> None:
    """A coin against the calibrated forecast is worse, the other way round better."""
    coin = np.full_like(Y, 0.5)
    assert compare_forecasts(Y, FIXTURE["a"], coin, seed=1).verdict == "worse"
    assert compare_forecasts(Y, coin, FIXTURE["a"], seed=1).verdict == "better"
    assert compare_forecasts(Y, coin, FIXTURE["a"], seed=1, horizon=4).test.method.endswith("horizon 4")


def test_peeking_rarely_promotes_a_twin() -> None:
    """Two equally good forecasters, 50 looks: peeking promotes often, the sequence in at most 5 %."""
    rng, runs, n = np.random.default_rng(6), 150, 1500
    looks = np.arange(30, n + 1, 30) - 1
    peeked = promoted = 0
    for _ in range(runs):
        p = rng.random(n)
        y = (rng.random(n) < p).astype(float)
        champion, challenger = (np.clip(p + rng.normal(0, 0.1, n), 0, 1) for _ in range(2))
        d = score_differences(y, champion, challenger)
        time = np.arange(1, n + 1)
        mean = np.cumsum(d.values) / time
        error = np.sqrt((np.cumsum(d.values**2) / time - mean**2) / time)
        peeked += bool(np.any(mean[looks] > 1.96 * error[looks]))
        promoted += bool(np.any(confidence_sequence(d.values, width=d.width).low[looks] > 0))
    assert promoted / runs <= 0.05
    assert peeked / runs > 0.08


BASEBALL = {
    ("fivethirtyeight", "vegas"): (-0.002652, -0.000615),
    ("fivethirtyeight", "constant"): (0.005652, 0.009358),
    ("fivethirtyeight", "laplace"): (0.004563, 0.007937),
    ("fivethirtyeight", "k29"): (0.007612, 0.012089),
    ("vegas", "constant"): (0.007129, 0.011147),
    ("vegas", "laplace"): (0.005962, 0.009804),
    ("vegas", "k29"): (0.009045, 0.013922),
    ("constant", "laplace"): (-0.002953, 0.000444),
    ("constant", "k29"): (0.000054, 0.004638),
    ("laplace", "k29"): (0.001966, 0.005235),
}
E_VALUES = {
    ("vegas", "fivethirtyeight"): (2979.0399, 5e-4),
    ("fivethirtyeight", "vegas"): (0.0913, 5e-5),
    ("constant", "k29"): (48.8812, 5e-5),
    ("laplace", "k29"): (5384731.4, 0.05),
}


def test_baseball_equals_the_published_notebook(real_data: Path) -> None:
    """Choe & Ramdas, notebook nb_comparecast_baseball: ten pairs, e-values, first exclusion at game 9,891."""
    import pandas as pd

    games = pd.read_parquet(real_data / "calibration" / "mlb_forecasters_2010_2019.parquet")
    names = ("fivethirtyeight", "vegas", "constant", "laplace", "k29")
    assert set(BASEBALL) == set(itertools.combinations(names, 2))
    for (p, q), bounds in BASEBALL.items():
        # Their sign: positive where the first is better, so the first is our challenger.
        paired = score_differences(games["y"], games[q], games[p])
        sequence = confidence_sequence(paired.values, width=paired.width)
        assert [sequence.low[-1], sequence.high[-1]] == pytest.approx(bounds, abs=1e-6)
        found = {(p, q): sequence.log_e_positive[-1], (q, p): sequence.log_e_negative[-1]}
        for pair in found.keys() & E_VALUES.keys():
            value, tolerance = E_VALUES[pair]
            assert math.exp(found[pair]) == pytest.approx(value, abs=tolerance)
        if (p, q) == ("fivethirtyeight", "vegas"):
            assert int(np.argmax(sequence.high < 0)) + 1 == 9891
            test = paired_test(-paired.values)  # noqa: PD011
            assert test.statistic == pytest.approx(6.504555, abs=5e-7)
            assert [test.low, test.high] == pytest.approx([0.00114112, 0.00212545], abs=5e-9)


def test_unusable_input_is_refused() -> None:
    """Unbounded log scores, probabilities beyond the limits, unknown options and tiny samples are refused."""
    with pytest.raises(MeasureError, match="inside \\(0, 1\\) for the log score"):
        score_differences(Y, A, B, score="log")
    with pytest.raises(MeasureError, match="keep the limits"):
        score_differences(Y, A, B, limits=(0.2, 0.8))
    with pytest.raises(MeasureError, match="'brier' or 'log'"):
        score_differences(Y, A, B, score="crps")  # type: ignore[arg-type]
    with pytest.raises(MeasureError, match="different lengths"):
        score_differences(Y, A, B[:-1])
    with pytest.raises(MeasureError, match="horizon"):
        paired_test([0.1])
    with pytest.raises(MeasureError, match="horizon"):
        paired_test([0.1, 0.2], horizon=2)
    with pytest.raises(MeasureError, match="kernel"):
        paired_test([0.1, 0.2], kernel="parzen")  # type: ignore[arg-type]
