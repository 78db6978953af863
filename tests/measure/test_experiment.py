"""Read-outs: GrowthBook's and Kohavi's numbers, SciPy, regression, and error rates under peeking."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from forecastle.contract.errors import MeasureError
from forecastle.measure.experiment import (
    ArmSummary,
    arm_summary,
    arm_summary_of_sums,
    cuped,
    fixed_read_out,
    proportion_read_out,
    ratio_summary,
    sample_ratio,
    sequential_read_out,
)

if TYPE_CHECKING:
    from pathlib import Path

HALVES = {"control": 0.5, "treatment": 0.5}


def counts(control: int, treatment: int) -> dict[str, int]:
    return {"control": control, "treatment": treatment}


def test_sample_ratio_equals_kohavis_example() -> None:
    """Kohavi, Tang & Xu 2020: 821,588 against 815,482 users of a 50/50 split, p = 1.8e-6."""
    check = sample_ratio(counts(821_588, 815_482), HALVES)
    assert check.p_value == pytest.approx(1.82179e-6, rel=1e-5)
    assert check.is_mismatch
    assert "not the declared one" in check.reasons[1]


def test_sample_ratio_equals_the_published_chi_squared() -> None:
    """50,440 against 49,560: chi-squared (440² + 440²) / 50,000 = 7.744, p .0053891295 (STATISTICS §8.2)."""
    check = sample_ratio(counts(50_440, 49_560), HALVES)
    assert check.statistic == pytest.approx((440**2 + 440**2) / 50_000)
    assert check.p_value == pytest.approx(0.0053891295, abs=5e-11)
    assert check.e_value == pytest.approx(10.1869, abs=1e-4)
    assert not check.is_mismatch


def test_sample_ratio_e_value_is_a_ratio_of_likelihoods() -> None:
    """Three arms, few units: the product of one-step-ahead Dirichlet predictions over the declared shares."""
    shares, sequence, k = {"a": 0.5, "b": 0.3, "c": 0.2}, "abbcabacca", 30.0
    seen, e = dict.fromkeys(shares, 0), 1.0
    for i, arm in enumerate(sequence):
        e *= (k * shares[arm] + seen[arm]) / (k + i) / shares[arm]
        seen[arm] += 1
    assert sample_ratio(seen, shares, concentration=k).e_value == pytest.approx(e, rel=1e-9)


def test_sample_ratio_holds_under_daily_looks() -> None:
    """Clean experiments of 60 days: chi-squared at .05 alarms often, e-values above 20 in at most 5 %."""
    rng = np.random.default_rng(21)
    chi, sequential = 0, 0
    for _ in range(300):
        treated = np.cumsum(rng.binomial(500, 0.5, 60))
        checks = [sample_ratio(counts(500 * (d + 1) - int(t), int(t)), HALVES) for d, t in enumerate(treated)]
        chi += any(check.p_value < 0.05 for check in checks)
        sequential += any(check.e_value >= 20 for check in checks)
    assert sequential / 300 <= 0.05
    assert chi / 300 > 0.2


def test_sequential_lift_of_means_equals_growthbook() -> None:
    """GrowthBook tests: relative lift .50336, se .33341, CI (-.55844, 1.56516) with tuning 1000."""
    control = arm_summary_of_sums(3000, 1396.87, 52377.9767)
    treatment = arm_summary_of_sums(3461, 2422.7, 134698.29)
    readout = sequential_read_out(control, treatment, is_relative=True, n_opt=1000)
    assert [readout.estimate, readout.standard_error] == pytest.approx([0.50336, 0.33341], abs=5e-6)
    assert [readout.low, readout.high] == pytest.approx([-0.55844, 1.56516], abs=5e-6)
    assert (readout.verdict, readout.p_value) == ("undecided", 1.0)


def test_sequential_lift_of_proportions_equals_growthbook() -> None:
    """GrowthBook tests: 1396/3000 against 2422/3461, tuning 5000 → .50386, se .03386, CI (.40098, .60675)."""
    control, treatment = (ArmSummary(n, x / n, x / n * (1 - x / n)) for x, n in ((1396, 3000), (2422, 3461)))
    readout = sequential_read_out(control, treatment, is_relative=True)
    assert [readout.estimate, readout.standard_error] == pytest.approx([0.50386, 0.03386], abs=5e-6)
    assert [readout.low, readout.high] == pytest.approx([0.40098, 0.60675], abs=2e-5)
    assert readout.verdict == "higher"


@settings(max_examples=50, deadline=None)
@given(
    a=st.lists(st.floats(-9, 9), min_size=3, max_size=20).filter(lambda x: np.std(x) > 0.01),
    b=st.lists(st.floats(-9, 9), min_size=3, max_size=20).filter(lambda x: np.std(x) > 0.01),
)
def test_fixed_read_out_is_welchs_test(a: list[float], b: list[float]) -> None:
    """SciPy's Welch test is an independent implementation."""
    theirs = stats.ttest_ind(b, a, equal_var=False)
    interval = theirs.confidence_interval(0.9)
    ours = fixed_read_out(arm_summary(a), arm_summary(b), level=0.9)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)
    assert [ours.low, ours.high] == pytest.approx([interval.low, interval.high], rel=1e-7, abs=1e-8)


