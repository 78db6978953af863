"""Bootstrap intervals against closed forms, brute-force resampling and their coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.errors import MeasureError
from forecastle.measure.bootstrap import (
    _weighted_auc,
    interval_of,
    mean_interval,
    resample_counts,
    score_intervals,
    sums_interval,
)
from tests.measure.minstd import fixture

if TYPE_CHECKING:
    from pathlib import Path

FIXTURE = fixture()
Y, A, C = FIXTURE["y"], FIXTURE["A"], FIXTURE["C"]


def counts(units: int, **options: Any) -> Any:
    return np.concatenate(list(resample_counts(units, seed=0, **options)))


def test_every_resample_draws_as_many_units_as_there_are() -> None:
    """Counts are whole numbers with row sum n, mean 1 and variance 1 - 1/n (multinomial)."""
    drawn = counts(50, resamples=4000)
    assert drawn.sum(axis=1).tolist() == [50.0] * 4000
    assert drawn.mean() == 1.0
    assert drawn.var(axis=0).mean() == pytest.approx(1 - 1 / 50, abs=0.02)


def test_counts_do_not_depend_on_the_chunk() -> None:
    """Memory is bounded without changing a single draw."""
    assert np.array_equal(counts(30, resamples=17), counts(30, resamples=17, chunk=3))


@settings(max_examples=40, deadline=None)
@given(units=st.integers(4, 40), length=st.integers(1, 12))
def test_blocks_cover_runs_of_units(units: int, length: int) -> None:
    """Each resample is ceil(n / L) runs of L consecutive units on the circle."""
    if length > units // 2:
        with pytest.raises(MeasureError, match="block_length"):
            counts(units, resamples=2, block_length=length)
        return
    drawn = counts(units, resamples=50, block_length=length)
    assert set(drawn.sum(axis=1).tolist()) == {float(-(-units // length) * length)}
    # Going round the circle, the count rises by the blocks that start and falls by those that end L later.
    spectrum = np.abs(np.fft.fft(drawn, axis=1))
    box = np.abs(np.fft.fft(np.r_[np.ones(length), np.zeros(units - length)]))
    assert bool(np.all(spectrum[:, box < 1e-9] < 1e-6))


def test_mean_interval_agrees_with_the_normal_one() -> None:
    """Brier of A: percentile bootstrap and mean ± 1.96 sd/sqrt(n) differ by simulation noise only."""
    loss = (A - Y) ** 2
    interval = mean_interval(loss, seed=1, resamples=4000)
    half = 1.959964 * loss.std() / np.sqrt(loss.size)
    assert interval.estimate == pytest.approx(0.1733118268, abs=1e-10)
    assert [interval.low, interval.high] == pytest.approx(
        [interval.estimate - half, interval.estimate + half], abs=0.05 * half
    )
    assert (interval.n, interval.clusters, interval.method) == (2000, None, "percentile")


def test_copies_within_clusters_do_not_narrow_the_interval() -> None:
    """Each row copied four times, resampled by entity, gives the interval of the original rows."""
    loss = (A - Y) ** 2
    single = mean_interval(loss, seed=3)
    copied = mean_interval(np.repeat(loss, 4), clusters=np.repeat(np.arange(loss.size), 4), seed=3)
    assert [copied.low, copied.high] == pytest.approx([single.low, single.high], abs=1e-12)
    naive = mean_interval(np.repeat(loss, 4), seed=3)
    assert (naive.high - naive.low) == pytest.approx((single.high - single.low) / 2, rel=0.1)


def test_blocks_widen_the_interval_of_a_persistent_series() -> None:
    """AR(1) with .8: the variance of the mean is (1+.8)/(1-.8) = 9 times that of independent rows."""
    rng, x = np.random.default_rng(11), np.zeros(4000)
    for i in range(1, x.size):
        x[i] = 0.8 * x[i - 1] + rng.normal()
    rows, blocks = (mean_interval(x, seed=1, block_length=length) for length in (1, 80))
    assert (blocks.high - blocks.low) / (rows.high - rows.low) == pytest.approx(3.0, rel=0.2)


def test_weighted_mean_and_ratio() -> None:
    """Weights of 2 equal two rows in the estimate; a ratio of sums is a ratio of means."""
    x = np.array([1.0, 5.0, 2.0, 8.0])
    assert mean_interval(x, weights=[2, 1, 1, 0], seed=0).estimate == (2 * 1 + 5 + 2) / 4
    ratio = sums_interval(np.column_stack([x, x + 1]), lambda s: s[:, 0] / s[:, 1], seed=0)
    assert ratio.estimate == 16 / 20
    assert 0.5 <= ratio.low <= ratio.high <= 8 / 9


def test_score_intervals_hold_the_published_estimates() -> None:
    """STATISTICS §8.2: A has Brier .1733118268, log loss .5330111060, AUC .8312553276."""
    scores = score_intervals(Y, A, seed=5)
    assert scores["brier"].estimate == pytest.approx(0.1733118268, abs=1e-10)
    assert scores["log_loss"].estimate == pytest.approx(0.5330111060, abs=1e-10)
    assert scores["auc"].estimate == pytest.approx(0.8312553276, abs=1e-10)
    # DeLong's interval for the same AUC.
    assert [scores["auc"].low, scores["auc"].high] == pytest.approx([0.8138133230, 0.8486973321], abs=2e-3)


def test_score_intervals_equal_resampling_row_by_row() -> None:
    """The same counts, expanded to rows and scored one resample at a time by scikit-learn."""
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    y, p = Y[:200], C[:200]
    order = np.argsort(p, kind="stable")
    replicates: dict[str, list[float]] = {"brier": [], "log_loss": [], "auc": []}
    for row in counts(200, resamples=60).astype(int):
        picked = np.repeat(order, row)
        replicates["brier"].append(brier_score_loss(y[picked], p[picked]))
        replicates["log_loss"].append(log_loss(y[picked], p[picked]))
        replicates["auc"].append(roc_auc_score(y[picked], p[picked]))
    ours = score_intervals(y, p, resamples=60, seed=0)
    for name, values in replicates.items():
        low, high = np.quantile(values, [0.025, 0.975], method="inverted_cdf")
        assert [ours[name].low, ours[name].high] == pytest.approx([low, high], abs=1e-12)


def test_clustered_scores_copy_invariance() -> None:
    """Copying rows inside their clusters changes neither estimate nor interval of any score."""
    single = score_intervals(Y, C, seed=2, resamples=200, bins=1)
    rows = np.repeat(np.arange(Y.size), 3)
    copied = score_intervals(Y[rows], C[rows], clusters=rows, seed=2, resamples=200, bins=1)
    # Clusters are numbered in row order, single rows in probability order: compare distributions, not draws.
    for name, interval in single.items():
        width = interval.high - interval.low
        assert copied[name].estimate == pytest.approx(interval.estimate, abs=1e-12)
        assert [copied[name].low, copied[name].high] == pytest.approx([interval.low, interval.high], abs=0.2 * width)


@pytest.mark.parametrize("options", [{"block_length": 7}, {"clusters": np.arange(2000) // 8, "block_length": 3}])
def test_blocks_of_scores_run_over_time(options: Any) -> None:
    """Sorting by probability inside must not touch the order of time: Brier equals its mean's interval."""
    scores = score_intervals(Y, A, seed=4, resamples=100, **options)
    mean = mean_interval((A - Y) ** 2, seed=4, resamples=100, **options)
    assert [scores["brier"].low, scores["brier"].high] == pytest.approx([mean.low, mean.high], abs=1e-12)
    assert scores["brier"].clusters == mean.clusters


