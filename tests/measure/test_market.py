"""Odds, margins, value and stakes against published constants and closed forms."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forecastle.contract.errors import MeasureError
from forecastle.measure.market import (
    MarginMethod,
    american_from_decimal,
    closing_line_value,
    decimal_from_american,
    fair_range,
    kelly,
    remove_margin,
    value,
)
from forecastle.measure.scores import brier_score

METHODS = get_args(MarginMethod)
MARKETS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.integers(2, 5)),
    elements=st.floats(1.02, 60, allow_nan=False),
)


@pytest.mark.parametrize(
    ("method", "expected", "parameter"),
    [
        ("multiplicative", [0.2331555986, 0.2646631120, 0.5021812894], None),
        ("shin", [0.2315719589, 0.2635744963, 0.5048535448], 0.01060805816),
        ("power", [0.2311409798, 0.2630640924, 0.5057949278], 1 / 0.97976216),
        ("odds_ratio", [0.2320045269, 0.2636412959, 0.5043541772], 1.0344565),
        ("additive", [0.2310332310, 0.2632082632, 0.5057585058], None),
    ],
)
def test_three_way_market(method, expected, parameter):
    """Odds 4.20, 3.70, 1.95 (shin 0.2.2; R `implied` formulas with uniroot at 1e-14)."""
    found = remove_margin([4.20, 3.70, 1.95], method=method)
    assert found.probabilities == pytest.approx(expected, abs=1e-9)
    assert found.margin == pytest.approx(1 / 4.2 + 1 / 3.7 + 1 / 1.95 - 1)
    if parameter is not None:
        assert float(found.parameter) == pytest.approx(parameter, rel=1e-6)


def test_shin_of_a_second_market():
    """Odds 2.6, 2.4, 4.3: z .01694251276 (shin 0.2.2)."""
    found = remove_margin([2.6, 2.4, 4.3])
    assert found.probabilities == pytest.approx([0.3729940603, 0.4047794109, 0.2222265287], abs=1e-9)
    assert float(found.parameter) == pytest.approx(0.01694251276, abs=1e-9)


def test_two_way_shin_is_additive():
    """Odds 1.25, 4.2: .7809523810 both ways, z .03874030763, multiplicative .7706422018."""
    shin, additive = remove_margin([1.25, 4.2]), remove_margin([1.25, 4.2], method="additive")
    assert shin.probabilities == pytest.approx([0.7809523810, 0.2190476190], abs=1e-9)
    assert additive.probabilities == pytest.approx(shin.probabilities, abs=1e-9)
    assert float(shin.parameter) == pytest.approx(0.03874030763, abs=1e-9)
    multiplicative = remove_margin([1.25, 4.2], method="multiplicative").probabilities
    assert multiplicative[0] == pytest.approx(0.7706422018, abs=1e-10)


def test_american_odds():
    """-200 / +180 is .651163 / .348837 after multiplicative removal (Choe & Ramdas notebook)."""
    odds = decimal_from_american([-200, 180])
    assert odds == pytest.approx([1.5, 2.8])
    assert remove_margin(odds, method="multiplicative").probabilities == pytest.approx([0.651163, 0.348837], abs=1e-6)
    assert american_from_decimal([1.5, 2.8, 2.0]) == pytest.approx([-200, 180, 100])


def test_value_and_kelly_by_hand():
    """For p .55 at 2.1: value .155, full Kelly .155 / 1.1; a quarter of it, capped, never negative."""
    assert value([0.55], [2.1]) == pytest.approx([0.155])
    assert kelly([0.55, 0.9, 0.2], [2.1, 2.1, 2.1]) == pytest.approx([0.155 / 1.1 / 4, 0.05, 0.0])
    shrunk = kelly([0.55], [2.1], market_probabilities=[0.47], shrink=0.5, fraction=1.0, cap=1.0)
    assert shrunk == pytest.approx([(0.51 * 2.1 - 1) / 1.1])


def test_kelly_maximises_log_growth():
    """No other stake on a grid grows the bankroll faster in expectation."""
    stake = kelly([0.55], [2.1], fraction=1.0, cap=1.0)[0]
    grid = np.linspace(0, 0.9, 9001)
    growth = 0.55 * np.log1p(grid * 1.1) + 0.45 * np.log1p(-grid)
    assert grid[growth.argmax()] == pytest.approx(stake, abs=1e-4)


def test_closing_line_value():
    """2.1 taken, closed at a fair .50: .05."""
    assert closing_line_value([2.1], [0.5]) == pytest.approx([0.05])


def test_range_holds_every_method():
    """The doubt of removing a margin is the range over all methods."""
    low, high = fair_range([4.20, 3.70, 1.95])
    assert low == pytest.approx([0.2310332310, 0.2630640924, 0.5021812894], abs=1e-9)
    assert high == pytest.approx([0.2331555986, 0.2646631120, 0.5057949278], abs=1e-9)


def test_market_without_margin():
    """An arbitrage (sum of prices below 1) still gives probabilities; Shin's z is negative there."""
    for method in METHODS:
        found = remove_margin([2.2, 2.1], method=method)
        assert found.probabilities.sum() == pytest.approx(1.0)
        assert found.probabilities[0] < found.probabilities[1]
    assert remove_margin([2.2, 2.1]).parameter < 0


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: decimal_from_american([50]), "at most -100 or at least 100"),
        (lambda: american_from_decimal([1.0]), "decimal odds are above 1"),
        (lambda: remove_margin([-200, 180]), "decimal_from_american"),
        (lambda: remove_margin([2.0]), "outcomes >= 2"),
        (lambda: remove_margin([2.0, 2.0], method="shinn"), "did you mean 'shin'"),
        (lambda: remove_margin([1.05, 15.0, 300.0], method="additive"), "use power or shin"),
        (lambda: value([0.5], [2.0, 3.0]), "different lengths"),
        (lambda: kelly([0.5], [2.0], fraction=2.0), "lie in"),
        (lambda: kelly([0.5], [2.0], shrink=0.5), "shrink needs market_probabilities"),
        (lambda: remove_margin([[2.0, np.nan]]), "missing or infinite"),
    ],
)
def test_refusals(call, says):
    """Impossible prices are refused with what to do."""
    with pytest.raises(MeasureError, match=says):
        call()