def test_relative_lift_of_a_precise_control_is_the_difference_over_it() -> None:
    """With a control mean known exactly (variance 0) the delta method only rescales."""
    control, treatment = ArmSummary(1000, 4.0, 0.0), ArmSummary(1000, 5.0, 9.0)
    relative = fixed_read_out(control, treatment, is_relative=True)
    absolute = fixed_read_out(control, treatment)
    assert relative.estimate == 0.25
    assert relative.standard_error == pytest.approx(absolute.standard_error / 4)
    assert relative.p_value == pytest.approx(absolute.p_value)


def test_proportions_equal_the_published_test() -> None:
    """520/5000 against 580/5000: p .055160695 (STATISTICS §8.2)."""
    readout = proportion_read_out((580, 5000), (520, 5000))
    assert readout.estimate == pytest.approx(-0.012)
    assert readout.p_value == pytest.approx(0.055160695, abs=5e-10)
    assert (readout.verdict, readout.is_sequential) == ("undecided", False)


def test_ratio_metric_agrees_with_the_bootstrap() -> None:
    """Clicks per view with users randomised: the delta-method error is that of resampling users."""
    rng = np.random.default_rng(2)
    views = rng.poisson(5, 3000) + 1
    clicks = rng.binomial(views, rng.beta(2, 8, 3000))
    summary = ratio_summary(clicks, views)
    assert summary.mean == clicks.sum() / views.sum()
    draws = rng.integers(0, 3000, (1000, 3000))
    bootstrap = (clicks[draws].sum(axis=1) / views[draws].sum(axis=1)).std()
    assert math.sqrt(summary.variance / summary.n) == pytest.approx(bootstrap, rel=0.08)
    # One view a user: the ratio is a mean.
    assert ratio_summary(clicks, np.ones(3000)).variance == pytest.approx(arm_summary(clicks).variance)


def test_cuped_is_the_pooled_regression() -> None:
    """Theta is the coefficient of the covariate in a regression with one intercept an arm (Frisch–Waugh)."""
    rng = np.random.default_rng(3)
    before = rng.normal(size=900)
    arm = rng.integers(0, 2, 900).astype(bool)
    after = 0.8 * before + 0.3 * arm + rng.normal(0, 0.6, 900)
    adjusted = cuped(after[~arm], before[~arm], after[arm], before[arm])
    design = np.column_stack([~arm, arm, before]).astype(float)
    coefficients = np.linalg.lstsq(design, after, rcond=None)[0]
    assert adjusted.theta == pytest.approx(coefficients[2], abs=1e-12)
    lift = adjusted.treatment.mean - adjusted.control.mean
    assert lift == pytest.approx(coefficients[1] - coefficients[0], abs=1e-12)
    plain = fixed_read_out(arm_summary(after[~arm]), arm_summary(after[arm]))
    better = fixed_read_out(adjusted.control, adjusted.treatment)
    saved = 1 - (better.standard_error / plain.standard_error) ** 2
    assert saved == pytest.approx(adjusted.variance_reduction_ratio, abs=0.01)
    assert adjusted.variance_reduction_ratio == pytest.approx(0.64, abs=0.06)


def test_a_constant_covariate_adjusts_nothing() -> None:
    """Nothing known before: theta 0 and the arms as they are."""
    adjusted = cuped([1.0, 2.0, 4.0], [7.0] * 3, [2.0, 3.0], [7.0] * 2)
    assert (adjusted.theta, adjusted.variance_reduction_ratio) == (0.0, 0.0)
    assert adjusted.control == arm_summary([1.0, 2.0, 4.0])


