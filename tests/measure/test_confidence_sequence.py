"""Anytime-valid bounds and e-values: published boundaries, quadrature, coverage at every look."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from forecastle.contract.errors import MeasureError
from forecastle.measure.confidence_sequence import (
    SequenceState,
    asymptotic_half_width,
    asymptotic_log_e,
    asymptotic_sequence,
    boundary,
    confidence_sequence,
    log_mixture,
)
from tests.measure.minstd import fixture

FIXTURE = fixture()
DIFFERENCES = (FIXTURE["A"] - FIXTURE["y"]) ** 2 - (FIXTURE["B"] - FIXTURE["y"]) ** 2
VALUES = st.lists(st.floats(-1, 1), min_size=1, max_size=40)


def test_boundary_equals_confseq() -> None:
    """Package confseq: v = 1, 10, 100, 1000 at alpha .025, c 2, v_opt 100 (STATISTICS §8.2)."""
    expected = [13.94216856, 17.42810111, 36.87197092, 111.40068587]
    assert boundary([1, 10, 100, 1000], width=2).tolist() == pytest.approx(expected, abs=5e-9)


def test_sequence_equals_comparecast() -> None:
    """Package comparecast on Brier(A) - Brier(B) at t = 100, 500, 1000, 2000; e 4.25995 and .24276 (§8.2)."""
    sequence = confidence_sequence(DIFFERENCES, width=2)
    at = np.array([100, 500, 1000, 2000]) - 1
    assert sequence.low[at].tolist() == pytest.approx([-0.139921, -0.022182, -0.009797, -0.004135], abs=5e-7)
    assert sequence.high[at].tolist() == pytest.approx([0.138922, 0.037075, 0.021919, 0.013637], abs=5e-7)
    assert math.exp(sequence.log_e_positive[-1]) == pytest.approx(4.25995, abs=5e-6)
    assert math.exp(sequence.log_e_negative[-1]) == pytest.approx(0.24276, abs=5e-6)


@pytest.mark.parametrize(("s", "v"), [(5.0, 3.0), (-2.0, 10.0), (40.0, 400.0), (0.0, 1.0), (-30.0, 50.0)])
def test_mixture_equals_its_integral(s: float, v: float) -> None:
    """The definition: exp(λs − ψ(λ)v) integrated over λ in (0, 1/c), ψ(λ) = (−ln(1−cλ) − cλ)/c², gamma prior.

    The mixing density of 1 − cλ is gamma with shape and rate k = rho/c², cut to (0, 1).
    """
    c, logarithm = 2.0, 2 * math.log(1 / 0.05)
    k = 100 / (logarithm + math.log1p(logarithm)) / c**2

    def prior(x: float) -> float:
        return math.exp((k - 1) * math.log(x) - k * x)

    def integrand(x: float) -> float:
        psi = (-math.log(x) - (1 - x)) / c**2
        return math.exp((1 - x) / c * s - psi * v) * prior(x)

    value = integrate.quad(integrand, 0, 1, epsabs=0, epsrel=1e-10)[0] / integrate.quad(prior, 0, 1)[0]
    assert float(log_mixture(s, v, width=c)) == pytest.approx(math.log(value), abs=1e-6)


def test_mixture_below_its_range_takes_the_limit() -> None:
    """For c·s + v + rho <= 0 it stays at its limit as B → 0, and is continuous there."""
    logarithm = 2 * math.log(1 / 0.05)
    rho = 100 / (logarithm + math.log1p(logarithm))
    edge = -(5 + rho) / 2
    at, below, above = log_mixture([edge, edge - 50, edge + 1e-6], 5.0, width=2)
    assert at == pytest.approx(below, abs=1e-12)
    assert above == pytest.approx(at, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(v=st.floats(1, 1e7), level=st.sampled_from([0.8, 0.95, 0.999]), width=st.floats(0.05, 20))
def test_boundary_solves_its_equation(v: float, level: float, width: float) -> None:
    """At the boundary the mixture is 2/alpha."""
    bound = boundary(v, width=width, level=level)
    got = float(log_mixture(bound, v, width=width, level=level))
    assert got == pytest.approx(math.log(2 / (1 - level)), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(values=VALUES, cut=st.integers(0, 40))
def test_state_equals_the_batch(values: list[float], cut: int) -> None:
    """One by one, in two batches or all at once: the same mean, bounds and e-values."""
    state = SequenceState(width=2.0)
    for value in values:
        state = state.update(value)
    batch = confidence_sequence(values, width=2.0)
    low, high = state.interval()
    assert [low, high] == pytest.approx([float(batch.low[-1]), float(batch.high[-1])], abs=1e-9)
    assert list(state.log_e_values()) == pytest.approx(
        [float(batch.log_e_positive[-1]), float(batch.log_e_negative[-1])], abs=1e-9
    )
    halves = SequenceState(width=2.0)
    for part in (values[:cut], values[cut:]):
        halves = halves.update_many(part) if part else halves
    assert dataclasses.astuple(halves) == pytest.approx(dataclasses.astuple(state), abs=1e-9)


def test_state_survives_json() -> None:
    """The state is plain numbers: stored, restored and equal."""
    state = SequenceState(width=2.0, v_opt=30.0).update_many(DIFFERENCES)
    assert SequenceState(**json.loads(json.dumps(dataclasses.asdict(state)))) == state


def test_nothing_seen_says_nothing() -> None:
    """Before the first value the interval is the whole range and the e-values are 1."""
    state = SequenceState(width=0.5)
    assert state.interval() == (-0.25, 0.25)
    assert state.mean == 0.0
    assert list(state.log_e_values()) == pytest.approx([0.0, 0.0], abs=1e-12)


def simulated(seed: int, *, runs: int, n: int) -> Any:
    """Differences in [-1, 1] with mean exactly 0: skewed, two-valued, .8 with probability .2, else -.2."""
    return np.where(np.random.default_rng(seed).random((runs, n)) < 0.2, 0.8, -0.2)


def test_miscoverage_over_all_looks_stays_below_alpha() -> None:
    """400 sequences of 400 values with mean 0: at most 10 % ever leave the 90 % bounds (seeded)."""
    left = 0
    for x in simulated(1, runs=400, n=400):
        sequence = confidence_sequence(x, width=2, level=0.9, v_opt=20)
        left += bool(np.any((sequence.low > 0) | (sequence.high < 0)))
    assert left / 400 <= 0.1


def test_e_values_have_mean_at_most_one_without_a_difference() -> None:
    """At a fixed time the expected e-value is at most 1; both directions, 2,000 sequences (seeded)."""
    x = simulated(2, runs=2000, n=150)
    time = np.arange(1, 150)
    predicted = np.concatenate([np.zeros((2000, 1)), np.cumsum(x, axis=1)[:, :-1] / time], axis=1)
    variance = np.sum((x - predicted) ** 2, axis=1)
    for sign in (1, -1):
        e = np.exp(log_mixture(sign * x.sum(axis=1), variance, width=2, v_opt=20))
        assert e.mean() <= 1 + 3 * e.std() / math.sqrt(2000)


def test_a_real_difference_is_found() -> None:
    """A mean of .1 excludes 0 after a few thousand values; one e-value passes 20, the other falls."""
    x = np.where(np.random.default_rng(3).random(4000) < 0.3, 0.8, -0.2)
    sequence = confidence_sequence(x, width=2)
    assert sequence.low[-1] > 0
    assert sequence.log_e_positive[-1] > math.log(20)
    assert sequence.log_e_negative[-1] < 0


def test_a_horizon_interleaves() -> None:
    """With h = 3 the bounds at the end are the count-weighted bounds of three sequences at alpha/3."""
    parts = [confidence_sequence(DIFFERENCES[k::3], width=2, level=1 - 0.05 / 3) for k in range(3)]
    whole = confidence_sequence(DIFFERENCES, width=2, horizon=3)
    low = sum(part.low[-1] * part.low.size for part in parts) / DIFFERENCES.size
    assert whole.low[-1] == pytest.approx(low, abs=1e-12)
    e = np.mean([math.exp(part.log_e_positive[-1]) for part in parts])
    assert math.exp(whole.log_e_positive[-1]) == pytest.approx(e, rel=1e-9)
    # Two values in, the third sequence has not begun: it counts e-value 1 and no observation.
    assert whole.mean[1] == pytest.approx(DIFFERENCES[:2].mean(), abs=1e-15)
    assert bool(np.all((whole.low <= whole.mean) & (whole.mean <= whole.high)))


def test_extreme_evidence_stays_finite() -> None:
    """A million equal differences overflow no logarithm."""
    state = SequenceState(width=2.0).update_many(np.full(1_000_000, 0.9))
    assert all(math.isfinite(value) for value in state.log_e_values())
    assert state.interval()[0] > 0.89


def test_asymptotic_half_width_equals_growthbook() -> None:
    """GrowthBook: relative lift .50336, se .33341, n 6461, tuning 1000 → (−.55844, 1.56516)."""
    half = float(asymptotic_half_width(0.33341, 3000 + 3461, n_opt=1000))
    assert [0.50336 - half, 0.50336 + half] == pytest.approx([-0.55844, 1.56516], abs=1e-5)


def test_asymptotic_e_value_is_dual_to_the_interval() -> None:
    """The e-value is 1/alpha exactly where the interval touches 0."""
    for n in (50, 1000, 20_000):
        z = float(asymptotic_half_width(1.0, n, level=0.9, n_opt=500))
        assert math.exp(asymptotic_log_e(z, n, level=0.9, n_opt=500)) == pytest.approx(10, rel=1e-9)


def test_asymptotic_sequence_holds_at_every_look() -> None:
    """500 sequences of 2,000 values with mean 0, seen from 100 on: at most 5 % ever exclude it (seeded)."""
    sequences = [asymptotic_sequence(x) for x in simulated(4, runs=500, n=2000)]
    outside = [bool(np.any((s.low[99:] > 0) | (s.high[99:] < 0))) for s in sequences]
    assert np.mean(outside) <= 0.05


def test_asymptotic_sequence_follows_its_formulas() -> None:
    """Last look: mean ± half width of sd/sqrt(n); the e-value is the half-normal mixture, integrated."""
    x = np.random.default_rng(8).normal(0.1, 2.0, 300)
    sequence = asymptotic_sequence(x, n_opt=200)
    error = x.std() / math.sqrt(300)
    assert sequence.high[-1] == pytest.approx(x.mean() + asymptotic_half_width(error, 300, n_opt=200), abs=1e-12)
    logarithm = -2 * math.log(0.05)
    r = math.sqrt((logarithm + math.log1p(logarithm)) / 200)
    score, information = x.mean() / error * math.sqrt(300), 300.0

    def integrand(effect: float) -> float:
        density = 2 * math.exp(-(effect**2) / (2 * r**2)) / (r * math.sqrt(2 * math.pi))
        return density * math.exp(effect * score - effect**2 * information / 2)

    expected = integrate.quad(integrand, 0, 12 * r, epsrel=1e-10)[0]
    assert math.exp(sequence.log_e_positive[-1]) == pytest.approx(expected, rel=1e-7)


def test_asymptotic_sequence_knows_nothing_before_values_vary() -> None:
    """One value, or equal ones: infinite bounds and e-value 1; an offset of 1e6 costs no digits."""
    sequence = asymptotic_sequence([0.3, 0.3, 0.3])
    assert bool(np.all(np.isinf(sequence.low) & np.isinf(sequence.high)))
    assert sequence.log_e_positive.tolist() == [0.0, 0.0, 0.0]
    x = np.random.default_rng(9).normal(size=500)
    shifted, plain = asymptotic_sequence(x + 1e6), asymptotic_sequence(x)
    assert (shifted.high - shifted.mean)[50:] == pytest.approx((plain.high - plain.mean)[50:], rel=1e-6)


def test_unusable_input_is_refused() -> None:
    """Values beyond the width, missing values and options out of range are refused."""
    with pytest.raises(MeasureError, match=r"\[-1, 1\], got 1.5"):
        confidence_sequence([0.1, 1.5], width=2)
    with pytest.raises(MeasureError, match="got nan"):
        SequenceState(width=2.0).update(math.nan)
    with pytest.raises(MeasureError, match="missing"):
        confidence_sequence([0.1, math.nan], width=2)
    with pytest.raises(MeasureError, match="width"):
        boundary(1.0, width=0)
    with pytest.raises(MeasureError, match="level"):
        boundary(1.0, width=2, level=95)
    with pytest.raises(MeasureError, match="n_opt"):
        asymptotic_half_width(1.0, 10, n_opt=0)
    with pytest.raises(MeasureError, match="horizon"):
        confidence_sequence([0.1], width=2, horizon=2)
