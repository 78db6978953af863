"""Calibrators: published fits, an independent Venn-Abers, bit-equal paths, and the choice among them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, logit

from forecastle.contract.errors import MeasureError
from forecastle.measure.calibrators import Identity, Isotonic, Platt, Temperature, VennAbers
from forecastle.measure.recalibration import (
    CALIBRATORS,
    calibrator_from_json,
    choose_calibrator,
    fit_calibrator,
)
from tests.measure.minstd import fixture

FIXTURE = fixture()
Y, A = FIXTURE["y"], FIXTURE["A"]
FITTED = {name: fit_calibrator(name, Y, A) for name in CALIBRATORS}
PROBABILITY = st.floats(min_value=0.0, max_value=1.0, allow_nan=False)


def mean_log_loss(y: Any, q: Any) -> float:
    return float(-np.mean(y * np.log(q) + (1 - y) * np.log1p(-q)))


def draw(n: int, seed: int) -> tuple[Any, Any, Any]:
    """Calibrated probabilities, their outcomes and a generator."""
    rng = np.random.default_rng(seed)
    p = expit(rng.normal(0, 1.5, n))
    return p, (rng.random(n) < p).astype(float), rng


def test_temperature_equals_the_published_fit() -> None:
    """STATISTICS §8.2: temperature 1.6304772439 and loss .5023696855 on the over-confident forecast A."""
    fit = FITTED["temperature"]
    assert isinstance(fit, Temperature)
    assert 1 / fit.slope == pytest.approx(1.6304772439, abs=1e-7)
    assert mean_log_loss(Y, fit.apply(A)) == pytest.approx(0.5023696855, abs=1e-10)


def test_beta_is_at_least_as_good_as_betacal_and_close_to_it() -> None:
    """The solver of betacal 1.1.0 stops early, at a .48437334, b .74668506, m .56213695; ours does not."""
    fit = FITTED["beta"]
    a, b, m = 0.48437334, 0.74668506, 0.56213695
    c = b * np.log(1 - m) - a * np.log(m)
    theirs = expit(a * np.log(A) - b * np.log1p(-A) + c)
    assert mean_log_loss(Y, fit.apply(A)) <= mean_log_loss(Y, theirs)
    assert np.abs(fit.apply(A) - theirs).max() < 1e-4


def test_platt_on_the_logit_equals_cox_regression() -> None:
    """R rms::val.prob on A: slope .61380677, intercept -.07571286 (STATISTICS §8.2) is the same model."""
    fit = FITTED["platt"]
    assert isinstance(fit, Platt)
    assert fit.slope == pytest.approx(0.61380677, abs=1e-7)
    assert fit.intercept == pytest.approx(-0.07571286, abs=1e-7)


def test_platt_agrees_with_a_general_optimiser() -> None:
    """SciPy's BFGS on the same likelihood finds the same coefficients."""
    x = logit(A)

    def loss(b: Any) -> float:
        return float(np.mean(np.logaddexp(0, b[0] * x + b[1]) - Y * (b[0] * x + b[1])))

    found = minimize(loss, [1.0, 0.0], method="BFGS", options={"gtol": 1e-9}).x
    fit = FITTED["platt"]
    assert isinstance(fit, Platt)
    assert [fit.slope, fit.intercept] == pytest.approx(found.tolist(), abs=1e-6)


def test_isotonic_agrees_with_scikit_learn_inside_its_bounds() -> None:
    """scikit-learn's IsotonicRegression, clipped to [1/(n+2), 1 - 1/(n+2)], gives the same curve."""
    from sklearn.isotonic import IsotonicRegression

    grid = np.linspace(0, 1, 2001)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(A, Y).predict(grid)
    floor = 1 / (Y.size + 2)
    ours = FITTED["isotonic"].apply(grid)
    inside = (theirs > floor) & (theirs < 1 - floor)
    inside[1:] &= inside[:-1].copy()
    inside[:-1] &= inside[1:].copy()
    assert inside.sum() > 1500
    assert np.abs(ours - theirs)[inside].max() < 1e-12
    assert ours.min() >= floor - 1e-15
    assert ours.max() <= 1 - floor + 1e-15