def test_sequential_read_out_survives_peeking() -> None:
    """No effect, 40 looks, 300 times: Welch at .05 alarms often, the sequence in at most 5 %."""
    rng, runs = np.random.default_rng(5), 300
    looks = np.arange(50, 2050, 50)
    fixed = sequential = 0
    for _ in range(runs):
        values = rng.normal(size=(2, 2000))
        total, squares = np.cumsum(values, axis=1), np.cumsum(values**2, axis=1)
        arms = [
            [arm_summary_of_sums(int(n), float(total[i, n - 1]), float(squares[i, n - 1])) for i in (0, 1)]
            for n in looks
        ]
        fixed += any(fixed_read_out(*pair).verdict != "undecided" for pair in arms)
        sequential += any(sequential_read_out(*pair, n_opt=1000).verdict != "undecided" for pair in arms)
    assert sequential / runs <= 0.05
    assert fixed / runs > 0.15


def test_sequential_p_value_and_bounds_agree() -> None:
    """The bounds leave 0 exactly when the always-valid p-value falls below alpha."""
    for mean in np.linspace(0, 0.3, 31):
        readout = sequential_read_out(ArmSummary(400, 1.0, 1.0), ArmSummary(400, 1.0 + mean, 1.0))
        assert (readout.p_value < 0.05) == (readout.low > 0)


def test_a_mismatch_makes_every_read_out_invalid() -> None:
    """A broken split is said first: no verdict on the metric."""
    broken = sample_ratio(counts(52_000, 48_000), HALVES)
    readout = proportion_read_out((5200, 52_000), (6000, 48_000), ratio=broken)
    assert readout.verdict == "invalid"
    assert any("sample ratio is off" in reason for reason in readout.reasons)
    clean = sample_ratio(counts(50_010, 49_990), HALVES)
    assert proportion_read_out((5200, 50_010), (6000, 49_990), ratio=clean).verdict == "higher"


def test_cookie_cats(real_data: Path) -> None:
    """SOURCE.md: retention_7 .19020 v .18200, z 3.1644, p .001554; retention_1 p .07441; split p .0086."""
    import pandas as pd

    players = pd.read_parquet(real_data / "streamrec" / "cookie_cats_ab.parquet")
    arms = dict(list(players.groupby("test_version")))
    check = sample_ratio({arm: len(rows) for arm, rows in arms.items()}, {"gate_30": 0.5, "gate_40": 0.5})
    assert check.p_value == pytest.approx(0.0086, abs=5e-5)

    def read(column: str, **options: Any) -> Any:
        pairs = [(int(arms[arm][column].sum()), len(arms[arm])) for arm in ("gate_30", "gate_40")]
        return proportion_read_out(*pairs, **options)

    assert read("retention_7").p_value == pytest.approx(0.001554, abs=5e-7)
    assert read("retention_7").control.mean == pytest.approx(0.19020, abs=5e-6)
    assert read("retention_7").verdict == "lower"
    assert read("retention_1").p_value == pytest.approx(0.07441, abs=5e-6)


def test_unusable_input_is_refused() -> None:
    """Unknown arms, wrong shares, single units, metrics that never vary and impossible sums are refused."""
    with pytest.raises(MeasureError, match="declared arms"):
        sample_ratio({"control": 5}, HALVES)
    with pytest.raises(MeasureError, match="some units"):
        sample_ratio(counts(0, 0), HALVES)
    with pytest.raises(MeasureError, match="add up to 1"):
        sample_ratio(counts(1, 1), {"control": 0.5, "treatment": 0.6})
    with pytest.raises(MeasureError, match="at least 2 units"):
        arm_summary([1.0])
    with pytest.raises(MeasureError, match="squares"):
        arm_summary_of_sums(10, 100.0, 5.0)
    with pytest.raises(MeasureError, match="never varies"):
        fixed_read_out(ArmSummary(9, 1.0, 0.0), ArmSummary(9, 2.0, 0.0))
    with pytest.raises(MeasureError, match="other than 0"):
        fixed_read_out(ArmSummary(9, 0.0, 1.0), ArmSummary(9, 2.0, 1.0), is_relative=True)
    with pytest.raises(MeasureError, match="level"):
        sequential_read_out(ArmSummary(9, 0.0, 1.0), ArmSummary(9, 2.0, 1.0), level=95)
    with pytest.raises(MeasureError, match="denominator"):
        ratio_summary([1.0, 2.0], [0.0, 0.0])
    with pytest.raises(MeasureError, match="different lengths"):
        cuped([1.0, 2.0], [1.0], [1.0, 2.0], [1.0, 2.0])