@settings(max_examples=60, deadline=None)
@given(MARKETS, st.sampled_from(["multiplicative", "power", "odds_ratio", "shin"]))
def test_probabilities_sum_to_one_and_keep_the_order(odds, method):
    """Shorter odds never become the less likely outcome."""
    found = remove_margin(odds, method=method).probabilities
    assert found.sum(axis=1) == pytest.approx(np.ones(len(odds)))
    assert (found > 0).all()
    gaps = np.diff(np.take_along_axis(found, np.argsort(odds, axis=1), axis=1), axis=1)
    assert (gaps <= 1e-12).all()


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.just(2)), elements=st.floats(1.01, 100)))
def test_shin_is_additive_on_two_way_markets(odds):
    """The closed form of two outcomes, for any margin or none."""
    shin = remove_margin(odds).probabilities
    prices = 1 / odds
    assert shin == pytest.approx(prices - (prices.sum(axis=1, keepdims=True) - 1) / 2, abs=1e-7)


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 5), elements=st.floats(1.01, 100)))
def test_american_round_trip(odds):
    """Decimal to American and back."""
    assert decimal_from_american(american_from_decimal(odds)) == pytest.approx(odds)


def test_real_moneylines(real_data):
    """Closing lines of 2,462 games of 2016: Brier .24039 (multiplicative), margins between 0 and 10 %."""
    lines = pd.read_parquet(real_data / "mlb/lines_2016.parquet").dropna(subset=["ml_home", "ml_away"])
    games = pd.read_parquet(real_data / "mlb/games_2016.parquet")
    lines = lines.merge(games[["game_id", "start_ts", "home_score", "away_score"]], on="game_id")
    lines = lines[lines["entered_ts"] <= lines["start_ts"]].sort_values(["game_id", "entered_ts", "seq"])
    close = lines.groupby("game_id").last()
    american = close[["ml_home", "ml_away"]].to_numpy(float)
    odds = decimal_from_american(american.ravel()).reshape(american.shape)
    found = remove_margin(odds, method="multiplicative")
    assert np.median(found.margin) == pytest.approx(0.02, abs=0.01)
    won = (close["home_score"] > close["away_score"]).astype(float)
    assert brier_score(won, found.probabilities[:, 0]) == pytest.approx(0.24039, abs=2e-5)
    assert remove_margin(odds).probabilities == pytest.approx(
        remove_margin(odds, method="additive").probabilities, abs=1e-7
    )
