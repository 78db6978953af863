"""On-demand features of prediction markets: arithmetic in sight, and the same bits offline and online."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecastle.contract.load import LoadedSystem

INPUTS = ("days_to_resolution", "volume_24h", "poll_market_spread", "price_volatility_7d")

Signals = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def market_signals(system: LoadedSystem) -> Signals:
    """The function as a bundle carries it: compiled from the feature set's own code."""
    return system.feature_set("lightgbm").functions()["market_signals"]


def number(low: float, high: float) -> st.SearchStrategy[float]:
    return st.one_of(st.just(math.nan), st.floats(low, high))


ROW = st.tuples(number(-3650, 200_000), number(0, 1e9), number(-1, 1), number(0, 1))


def test_values_are_those_of_the_formulas(market_signals: Signals) -> None:
    """Three days left, 99 USD traded, polls five points above a price that moved by four."""
    made = market_signals(days_to_resolution=3.0, volume_24h=99.0, poll_market_spread=0.05, price_volatility_7d=0.04)
    assert made["urgency"] == 1 / (1 + 3)
    assert made["log_volume"] == pytest.approx(math.log(1 + 99), rel=1e-15)
    assert made["spread_vol_ratio"] == pytest.approx(0.05 / (0.04 + 0.01), rel=1e-15)


def test_a_market_past_its_close_is_as_urgent_as_can_be(market_signals: Signals) -> None:
    """Urgency never leaves its contract's range, however late the resolution is."""
    made = market_signals(days_to_resolution=-40.0, volume_24h=0.0, poll_market_spread=0.0, price_volatility_7d=0.0)
    assert (made["urgency"], made["log_volume"], made["spread_vol_ratio"]) == (1.0, 0.0, 0.0)


def test_null_in_gives_null_out_for_its_own_feature_only(market_signals: Signals) -> None:
    """A null input makes null what reads it, without a warning, and nothing else."""
    given_values = dict.fromkeys(INPUTS, 0.5)
    reads = {
        "days_to_resolution": {"urgency"},
        "volume_24h": {"log_volume"},
        "poll_market_spread": {"spread_vol_ratio"},
        "price_volatility_7d": {"spread_vol_ratio"},
    }
    for name, readers in reads.items():
        made = market_signals(**{**given_values, name: math.nan})
        assert {feature for feature, value in made.items() if np.isnan(value)} == readers


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=40))
def test_arrays_and_scalars_give_the_same_bits(market_signals: Signals, rows: list[tuple[float, ...]]) -> None:
    """Columns at once, columns of a wider matrix, and row by row: every bit is the same."""
    matrix = np.array(rows, dtype=np.float64)
    whole = market_signals(**{name: matrix[:, i].copy() for i, name in enumerate(INPUTS)})
    strided = market_signals(**{name: matrix[:, i] for i, name in enumerate(INPUTS)})
    for position, row in enumerate(rows):
        single = market_signals(**dict(zip(INPUTS, row, strict=True)))
        for name, values in whole.items():
            bits = np.float64(single[name]).tobytes()
            assert values[position].tobytes() == bits
            assert strided[name][position].tobytes() == bits