def test_a_constant_forecast_has_one_bin() -> None:
    """Ties share a bin: the calibration error of a constant is |base rate − constant|, whatever the bins."""
    ece = score_intervals(Y, np.full_like(Y, 0.4), seed=0, resamples=50)["ece"]
    assert ece.estimate == pytest.approx(Y.mean() - 0.4, abs=1e-12)


def test_the_interval_of_the_calibration_error_leans_towards_zero() -> None:
    """The plug-in ECE is biased upwards, so the pivotal interval reaches further down than up."""
    rng = np.random.default_rng(0)
    p = rng.random(3000)
    interval = score_intervals((rng.random(3000) < p).astype(float), p, seed=1)["ece"]
    assert interval.method == "pivotal"
    assert 0 <= interval.low < interval.estimate
    assert interval.estimate - interval.low > 2 * (interval.high - interval.estimate)


def test_infinite_log_loss_stays_infinite() -> None:
    """One certain and wrong row: estimate and upper end are infinite, the Brier interval is not."""
    p = A.copy()
    p[np.argmax(Y)] = 0.0
    scores = score_intervals(Y, p, seed=1, resamples=200)
    assert scores["log_loss"].estimate == scores["log_loss"].high == np.inf
    # A resample misses the row with probability (1 - 1/n)^n = .37, so the lower end is finite.
    assert np.isfinite(scores["log_loss"].low)
    assert scores["brier"].high < 0.2


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), min_size=2, max_size=25))
def test_weighted_auc_counts_pairs(rows: list[tuple[int, bool, int]]) -> None:
    """The definition: weighted share of (positive, negative) pairs in order, ties a half."""
    rows.sort()
    s, y, w = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    pair = np.outer(w * y, w * (1 - y))
    expected = (pair * ((s[:, None] > s) + 0.5 * (s[:, None] == s))).sum()
    starts = np.flatnonzero(np.diff(s, prepend=-1.0))
    got = _weighted_auc(w[None, :], y, starts)[0]
    if pair.sum() == 0:
        assert np.isnan(got)
    else:
        assert got == pytest.approx(expected / pair.sum(), abs=1e-12)


