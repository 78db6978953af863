"""Bands equal R calibrationband and published quantiles, and cover what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from forecastle.contract.errors import MeasureError
from forecastle.measure.bands import (
    asymptotic_consistency_band,
    chernoff_quantile,
    consistency_band,
    honest_band,
)
from forecastle.measure.isotonic import isotonic_fit, pool_ties
from tests.measure.minstd import fixture


def _cells(name):
    data = fixture()
    return pool_ties(data["y"], data[name])


def _r_uniform(seed):
    """R's set.seed and runif: Mersenne Twister with R's scrambled seeding (R sources, nmath and RNG.c)."""
    state, key = seed, []
    for i in range(50 + 625):
        state = (69069 * state + 1) % 2**32
        if i > 50:
            key.append(state)
    twister = np.random.RandomState()
    twister.set_state(("MT19937", np.array(key, dtype=np.uint32), 624))
    return lambda n: twister.randint(0, 2**32, size=n, dtype=np.uint64) * 2.3283064365386963e-10


def _readme_sample():
    """The README example of R calibrationband: set.seed(123), 10,000 uniforms, rbinom(n, 1, p(x)), s =
    0.8.
    """
    uniform = _r_uniform(123)
    x = uniform(10_000)
    rate = 1.0 / (1.0 + (1.0 / x * (1.0 - x)) ** 1.8)
    is_rare = (uniform(10_000) >= 1.0 - np.minimum(rate, 1.0 - rate)).astype(float)
    return np.where(rate > 0.5, 1.0 - is_rare, is_rare), x


def test_readme_example_has_the_printed_ranges():
    """R prints .0396-.299, .693-.951, .0389-.0393 "and 2 more" (seen on a grid of 1e-4, ours are exact)."""
    y, x = _readme_sample()
    assert x[:3] == pytest.approx([0.2875775, 0.7883051, 0.4089769], abs=5e-8)  # runif(3) after set.seed(123)
    ranges = honest_band(pool_ties(y, x), level=0.95, resolution=1000).miscalibrated
    widest = sorted(ranges, key=lambda item: item.low - item.high)
    assert [item.direction for item in widest[:2]] == ["too_high", "too_low"]
    assert (widest[0].low, widest[0].high) == pytest.approx((0.0396, 0.299), abs=1e-4)
    assert (widest[1].low, widest[1].high) == pytest.approx((0.693, 0.951), abs=5e-4)
    assert (widest[2].low, widest[2].high) == pytest.approx((0.0389, 0.0393), abs=1e-4)
    assert len(ranges) == 5


@pytest.mark.parametrize(
    ("name", "at", "low", "high"),
    [("a", 0.499624, 0.28591649, 0.60459263), ("A", 0.499437, 0.28600115, 0.61099113)],
)
def test_honest_band_of_the_fixture_agrees_with_r(name, at, low, high):
    """At two digits of rounding and level 0.9 R calibrationband gives these bounds next to 0.5."""
    table = honest_band(_cells(name), level=0.9, resolution=100).table
    row = table.iloc[(table["probability"] - at).abs().argmin()]
    assert row["probability"] == pytest.approx(at, abs=5e-7)
    assert (row["low"], row["high"]) == pytest.approx((low, high), abs=5e-9)


def test_honest_band_of_the_fixture_excludes_what_r_excludes():
    """Calibrated a: nothing; over-confident A: .9476 to .9503."""
    assert honest_band(_cells("a"), level=0.9, resolution=100).miscalibrated == ()
    (found,) = honest_band(_cells("A"), level=0.9, resolution=100).miscalibrated
    assert (found.low, found.high, found.direction) == pytest.approx((0.9476, 0.9503, "too_high"), abs=1e-4)


def test_honest_band_of_one_cell_is_clopper_pearson():
    """One cell: the exact interval at alpha / (1 x 2) on each side."""
    table = honest_band(pool_ties([1] * 3 + [0] * 17, [0.5] * 20), level=0.9).table.set_index("probability")
    assert table.loc[0.5, "low"] == pytest.approx(beta.ppf(0.05, 3, 18))
    assert table.loc[0.5, "high"] == pytest.approx(beta.ppf(0.95, 4, 17))
    assert table.loc[0.0, "low"] == 0.0
    assert table.loc[1.0, "high"] == 1.0


def test_honest_band_never_falls_and_holds_the_isotonic_fit():
    """Both bounds rise with the probability, and the fit lies between them."""
    cells = _cells("B")
    table = honest_band(cells, resolution=50).table
    assert (np.diff(table["low"]) >= 0.0).all()
    assert (np.diff(table["high"]) >= 0.0).all()
    at = np.searchsorted(table["probability"], cells.probabilities)
    rates = isotonic_fit(cells).rates
    assert (rates <= table["high"].to_numpy()[at] + 1e-12).mean() > 0.99


def test_honest_band_covers_the_whole_curve():
    """In 100 calibrated samples the 90 % band excludes the diagonal in at most ten (it is conservative)."""
    generator = np.random.default_rng(5)
    p = generator.random((100, 400))
    y = (generator.random((100, 400)) < p).astype(float)
    excluded = sum(bool(honest_band(pool_ties(*pair), resolution=20).miscalibrated) for pair in zip(y, p, strict=True))
    assert excluded <= 10


def test_certain_and_wrong_forecasts_are_named():
    """Twenty certain forecasts that never came true are too high."""
    band = honest_band(pool_ties([0] * 20, [1.0] * 20))
    assert band.miscalibrated[-1].direction == "too_high"
    assert band.miscalibrated[-1].high == 1.0


@pytest.mark.parametrize(
    ("probability", "quantile"),
    [(0.9, 0.664235), (0.95, 0.845081), (0.975, 0.998181), (0.99, 1.171534), (0.995, 1.286659), (0.5, 0.0)],
)
def test_chernoff_quantiles_are_the_published_ones(probability, quantile):
    """Groeneboom and Wellner 2001, table 3."""
    assert chernoff_quantile(probability) == pytest.approx(quantile, abs=2e-5)


def test_consistency_band_covers_calibrated_curves():
    """Over 60 calibrated samples the isotonic curve lies in the 90 % band at 86 to 94 % of the points."""
    generator = np.random.default_rng(7)
    band = None
    inside = []
    p = np.sort(generator.random(300))
    for _ in range(60):
        cells = pool_ties((generator.random(300) < p).astype(float), p)
        band = band or consistency_band(cells, resamples=400, points=300, seed=1)
        at = np.searchsorted(cells.probabilities, band.table["probability"])
        rates = isotonic_fit(cells).rates[at]
        inside.append(((rates >= band.table["low"]) & (rates <= band.table["high"])).mean())
    assert 0.86 < np.mean(inside) < 0.94


def test_miscalibration_test_tells_the_forecasts_apart():
    """Calibrated a is not rejected, over-confident A gets the smallest p-value there is, 1 / 101."""
    calibrated, confident = consistency_band(_cells("a"), seed=2), consistency_band(_cells("A"), seed=2)
    assert calibrated.miscalibration == pytest.approx(0.0036003678, abs=5e-11)
    assert calibrated.miscalibration_p_value > 0.1
    assert confident.miscalibration_p_value == pytest.approx(1 / 101)


def test_miscalibration_p_values_are_uniform_when_calibrated():
    """Of 80 calibrated samples with ties about a fifth have p below 0.2."""
    generator = np.random.default_rng(3)
    p = np.round(generator.random((80, 200)), 1)
    y = (generator.random((80, 200)) < p).astype(float)
    bands = [consistency_band(pool_ties(*pair), resamples=49, seed=i) for i, pair in enumerate(zip(y, p, strict=True))]
    share = np.mean([band.miscalibration_p_value <= 0.2 for band in bands])
    assert abs(share - 0.2) < 3.5 * np.sqrt(0.2 * 0.8 / 80)


def test_the_seed_decides_the_band():
    """The same seed gives the same table."""
    first, second = (consistency_band(_cells("C"), seed=9).table for _ in range(2))
    assert first.equals(second)


def test_continuous_limit_agrees_with_resampling():
    """Uniform forecasts, n = 4,000: Chernoff half-widths are near the resampled ones in the middle."""
    generator = np.random.default_rng(13)
    p = generator.random(4000)
    cells = pool_ties((generator.random(4000) < p).astype(float), p)
    limit = asymptotic_consistency_band(cells)
    assert limit.method == "asymptotic_continuous"
    by_hand = np.cbrt(4 * 0.25 / 4000) * 0.845081  # density 1 at p = 0.5
    middle = limit.table.set_index("probability").loc[0.5]
    assert middle["high"] - 0.5 == pytest.approx(by_hand, rel=0.03)
    drawn = consistency_band(cells, resamples=200, seed=1).table
    drawn = drawn[drawn["probability"].between(0.4, 0.6)]
    assert (drawn["high"] - drawn["low"]).mean() / 2 == pytest.approx(by_hand, rel=0.1)


def test_discrete_limit_by_hand():
    """With few values and many rows the band is p ± 1.6449 sqrt(p (1 - p) / n_p)."""
    cells = pool_ties([0] * 150 + [1] * 50 + [0, 1] * 100, [0.25] * 200 + [0.5] * 200)
    band = asymptotic_consistency_band(cells)
    assert band.method == "asymptotic_discrete"
    assert band.table["high"].tolist() == pytest.approx(
        [0.25 + 1.644854 * np.sqrt(0.1875 / 200), 0.5 + 1.644854 * np.sqrt(0.25 / 200)], abs=1e-6
    )


@pytest.mark.parametrize(
    "measure",
    [
        lambda c: consistency_band(c, level=1.0, seed=0),
        lambda c: consistency_band(c, resamples=5, seed=0),
        lambda c: honest_band(c, resolution=0),
        lambda c: honest_band(c, level=0.0),
        lambda c: asymptotic_consistency_band(c, level=2.0),
        lambda c: chernoff_quantile(0.99999),
    ],
)
def test_impossible_options_are_refused(measure):
    """Levels, resamples and resolutions out of range are refused with what is allowed."""
    with pytest.raises(MeasureError, match="allowed"):
        measure(_cells("C"))


@pytest.mark.parametrize("measure", [lambda c: consistency_band(c, seed=0), honest_band, asymptotic_consistency_band])
def test_weighted_rows_are_refused(measure):
    """Bands count rows."""
    with pytest.raises(MeasureError, match="weighted"):
        measure(pool_ties([0, 1], [0.2, 0.4], weights=[1, 2]))
