"""Reading an A/B experiment out: is the split the declared one, and does the treatment move the metric?

Belongs here: sample-ratio mismatch, what an arm needs remembered, fixed-horizon and sequential read-outs.
Does not belong here: assigning units (`assignment.py`), effects without randomisation (`effect.py`).
Everything is computed from three numbers an arm, so an experiment can be read out from SQL aggregates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from forecastle.contract.errors import MeasureError
from forecastle.measure.arrays import as_finite, as_option, same_length
from forecastle.measure.confidence_sequence import asymptotic_half_width, asymptotic_log_e
from forecastle.measure.intervals import two_proportions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

_FOUND = {True: "the split is not the declared one", False: "no sign of another split"}

Verdict = Literal["higher", "lower", "undecided", "invalid"]


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Units seen in each arm against the declared shares.

    `p_value` is the chi-squared test's and holds for one look; `e_value` may be looked at every day.
    """

    counts: dict[str, int]
    expected: dict[str, float]
    statistic: float
    p_value: float
    e_value: float
    is_mismatch: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """What a read-out needs of an arm: `n` units, their `mean`, and the `variance` of one unit's value."""

    n: int
    mean: float
    variance: float


@dataclass(frozen=True, slots=True)
class Cuped:
    """Both arms without what the covariate explains: the variance falls by the factor 1 − correlation²."""

    control: ArmSummary
    treatment: ArmSummary
    theta: float
    variance_reduction_ratio: float


@dataclass(frozen=True, slots=True)
class Readout:
    """Treatment against control: `estimate` is treatment − control, or that over control when `is_relative`.

    A sequential read-out holds at every look and its p-value is always valid (1 / e-value); a fixed-horizon
    one only at the sample size that was planned. The verdict is "invalid" when the sample ratio is off.
    """

    method: str
    estimate: float
    standard_error: float
    low: float
    high: float
    level: float
    p_value: float
    is_relative: bool
    is_sequential: bool
    control: ArmSummary
    treatment: ArmSummary
    verdict: Verdict
    reasons: tuple[str, ...]


def sample_ratio(
    counts: Mapping[str, int],
    shares: Mapping[str, float],
    *,
    alpha: float = 0.01,
    concentration: float = 10_000.0,
) -> SampleRatio:
    """Test that units fell into arms with the declared shares; a mismatch when the e-value reaches 1/alpha.

    Sequential test: multinomial against a Dirichlet mixture with parameters concentration · share (Lindon &
    Malek 2022, arXiv 2011.03567). It depends on the totals only and holds at every look.

    Raises:
        MeasureError: other arms than declared, negative counts, no units, or shares that do not add up to 1.
    """
    as_option(alpha, name="alpha", low=1e-300)
    as_option(concentration, name="concentration", low=1.0, high=1e12)
    _check_split(counts, shares)
    x = np.array([counts[arm] for arm in shares], dtype=np.float64)
    share = np.array(list(shares.values()))
    expected = share * x.sum()
    statistic = float(np.sum((x - expected) ** 2 / expected))
    prior = concentration * share
    log_e = float(_log_beta(prior + x) - _log_beta(prior) - x @ np.log(share))
    e_value = math.exp(min(log_e, 700.0))
    is_mismatch = e_value >= 1 / alpha
    p_value = float(special.chdtrc(x.size - 1, statistic))
    seen = ", ".join(f"{arm} {counts[arm]} of {e:.1f}" for arm, e in zip(shares, expected, strict=True))
    return SampleRatio(
        counts=dict(counts),
        expected=dict(zip(shares, expected.tolist(), strict=True)),
        statistic=statistic,
        p_value=p_value,
        e_value=e_value,
        is_mismatch=is_mismatch,
        reasons=(
            f"units seen of those expected: {seen}; chi-squared {statistic:.4g}, p {p_value:.4g}",
            f"e-value {e_value:.4g}, a mismatch from {1 / alpha:g} on: {_FOUND[is_mismatch]}",
        ),
    )


def arm_summary(values: ArrayLike) -> ArmSummary:
    """Summary of one value a unit (1-d).

    Raises:
        MeasureError: missing values or fewer than two units.
    """
    x = as_finite(values, name="values")
    return arm_summary_of_sums(x.size, float(x.sum()), float(x @ x))