def test_venn_abers_equals_the_published_pairs() -> None:
    """venn-abers 1.5.4 on A at .05 .2 .5 .8 .95 (STATISTICS §8.2)."""
    low, high = FITTED["venn_abers"].interval([0.05, 0.2, 0.5, 0.8, 0.95]) or ([], [])
    assert low == pytest.approx([0.153846, 0.290909, 0.460829, 0.697987, 0.814516], abs=5e-7)
    assert high == pytest.approx([0.162393, 0.326923, 0.465438, 0.714286, 0.823009], abs=5e-7)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=2, max_size=40).filter(
        lambda rows: len({y for _, y in rows}) == 2
    ),
    score=st.integers(-1, 25),
)
def test_venn_abers_equals_refitting_with_the_new_case(rows: list[tuple[int, bool]], score: int) -> None:
    """The definition: add (score, 0) or (score, 1) to the sample, pool ties, refit, read off the value."""
    p = np.array([s for s, _ in rows]) / 12
    y = np.array([o for _, o in rows], dtype=float)
    s = min(max(score / 24, 0.0), 1.0)
    expected = []
    for outcome in (0.0, 1.0):
        _, position, count = np.unique(np.append(p, s), return_inverse=True, return_counts=True)
        ones = np.bincount(position, weights=np.append(y, outcome))
        expected.append(isotonic_regression(ones / count, weights=count).x[position[-1]])
    fit = fit_calibrator("venn_abers", y, p)
    assert fit.interval_scalar(s) == pytest.approx(tuple(expected), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(scores=st.lists(PROBABILITY, min_size=1, max_size=30), name=st.sampled_from(sorted(CALIBRATORS)))
def test_scalar_and_array_paths_give_the_same_bits(scores: list[float], name: str) -> None:
    """Serving one request and backfilling a table never differ in the last bit."""
    fit = FITTED[name]
    batch = fit.apply(scores)
    assert batch.tolist() == [fit.apply_scalar(score) for score in scores]
    assert batch.tolist() == [float(fit.apply(score)) for score in scores]
    assert bool(np.all((batch >= 0) & (batch <= 1)))


@pytest.mark.parametrize("name", sorted(CALIBRATORS))
def test_both_paths_agree_on_many_scores_and_strides(name: str) -> None:
    """Vector instructions handle heads, tails and strides alike."""
    fit, scores = FITTED[name], np.random.default_rng(3).random(5_003)
    batch = fit.apply(scores)
    assert np.array_equal(batch[::3], fit.apply(scores[::3]))
    assert batch.tolist() == [fit.apply_scalar(score) for score in scores.tolist()]


@pytest.mark.parametrize("name", sorted(CALIBRATORS))
def test_calibrators_never_reverse_an_order(name: str) -> None:
    """A higher score never gets a lower probability."""
    q = FITTED[name].apply(np.linspace(0, 1, 10_001))
    assert np.diff(q).min() >= -1e-15


@pytest.mark.parametrize("name", sorted(CALIBRATORS))
def test_json_round_trip_is_exact(name: str) -> None:
    """What a bundle stores is what serving applies, bit for bit."""
    fit = FITTED[name]
    assert calibrator_from_json(json.loads(json.dumps(fit.to_json(), allow_nan=False))) == fit


def test_venn_abers_probability_lies_in_its_interval() -> None:
    """p0 <= p1 / (1 - p0 + p1) <= p1 everywhere; the other calibrators say that they have no interval."""
    fit, grid = FITTED["venn_abers"], np.linspace(0, 1, 5001)
    assert isinstance(fit, VennAbers)
    low, high = fit.interval(grid)
    q = fit.apply(grid)
    assert bool(np.all((low <= q) & (q <= high)))
    assert fit.interval_scalar(0.3) == (float(fit.interval(0.3)[0]), float(fit.interval(0.3)[1]))
    assert FITTED["beta"].interval(grid) is None
    assert FITTED["beta"].interval_scalar(0.3) is None


def test_separated_outcomes_give_finite_slopes() -> None:
    """The likelihood has no maximum when the outcomes are separated; the fit still ends and stays finite."""
    p = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    y = np.array([0, 0, 0, 1, 1, 1])
    for name in ("temperature", "platt", "beta"):
        q = fit_calibrator(name, y, p).apply(p)
        assert bool(np.isfinite(q).all())
        assert bool(np.all((q > 0.5) == (y == 1)))


def test_backward_scores_fall_back_to_the_base_rate() -> None:
    """A negative slope would reverse the order: it becomes 0 and Platt says the base rate."""
    p, y, _ = draw(4000, seed=1)
    fit = fit_calibrator("platt", 1 - y, p)
    assert isinstance(fit, Platt)
    assert fit.slope == 0.0
    assert fit.apply_scalar(0.9) == pytest.approx(1 - y.mean(), abs=1e-9)


def test_identity_needs_nothing() -> None:
    """A calibrator without parameters fits a window in which only one outcome occurred."""
    assert fit_calibrator("identity", [1, 1], [0.7, 0.8]) == Identity()


def test_certain_and_constant_scores_are_fitted() -> None:
    """Scores of exactly 0 and 1, and a score that never varies, have documented limits."""
    y = np.array([0, 1, 0, 1, 1, 0, 1, 1.0])
    certain = np.array([0, 1, 0, 1, 0, 1, 1, 1.0])
    for name in CALIBRATORS:
        assert bool(np.isfinite(fit_calibrator(name, y, certain).apply([0.0, 0.5, 1.0])).all())
        if name not in ("identity", "temperature", "venn_abers"):
            constant = fit_calibrator(name, y, np.full(8, 0.3))
            assert constant.apply_scalar(0.3) == pytest.approx(y.mean(), abs=1e-9)
    isotonic = fit_calibrator("isotonic", y, np.full(8, 0.3))
    assert isotonic == Isotonic((0.0, 1.0), (0.625, 0.625))


def test_calibrated_scores_are_left_alone() -> None:
    """The one-standard-error rule keeps the identity when the scores are calibrated already."""
    p, y, _ = draw(6000, seed=7)
    choice = choose_calibrator(y, p, seed=0)
    assert choice.name == "identity"
    assert choice.calibrator == Identity()
    assert [row.name for row in choice.table] == ["identity", "temperature", "platt", "beta", "venn_abers"]
    assert min(row.excess for row in choice.table) == 0.0


def test_over_confident_scores_get_a_temperature() -> None:
    """Logits multiplied by 1.8 need the one parameter 1/1.8 (STATISTICS §1.5, second row)."""
    p, y, _ = draw(6000, seed=8)
    choice = choose_calibrator(y, expit(1.8 * logit(p)), seed=0)
    assert choice.name == "temperature"
    assert isinstance(choice.calibrator, Temperature)
    assert choice.calibrator.slope == pytest.approx(1 / 1.8, abs=0.05)
    chosen = next(row for row in choice.table if row.name == "temperature")
    assert 0.03 < chosen.gain < 0.08
    assert any("identity is worse by" in reason for reason in choice.reasons)


def test_a_wavy_curve_needs_venn_abers() -> None:
    """A staircase distortion fits no logistic family; Venn-Abers wins (STATISTICS §1.5, last row)."""
    p, y, _ = draw(8000, seed=9)
    x = logit(p)
    choice = choose_calibrator(y, expit(x + 0.9 * np.sin(3 * x)), seed=0)
    assert choice.name == "venn_abers"


def test_the_choice_is_the_same_for_the_same_seed() -> None:
    """Same rows and seed, same folds, same table."""
    p, y, rng = draw(1500, seed=10)
    days = rng.integers(0, 60, p.size)
    assert choose_calibrator(y, p, seed=4, groups=days) == choose_calibrator(y, p, seed=4, groups=days)


def test_groups_make_the_standard_error_that_of_group_sums() -> None:
    """Nine copies of every row add nothing: grouped, the error stays; ungrouped, it falls threefold."""
    p, y, _ = draw(500, seed=11)
    copies, entity = 9, np.repeat(np.arange(500), 9)
    p9, y9 = np.repeat(p**1.4, copies), np.repeat(y, copies)
    grouped = choose_calibrator(y9, p9, seed=0, groups=entity, candidates=("identity", "platt"))
    single = choose_calibrator(y, p**1.4, seed=0, candidates=("identity", "platt"))
    naive = choose_calibrator(y9, p9, seed=0, candidates=("identity", "platt"))
    errors = [max(row.excess_se for row in choice.table) for choice in (grouped, single, naive)]
    assert errors[0] == pytest.approx(errors[1], rel=0.1)
    assert errors[2] == pytest.approx(errors[0] / 3, rel=0.1)


def test_an_impossible_event_rules_the_raw_scores_out() -> None:
    """A score of 0 that came true has infinite loss; a calibrator that can move it is chosen."""
    p, y, _ = draw(400, seed=12)
    p[np.argmax(y)] = 0.0
    choice = choose_calibrator(y, p, seed=0)
    assert choice.name != "identity"
    assert choice.table[0].log_loss == np.inf
    assert choice.table[0].gain == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("platt", [0, 1, 1], [0.2, 0.3]), "different lengths"),
        (("platt", [1, 1, 1], [0.2, 0.3, 0.4]), "both outcomes"),
        (("plat", [0, 1], [0.2, 0.3]), "did you mean 'platt'"),
        (("platt", [0, 1], [0.2, 1.3]), r"outside \[0, 1\]"),
        (("platt", [0, 1], [0.2, np.nan]), "missing or infinite"),
        (("platt", [], []), "no rows"),
    ],
)
def test_unusable_input_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    """Each refusal says what was got and what to do."""
    with pytest.raises(MeasureError, match=message):
        fit_calibrator(*arguments)


