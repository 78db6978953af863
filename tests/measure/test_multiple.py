"""Multiplicity corrections against R's p.adjust numbers, SciPy and their defining property."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from forecastle.contract.errors import MeasureError
from forecastle.measure.multiple import benjamini_hochberg, benjamini_yekutieli, holm

P = [0.0001, 0.004, 0.019, 0.02, 0.03, 0.045, 0.2, 0.5, 0.7, 0.9]
P_LISTS = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def test_benjamini_hochberg_equals_the_published_example() -> None:
    """STATISTICS §8.2: p.adjust(p, 'BH')."""
    expected = [0.001, 0.02, 0.05, 0.05, 0.06, 0.075, 2 / 7, 0.625, 7 / 9, 0.9]
    assert benjamini_hochberg(P).tolist() == pytest.approx(expected, abs=1e-12)


def test_benjamini_yekutieli_multiplies_by_the_harmonic_number() -> None:
    """H_10 = 7381/2520 = 2.92896825; first adjusted value .00292897."""
    assert benjamini_yekutieli(P)[0] == pytest.approx(0.0001 * 10 * 7381 / 2520, abs=1e-15)
    assert benjamini_yekutieli(P)[0] == pytest.approx(0.00292897, abs=5e-9)


def test_holm_multiplies_by_the_tests_that_are_left() -> None:
    """Second of ten: .004 * 9 = .036; third .019 * 8 = .152, fourth .02 * 7 = .14 is raised to it."""
    assert holm(P)[:4].tolist() == pytest.approx([0.001, 0.036, 0.152, 0.152], abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(p=P_LISTS)
def test_false_discovery_adjustments_equal_scipy(p: list[float]) -> None:
    """SciPy's false_discovery_control is an independent implementation of both."""
    assert benjamini_hochberg(p).tolist() == pytest.approx(false_discovery_control(p, method="bh").tolist())
    assert benjamini_yekutieli(p).tolist() == pytest.approx(false_discovery_control(p, method="by").tolist())


@settings(max_examples=60, deadline=None)
@given(p=P_LISTS)
def test_adjustments_keep_order_and_only_raise(p: list[float]) -> None:
    """Adjusted values keep the order of the p-values, never fall below them and stay within [0, 1]."""
    for adjust in (benjamini_hochberg, benjamini_yekutieli, holm):
        adjusted = adjust(p)
        assert bool(np.all(adjusted >= np.asarray(p) * (1 - 1e-12)))
        assert bool(np.all(adjusted <= 1))
        assert bool(np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0))


def test_false_discovery_rate_is_controlled() -> None:
    """With 20 true effects of 100, the mean share of false discoveries at q = .1 stays below .1."""
    rng, shares = np.random.default_rng(5), []
    from scipy.stats import norm

    for _ in range(200):
        p = norm.sf(np.concatenate([rng.normal(3, 1, 20), rng.normal(0, 1, 80)]))
        found = benjamini_hochberg(p) <= 0.1
        shares.append(found[20:].sum() / max(found.sum(), 1))
    assert np.mean(shares) < 0.1


def test_nothing_to_adjust_stays_nothing() -> None:
    """No tests, no adjusted values."""
    assert benjamini_hochberg([]).size == holm([]).size == benjamini_yekutieli([]).size == 0


@pytest.mark.parametrize("bad", [[0.1, np.nan], [1.2], [-0.1], [[0.1, 0.2]]])
def test_values_that_are_no_p_values_are_refused(bad: object) -> None:
    """NaN, values outside [0, 1] and tables are refused by every correction."""
    for adjust in (benjamini_hochberg, benjamini_yekutieli, holm):
        with pytest.raises(MeasureError, match="p-values must"):
            adjust(bad)  # type: ignore[arg-type]