def arm_summary_of_sums(n: int, total: float, squares: float) -> ArmSummary:
    """Summary of `n` units whose values add up to `total` and whose squared values to `squares`.

    Raises:
        MeasureError: fewer than two units, or sums that are not finite or that no values have.
    """
    if n < 2:
        raise MeasureError(f"an arm needs at least 2 units, got {n}: wait for more")
    if not (math.isfinite(total) and math.isfinite(squares)):
        raise MeasureError(f"sums must be finite, got {total} and {squares}: leave units without a value out")
    mean = total / n
    variance = (squares - total * mean) / (n - 1)
    if variance < -1e-9 * squares:
        raise MeasureError(f"squares ({squares}) must be at least total² / n ({total * mean}): check the aggregates")
    return ArmSummary(n, mean, max(variance, 0.0))


def ratio_summary(numerators: ArrayLike, denominators: ArrayLike) -> ArmSummary:
    """Summary of a ratio of sums (clicks per view) when units, not views, are randomised.

    Delta method: variance of (numerator − ratio · denominator) / mean denominator (Deng et al. 2018, KDD).

    Raises:
        MeasureError: unclean input, fewer than two units, or denominators that add up to 0.
    """
    top, bottom = as_finite(numerators, name="numerators"), as_finite(denominators, name="denominators")
    n = same_length(numerators=top, denominators=bottom)
    if n < 2 or bottom.sum() == 0:
        raise MeasureError(f"a ratio needs at least 2 units and a denominator, got {n} and {bottom.sum():g}")
    ratio = float(top.sum() / bottom.sum())
    return ArmSummary(n, ratio, float(np.var(top - ratio * bottom, ddof=1) / bottom.mean() ** 2))


def cuped(control: ArrayLike, control_before: ArrayLike, treatment: ArrayLike, treatment_before: ArrayLike) -> Cuped:
    """Adjust a metric by a covariate known strictly before the experiment: y − theta (x − mean x).

    Theta is the covariance within arms over the variance within arms (Deng, Xu, Kohavi & Walker 2013, WSDM);
    a covariate that never varies adjusts nothing.

    Raises:
        MeasureError: unclean input, different lengths within an arm, or fewer than two units.
    """
    arms = []
    for name, y, x in (("control", control, control_before), ("treatment", treatment, treatment_before)):
        pair = as_finite(y, name=name), as_finite(x, name=f"{name}_before")
        if same_length(**{name: pair[0], f"{name}_before": pair[1]}) < 2:
            raise MeasureError(f"{name} needs at least 2 units, got 1: wait for more")
        arms.append(pair)
    within = np.concatenate([np.array([y - y.mean(), x - x.mean()]) for y, x in arms], axis=1)
    (yy, xy), (_, xx) = within @ within.T
    theta = float(xy / xx) if xx > 0 else 0.0
    centre = float(np.mean(np.concatenate([x for _, x in arms])))
    adjusted = [arm_summary(y - theta * (x - centre)) for y, x in arms]
    reduction = float(xy**2 / (xx * yy)) if xx > 0 and yy > 0 else 0.0
    return Cuped(adjusted[0], adjusted[1], theta, reduction)


def fixed_read_out(
    control: ArmSummary,
    treatment: ArmSummary,
    *,
    level: float = 0.95,
    is_relative: bool = False,
    ratio: SampleRatio | None = None,
) -> Readout:
    """Welch's t test of the difference of means, or of the relative lift by the delta method.

    For one look at the sample size that was planned; `ratio` is the sample-ratio check.

    Raises:
        MeasureError: no variance in either arm, level outside (0, 1), or a lift over a control mean of 0.
    """
    estimate, error = _difference(control, treatment, level, is_relative=is_relative)
    parts = np.array([arm.variance / arm.n for arm in (control, treatment)])
    freedom = float(parts.sum() ** 2 / np.sum(parts**2 / [control.n - 1, treatment.n - 1]))
    half = float(special.stdtrit(freedom, 0.5 + level / 2)) * error
    p_value = 2 * float(special.stdtr(freedom, -abs(estimate) / error))
    bounds = estimate - half, estimate + half
    return _readout(
        control,
        treatment,
        method="Welch t",
        estimate=(estimate, error),
        bounds=bounds,
        p_value=p_value,
        level=level,
        is_relative=is_relative,
        ratio=ratio,
    )


def sequential_read_out(
    control: ArmSummary,
    treatment: ArmSummary,
    *,
    level: float = 0.95,
    n_opt: float = 5_000.0,
    is_relative: bool = False,
    ratio: SampleRatio | None = None,
) -> Readout:
    """The same estimate with bounds that hold at every look, tightest near `n_opt` units in all.

    Asymptotic confidence sequence (Waudby-Smith et al. 2021), as GrowthBook applies it to two arms.

    Raises:
        MeasureError: as `fixed_read_out`.
    """
    estimate, error = _difference(control, treatment, level, is_relative=is_relative)
    n = control.n + treatment.n
    half = float(asymptotic_half_width(error, n, level=level, n_opt=n_opt))
    log_e = float(asymptotic_log_e(estimate / error, n, level=level, n_opt=n_opt))
    bounds, p_value = (estimate - half, estimate + half), min(1.0, math.exp(-log_e))
    method = f"asymptotic confidence sequence, tuned to {n_opt:g} units"
    return _readout(
        control,
        treatment,
        method=method,
        estimate=(estimate, error),
        bounds=bounds,
        p_value=p_value,
        level=level,
        is_relative=is_relative,
        ratio=ratio,
    )


