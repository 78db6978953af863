"""Intervals of proportions against published numbers, SciPy and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, chi2_contingency

from forecastle.contract.errors import MeasureError
from forecastle.measure.intervals import clopper_pearson, clustered_mean, two_proportions, wilson

COUNTS = st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_wilson_equals_the_published_example() -> None:
    """3 of 20: (.05236875, .36041886) (STATISTICS §8.2)."""
    assert [float(bound) for bound in wilson(3, 20)] == pytest.approx([0.05236875, 0.36041886], abs=5e-9)


def test_clopper_pearson_equals_the_published_examples() -> None:
    """3 of 20: (.03207094, .37892683); 0 of 15: (0, .21801936), which is 1 - .025^(1/15)."""
    assert [float(bound) for bound in clopper_pearson(3, 20)] == pytest.approx([0.03207094, 0.37892683], abs=5e-9)
    low, high = clopper_pearson(0, 15)
    assert float(low) == 0.0
    assert float(high) == pytest.approx(1 - 0.025 ** (1 / 15), abs=1e-14)


@settings(max_examples=60, deadline=None)
@given(counts=COUNTS.filter(lambda pair: pair[1] > 0), level=st.sampled_from([0.8, 0.95, 0.99]))
def test_intervals_equal_scipy(counts: tuple[int, int], level: float) -> None:
    """SciPy's binomtest computes both intervals by root finding and by formula."""
    x, n = counts
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = binomtest(x, n).proportion_ci(level, method)
        assert [float(b) for b in ours(x, n, level=level)] == pytest.approx([theirs.low, theirs.high], abs=1e-9)


@pytest.mark.parametrize("p", [0.02, 0.2, 0.5])
def test_exact_coverage(p: float) -> None:
    """Over all outcomes of n = 40 Clopper–Pearson covers at least 95 %, Wilson about 95 %."""
    x = np.arange(41)
    weight = binom.pmf(x, 40, p)
    coverage = {}
    for interval in (wilson, clopper_pearson):
        low, high = interval(x, np.full(41, 40))
        coverage[interval.__name__] = weight[(low <= p) & (p <= high)].sum()
    assert coverage["clopper_pearson"] >= 0.95
    assert coverage["wilson"] >= 0.92


def test_no_trials_give_the_whole_range() -> None:
    """Nothing seen, nothing known: [0, 1]; all or none seen reaches the end exactly."""
    for interval in (wilson, clopper_pearson):
        low, high = interval([0, 0, 7], [0, 7, 7])
        assert low.tolist()[:2] == [0.0, 0.0]
        assert [high[0], high[2]] == [1.0, 1.0]
        assert 0 < low[2] < 1
        assert 0 < high[1] < 1


def test_two_proportions_wald_equals_the_published_example() -> None:
    """520/5000 v 580/5000: X² 3.67722165, p .055160695, Wald (-.0242628, .0002628) (STATISTICS §8.2)."""
    result = two_proportions(520, 5000, 580, 5000, method="wald")
    assert float(result.statistic) ** 2 == pytest.approx(3.67722165, abs=5e-9)
    assert float(result.p_value) == pytest.approx(0.055160695, abs=5e-10)
    assert [float(result.low), float(result.high)] == pytest.approx([-0.0242628, 0.0002628], abs=5e-8)


def test_two_proportions_newcombe_equals_table_ii() -> None:
    """Newcombe 1998, Table II, method 10: 56/70-48/80, 9/10-3/10, 6/7-2/7, 5/56-0/29."""
    result = two_proportions([56, 9, 6, 5], [70, 10, 7, 56], [48, 3, 2, 0], [80, 10, 7, 29])
    assert result.low.tolist() == pytest.approx([0.0524, 0.1705, 0.0582, -0.0381], abs=5e-5)
    assert result.high.tolist() == pytest.approx([0.3339, 0.8090, 0.8062, 0.1926], abs=5e-5)


@settings(max_examples=60, deadline=None)
@given(a=COUNTS, b=COUNTS)
def test_the_pooled_test_is_pearsons(a: tuple[int, int], b: tuple[int, int]) -> None:
    """The squared statistic is X² without Yates' correction; swapping the sides flips the sign."""
    result = two_proportions(*a, *b)
    table = np.array([[a[0], a[1] - a[0]], [b[0], b[1] - b[0]]])
    if table.sum(0).min() > 0 and table.sum(1).min() > 0:
        assert float(result.p_value) == pytest.approx(chi2_contingency(table, correction=False).pvalue, abs=1e-9)
    else:
        assert float(result.p_value) == 1.0
    mirrored = two_proportions(*b, *a)
    assert float(result.difference) == -float(mirrored.difference)
    assert float(result.low) == pytest.approx(-float(mirrored.high), abs=1e-12)
    assert float(result.low) <= float(result.difference) <= float(result.high)


def test_an_empty_side_says_that_nothing_is_known() -> None:
    """No trials on one side: difference 0, interval [-1, 1], p 1."""
    result = two_proportions([0, 3], [0, 5], [3, 0], [5, 0])
    assert result.low.tolist() == [-1.0, -1.0]
    assert result.high.tolist() == [1.0, 1.0]
    assert result.p_value.tolist() == [1.0, 1.0]


def test_unusable_counts_are_refused() -> None:
    """Rates in place of counts, more successes than trials, and a level of 95 are refused."""
    with pytest.raises(MeasureError, match="0 <= successes <= n, got 6 of 5"):
        wilson([1, 6], [5, 5])
    with pytest.raises(MeasureError, match="successes"):
        clopper_pearson(np.nan, 5)
    with pytest.raises(MeasureError, match="level"):
        wilson(1, 5, level=95)
    with pytest.raises(MeasureError, match="level"):
        two_proportions(1, 5, 2, 5, level=0)
    with pytest.raises(MeasureError, match="method"):
        two_proportions(1, 5, 2, 5, method="agresti")  # type: ignore[arg-type]


def test_a_clustered_error_is_the_one_by_hand() -> None:
    """Clusters (1, 3), (5), (7): mean 4, sums of deviations −4, 1, 3; sqrt((16 + 1 + 9) · 3/2) / 4."""
    mean, error = clustered_mean([1.0, 3.0, 5.0, 7.0], ["a", "a", "b", "c"])
    assert (mean, error) == (4.0, pytest.approx(np.sqrt(26 * 3 / 2) / 4))


def test_a_clustered_error_of_single_rows_is_the_usual_one() -> None:
    """With one row a cluster it is the sample standard deviation over sqrt n."""
    values = np.random.default_rng(3).normal(size=50)
    mean, error = clustered_mean(values, np.arange(50))
    assert (mean, error) == (pytest.approx(values.mean()), pytest.approx(values.std(ddof=1) / np.sqrt(50)))