def test_scores_outside_the_unit_interval_are_refused_when_applied() -> None:
    """Both paths refuse what is no probability, NaN included."""
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(MeasureError, match=r"\[0, 1\]"):
            FITTED["beta"].apply([0.5, bad])
        with pytest.raises(MeasureError, match=r"\[0, 1\]"):
            FITTED["isotonic"].apply_scalar(bad)


def test_foreign_records_are_refused() -> None:
    """An unknown calibrator or other fields are named."""
    with pytest.raises(MeasureError, match="unknown calibrator"):
        calibrator_from_json({"calibrator": "spline"})
    with pytest.raises(MeasureError, match="needs \\['slope'\\]"):
        calibrator_from_json({"calibrator": "temperature", "temperature": 2.0})


def test_impossible_choices_are_refused() -> None:
    """Unknown candidates, none at all, and more folds than rows."""
    p, y, _ = draw(20, seed=13)
    with pytest.raises(MeasureError, match="did you mean 'beta'"):
        choose_calibrator(y, p, seed=0, candidates=("betta",))
    with pytest.raises(MeasureError, match="candidate"):
        choose_calibrator(y, p, seed=0, candidates=())
    with pytest.raises(MeasureError, match="folds"):
        choose_calibrator(y, p, seed=0, folds=21)


def test_applying_a_calibrator_needs_neither_scipy_nor_pandas() -> None:
    """A serving process that loads this module pays for NumPy alone."""
    code = (
        "import sys; import forecastle.measure.recalibration as r;"
        "r.calibrator_from_json({'calibrator': 'temperature', 'slope': 0.5}).apply_scalar(0.3);"
        "print([m for m in ('scipy', 'pandas', 'sklearn') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "platform")},
    )
    assert run.stdout.strip() == "[]"