def test_coverage_of_a_clustered_mean() -> None:
    """300 seeded samples of 60 clusters: the 90 % interval holds the truth in about 90 % of them."""
    rng, hits = np.random.default_rng(17), 0
    for i in range(300):
        effect = np.repeat(rng.normal(size=60), 5)
        interval = mean_interval(
            effect + rng.normal(size=300),
            clusters=np.repeat(np.arange(60), 5),
            resamples=300,
            level=0.9,
            seed=i,
        )
        hits += interval.low <= 0.0 <= interval.high
    assert 0.85 <= hits / 300 <= 0.94


def test_the_same_seed_gives_the_same_interval() -> None:
    """Same inputs, same bytes."""
    assert score_intervals(Y, A, seed=9, resamples=50) == score_intervals(Y, A, seed=9, resamples=50)


def test_real_brier_differences_by_day(real_data: Path) -> None:
    """Baseball 2010–2019: the bookmaker beats 538 by .00163; resampling days agrees with the t test."""
    import pandas as pd

    games = pd.read_parquet(real_data / "calibration" / "mlb_forecasters_2010_2019.parquet")
    difference = (games["fivethirtyeight"] - games["y"]) ** 2 - (games["vegas"] - games["y"]) ** 2
    interval = mean_interval(difference, clusters=games["date"], seed=1)
    assert interval.estimate == pytest.approx(0.001633285, abs=1e-7)
    assert [interval.low, interval.high] == pytest.approx([0.00114112, 0.00212545], abs=1.5e-4)
    assert interval.n == 25165


def test_unusable_input_is_refused() -> None:
    """One cluster, one outcome, wrong lengths, missing values and wrong options are refused."""
    with pytest.raises(MeasureError, match="at least 2 units"):
        mean_interval([1.0, 2.0], clusters=["a", "a"], seed=0)
    with pytest.raises(MeasureError, match="both outcomes"):
        score_intervals([1, 1], [0.4, 0.5], seed=0)
    with pytest.raises(MeasureError, match="got 1 labels for 2 rows"):
        mean_interval([1.0, 2.0], clusters=["a"], seed=0)
    with pytest.raises(MeasureError, match="missing"):
        mean_interval([1.0, np.nan], seed=0)
    with pytest.raises(MeasureError, match="level"):
        mean_interval([1.0, 2.0], level=95, seed=0)
    with pytest.raises(MeasureError, match="must be a table"):
        sums_interval([1.0, 2.0], lambda s: s[:, 0], seed=0)
    with pytest.raises(MeasureError, match="bins"):
        score_intervals([1, 0], [0.4, 0.5], seed=0, bins=0)
    with pytest.raises(MeasureError, match="undefined in 2 of 4"):
        interval_of(1.0, np.array([1.0, np.nan, 2.0, np.nan]), level=0.9, n=4, clusters=None)


def test_a_million_units_are_resampled_in_groups():
    """Beyond 50,000 rows random groups stand in for rows: the normal interval all the same, to 10 %."""
    x = np.random.default_rng(9).exponential(size=60_000)
    found = mean_interval(x, seed=1)
    half = 1.96 * x.std(ddof=1) / np.sqrt(x.size)
    assert (found.n, found.clusters) == (x.size, None)
    assert found.estimate == pytest.approx(x.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