def proportion_read_out(
    control: tuple[int, int],
    treatment: tuple[int, int],
    *,
    level: float = 0.95,
    ratio: SampleRatio | None = None,
) -> Readout:
    """Two proportions, each (successes, n): Newcombe's interval of the difference, Pearson's test.

    Raises:
        MeasureError: counts that are not 0 <= successes <= n, fewer than two units, or level outside (0, 1).
    """
    arms = [arm_summary_of_sums(n, successes, successes) for successes, n in (control, treatment)]
    result = two_proportions(*treatment, *control, level=level)
    return _readout(
        *arms,
        method="two proportions (Newcombe, Pearson)",
        estimate=(float(result.difference), math.sqrt(sum(arm.variance / arm.n for arm in arms))),
        bounds=(float(result.low), float(result.high)),
        p_value=float(result.p_value),
        level=level,
        is_relative=False,
        ratio=ratio,
    )


def _difference(control: ArmSummary, treatment: ArmSummary, level: float, *, is_relative: bool) -> tuple[float, float]:
    """Estimate and standard error of the difference, or of the relative lift."""
    if not 0 < level < 1:
        raise MeasureError(f"level must lie strictly between 0 and 1 (0.95 for 95 %), got {level}")
    for arm in (control, treatment):
        if not (math.isfinite(arm.mean) and 0 <= arm.variance < math.inf and arm.n >= 2):
            raise MeasureError(f"got {arm}; finite numbers of at least 2 units are allowed; use `arm_summary`")
    a, b = control.variance / control.n, treatment.variance / treatment.n
    if a + b == 0:
        raise MeasureError("the metric never varies in either arm: there is nothing to read out")
    difference = treatment.mean - control.mean
    if not is_relative:
        return difference, math.sqrt(a + b)
    if control.mean == 0:
        raise MeasureError("a relative lift needs a control mean other than 0: read the difference out")
    return difference / control.mean, math.sqrt(b + a * (treatment.mean / control.mean) ** 2) / abs(control.mean)


def _readout(
    control: ArmSummary,
    treatment: ArmSummary,
    *,
    method: str,
    estimate: tuple[float, float],
    bounds: tuple[float, float],
    p_value: float,
    level: float,
    is_relative: bool,
    ratio: SampleRatio | None,
) -> Readout:
    low, high = bounds
    verdict: Verdict = "higher" if low > 0 else "lower" if high < 0 else "undecided"
    what = "relative lift" if is_relative else "difference"
    reasons: tuple[str, ...] = (
        f"treatment {treatment.mean:.6g} of {treatment.n} units, control {control.mean:.6g} of {control.n}",
        f"{what} {estimate[0]:+.6g}, {level:.0%} bounds [{low:+.6g}, {high:+.6g}]: {verdict}",
        f"{method}: p {p_value:.4g}",
    )
    if ratio is not None and ratio.is_mismatch:
        verdict = "invalid"
        reasons += ("no difference can be trusted while the sample ratio is off", *ratio.reasons)
    return Readout(
        method=method,
        estimate=estimate[0],
        standard_error=estimate[1],
        low=low,
        high=high,
        level=level,
        p_value=p_value,
        is_relative=is_relative,
        is_sequential=method.startswith("asymptotic"),
        control=control,
        treatment=treatment,
        verdict=verdict,
        reasons=reasons,
    )


def _check_split(counts: Mapping[str, int], shares: Mapping[str, float]) -> None:
    units = sum(counts.values())
    if set(counts) != set(shares) or min(counts.values(), default=-1) < 0 or not 0 < units < math.inf:
        raise MeasureError(
            f"counts must have the declared arms {list(shares)} and some units, got {dict(counts)}: "
            "count every arm, an empty one as 0"
        )
    if min(shares.values()) <= 0 or not abs(sum(shares.values()) - 1) <= 1e-9:
        raise MeasureError(f"shares must be positive and add up to 1, got {dict(shares)}")


def _log_beta(a: ArrayLike) -> float:
    values = np.asarray(a, np.float64)
    return float(special.gammaln(values).sum() - special.gammaln(values.sum()))
