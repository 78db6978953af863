"""Distances against published constants, SciPy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from forecastle.contract.errors import MeasureError
from forecastle.measure.distance import (
    chi2_p_value,
    divergence,
    excess_p_value,
    ks_distance,
    ks_p_value,
    wasserstein_distance,
)
from tests.measure.minstd import triples

SAMPLES = hnp.arrays(np.float64, st.integers(1, 60), elements=st.integers(-20, 20).map(lambda i: i / 4))


def minstd_pair():
    """Reference a[:1000] and current min(1, 0.9 a + 0.05 b)[1000:], both sorted."""
    a, b, _ = triples()
    return np.sort(a[:1000]), np.sort(np.minimum(1.0, 0.9 * a + 0.05 * b)[1000:])


def test_ks_on_the_minstd_fixture():
    """D .112 (R and Python); p by R's limit 7.13e-6, exact 6.9909e-6, so 3 % apart."""
    distance = ks_distance(*minstd_pair())
    assert distance == pytest.approx(0.112, abs=1e-12)
    assert ks_p_value(distance, 1000, 1000) == pytest.approx(6.9909e-6, rel=0.03)


def test_wasserstein_on_the_minstd_fixture():
    """W1 .0420959311 (SciPy, R)."""
    assert wasserstein_distance(*minstd_pair()) == pytest.approx(0.0420959311, abs=1e-10)


def test_psi_on_the_minstd_fixture():
    """Counts 87 … 10 against 100 each: PSI .2375296962, 5 % critical value (2/1000) chi2(9) = .033838."""
    found = divergence([100] * 10, [87, 102, 109, 141, 97, 118, 100, 135, 101, 10])
    assert found.psi == pytest.approx(0.2375296962, abs=1e-10)
    assert found.psi_null_corrected == pytest.approx(0.2375296962 - 9 * 2 / 1000, abs=1e-10)
    assert 2 / 1000 * stats.chi2.isf(0.05, 9) == pytest.approx(0.033838, abs=1e-6)
    assert found.p_value == pytest.approx(stats.chi2.sf(found.psi * 500, 9))
    assert found.tolerance_p_value == pytest.approx(stats.ncx2.sf(found.psi * 500, 9, 0.1 * 500))


def test_jensen_shannon_and_hellinger_by_hand():
    """(1, 0) against (1/2, 1/2) with middle (3/4, 1/4), straight from the definitions."""
    found = divergence([4, 0], [2, 2])
    middle = np.array([0.75, 0.25])
    bits = 0.5 * np.log2(1 / middle[0]) + 0.5 * (0.5 * np.log2(0.5 / middle[0]) + 0.5 * np.log2(0.5 / middle[1]))
    assert found.jensen_shannon == pytest.approx(np.sqrt(bits))
    assert found.hellinger == pytest.approx(np.sqrt(1 - np.sqrt(0.5)))
    # PSI: the empty cell counts as half a row of four, 0.125.
    assert found.psi == pytest.approx((0.5 - 1) * np.log(0.5) + (0.5 - 0.125) * np.log(0.5 / 0.125))


def test_disjoint_samples_are_at_distance_one():
    """Jensen-Shannon (base 2), Hellinger and KS all reach 1 when nothing overlaps."""
    found = divergence([5, 0], [0, 7])
    assert found.jensen_shannon == pytest.approx(1.0)
    assert found.hellinger == pytest.approx(1.0)
    assert ks_distance(np.array([1.0, 2.0]), np.array([3.0])) == 1.0


def test_one_cell_has_no_evidence():
    """A constant feature has a single cell: distance 0 and p-values of 1."""
    found = divergence([5], [9])
    assert (found.psi, found.p_value, found.tolerance_p_value) == (0.0, 1.0, 1.0)
    assert chi2_p_value([5, 0], [9, 0]) == 1.0


def test_chi2_is_pearson_contingency():
    """Equal to SciPy's contingency test without continuity correction."""
    table = np.array([[30, 50, 20], [40, 20, 60]])
    assert chi2_p_value(*table) == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)


def test_excess_is_fishers_exact_test():
    """Equal to SciPy's one-sided Fisher test, and 1 without a hit."""
    for ref_hits, n, hits, m in [(3, 100, 9, 80), (0, 1000, 2, 50), (40, 90, 5, 7)]:
        table = [[hits, m - hits], [ref_hits, n - ref_hits]]
        expected = stats.fisher_exact(table, alternative="greater").pvalue
        assert excess_p_value(ref_hits, n, hits, m) == pytest.approx(expected, rel=1e-8)
    assert excess_p_value(3, 100, 0, 80) == 1.0


def test_tail_share_is_distribution_free():
    """Values beyond the extremes of a reference follow the beta-binomial law of two spacings."""
    n, m = 30, 20
    expected = stats.betabinom.sf(np.arange(0, m), m, 2, n - 1)
    found = [excess_p_value(1, n, hits, m) for hits in range(1, m + 1)]
    assert found == pytest.approx(expected)


def test_psi_null_mean_and_critical_value():
    """Without drift: mean (B-1)(1/n+1/m) within 5 %, 5 % of PSIs above the critical value (2,000 draws)."""
    rng = np.random.default_rng(20260601)
    n, m, cells = 10_000, 1_000, 10
    pairs = zip(rng.multinomial(n, [0.1] * 10, 2000), rng.multinomial(m, [0.1] * 10, 2000), strict=True)
    drawn = [divergence(a, b) for a, b in pairs]
    scale = 1 / n + 1 / m
    assert np.mean([d.psi for d in drawn]) == pytest.approx((cells - 1) * scale, rel=0.05)
    assert np.mean([d.p_value <= 0.05 for d in drawn]) == pytest.approx(0.05, abs=0.02)


def test_tolerance_test_holds_its_level_at_the_tolerance():
    """At a true PSI equal to the tolerance the test rejects about one time in twenty (2,000 draws)."""
    rng = np.random.default_rng(7)
    p = np.full(10, 0.1)
    tilt = np.linspace(-1, 1, 10)
    q = p * (1 + 0.5 * tilt)
    q /= q.sum()
    true_psi = float(np.sum((q - p) * np.log(q / p)))
    n, m = 20_000, 2_000
    rejected = [
        divergence(a, b, tolerance=true_psi).tolerance_p_value <= 0.05
        for a, b in zip(rng.multinomial(n, p, 2000), rng.multinomial(m, q, 2000), strict=True)
    ]
    assert 0.02 <= np.mean(rejected) <= 0.08


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1]), ([0, 0], [1, 2]), ([-1, 3], [1, 2])])
def test_impossible_counts_are_refused(a, b):
    """Other lengths, an empty side and negative counts have no divergence."""
    with pytest.raises(MeasureError, match="cell counts"):
        divergence(a, b)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # SciPy's own p-value, which is not looked at
@settings(max_examples=100, deadline=None)
@given(SAMPLES, SAMPLES)
def test_equal_to_scipy_with_ties(left, right):
    """D and W1 equal SciPy's on tied, tiny and unequal samples, and do not depend on the order of the two."""
    a, b = np.sort(left), np.sort(right)
    assert ks_distance(a, b) == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic, abs=1e-12)
    assert ks_distance(a, b) == pytest.approx(ks_distance(b, a), abs=1e-12)
    assert wasserstein_distance(a, b) == pytest.approx(stats.wasserstein_distance(a, b), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=8), st.lists(st.integers(0, 50), min_size=2, max_size=8))
def test_divergences_are_bounded_and_symmetric(left, right):
    """JS and Hellinger stay in [0, 1]; all are symmetric and 0 for the same counts."""
    size = min(len(left), len(right))
    a, b = [*left[:size], 1], [*right[:size], 1]
    there, back = divergence(a, b), divergence(b, a)
    assert 0 <= there.jensen_shannon <= 1
    assert 0 <= there.hellinger <= 1
    assert there.psi >= 0
    assert (there.psi, there.hellinger) == pytest.approx((back.psi, back.hellinger), abs=1e-9)
    assert divergence(a, a).psi == pytest.approx(0.0, abs=1e-12)
