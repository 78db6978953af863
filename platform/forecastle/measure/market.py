"""Prices of a betting or prediction market as probabilities, and what a bet at such a price is worth.

Belongs here: odds formats, removal of the bookmaker's margin, value, Kelly stakes, closing line value.
Does not belong here: profit over time (`profit.py`), the rule that places a bet (a system's `decide`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy.optimize import elementwise

from forecastle.contract.errors import MeasureError, did_you_mean
from forecastle.measure.arrays import as_finite, as_numbers, as_probabilities, same_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from forecastle.measure.arrays import FloatArray

MarginMethod = Literal["multiplicative", "additive", "power", "odds_ratio", "shin"]


@dataclass(frozen=True, slots=True, eq=False)
class FairProbabilities:
    """Probabilities without the bookmaker's margin, of the shape of the odds, each market summing to 1.

    `margin` is the sum of 1 / odds less 1. `parameter` is what the method solved for: the exponent (power),
    the odds ratio, the share of insiders z (shin; below 0 for a market without margin); the margin itself for
    the others.
    """

    probabilities: FloatArray
    margin: FloatArray
    parameter: FloatArray
    method: MarginMethod


def decimal_from_american(american_odds: Any) -> FloatArray:
    """Decimal odds (payout for a stake of 1) from American odds: +150 is 2.5, -200 is 1.5.

    Raises:
        MeasureError: missing values or odds strictly between -100 and 100.
    """
    odds = as_finite(american_odds, name="american odds")
    bad = np.abs(odds) < 100
    if bad.any():
        raise MeasureError(
            f"american odds: got {odds[bad][0]:g}; at most -100 or at least 100 is allowed; "
            "decimal odds need no conversion"
        )
    return 1 + np.where(odds > 0, odds / 100, 100 / np.abs(odds))


def american_from_decimal(decimal_odds: Any) -> FloatArray:
    """American odds from decimal odds; even money (2.0) is +100.

    Raises:
        MeasureError: missing values or odds of at most 1.
    """
    gain = _as_odds(decimal_odds, "decimal odds") - 1
    return np.where(gain >= 1, 100 * gain, -100 / gain)


def remove_margin(decimal_odds: Any, *, method: MarginMethod = "shin") -> FairProbabilities:
    """Fair probabilities of markets with k >= 2 outcomes; odds of shape (k,) or (n, k).

    With pi = 1 / odds and M = sum(pi) - 1: multiplicative pi / sum(pi); additive pi - M / k; power pi^e;
    odds_ratio pi / (c + pi - c pi); shin (Shin 1992, 1993) [sqrt(z² + 4 (1 - z) pi² / sum(pi)) - z] / (2 (1 -
    z)), each with the one parameter that makes the sum 1. With two outcomes shin and additive are the same.
    Methods differ most for long shots: `fair_range` shows by how much.

    Raises:
        MeasureError: missing odds, odds of at most 1, fewer than two outcomes, an unknown method, or a long
            shot that the additive method makes negative.
    """
    if method not in get_args(MarginMethod):
        raise MeasureError(f"method: got {method!r}; {did_you_mean(str(method), get_args(MarginMethod))}")
    odds = as_numbers(decimal_odds, name="decimal odds")
    if odds.ndim not in (1, 2) or odds.shape[-1] < 2:
        raise MeasureError(f"decimal odds: got shape {odds.shape}; (outcomes,) or (markets, outcomes >= 2) is allowed")
    prices = 1 / _as_odds(odds.ravel(), "decimal odds").reshape(-1, odds.shape[-1])
    margin = prices.sum(axis=1) - 1
    fair, parameter = _METHODS[method](prices)
    shape = odds.shape[:-1]
    return FairProbabilities(
        probabilities=(fair / fair.sum(axis=1, keepdims=True)).reshape(odds.shape),
        margin=margin.reshape(shape),
        parameter=parameter.reshape(shape),
        method=method,
    )


def fair_range(decimal_odds: Any) -> tuple[FloatArray, FloatArray]:
    """Smallest and largest fair probability over all methods, shaped as the odds: the doubt in each.

    Raises:
        MeasureError: as `remove_margin`.
    """
    fair = [remove_margin(decimal_odds, method=method).probabilities for method in get_args(MarginMethod)]
    return np.min(fair, axis=0), np.max(fair, axis=0)


def value(probabilities: Any, decimal_odds: Any) -> FloatArray:
    """Expected profit for a stake of 1: p odds - 1.

    Raises:
        MeasureError: missing or mismatched input, probabilities outside [0, 1], odds of at most 1.
    """
    p, odds = _bet(probabilities, decimal_odds)
    return p * odds - 1


def kelly(
    probabilities: Any,
    decimal_odds: Any,
    *,
    fraction: float = 0.25,
    cap: float = 0.05,
    market_probabilities: Any | None = None,
    shrink: float = 0.0,
) -> FloatArray:
    """Share of the bankroll to stake: fraction of (p odds - 1) / (odds - 1), at least 0, at most `cap`.

    Kelly 1956, Bell System Technical Journal 35, 917. Full Kelly is right only for a p without error: stake a
    fraction, and pull p by `shrink` (0 to 1) towards the market's fair probability.

    Raises:
        MeasureError: as `value`; fraction, cap or shrink outside [0, 1]; shrink without market
            probabilities.
    """
    p, odds = _bet(probabilities, decimal_odds)
    if not (0 <= fraction <= 1 and 0 <= cap <= 1 and 0 <= shrink <= 1):
        raise MeasureError(f"fraction, cap and shrink lie in [0, 1], got {fraction}, {cap} and {shrink}")
    if shrink > 0:
        if market_probabilities is None:
            raise MeasureError("shrink needs market_probabilities; pass those of `remove_margin`")
        market = as_probabilities(market_probabilities, name="market probability")
        same_length(probability=p, market_probability=market)
        p = (1 - shrink) * p + shrink * market
    full = (p * odds - 1) / (odds - 1)
    return np.clip(fraction * full, 0.0, cap)


def closing_line_value(odds_taken: Any, closing_probabilities: Any) -> FloatArray:
    """Value of each bet at the fair probability of the closing line: odds_taken p_close - 1.

    The closing line is the market's best forecast, so a mean above 0 shows an edge long before profits do:
    give these values to a confidence sequence.

    Raises:
        MeasureError: as `value`.
    """
    return value(closing_probabilities, odds_taken)


def _multiplicative(prices: FloatArray) -> tuple[FloatArray, FloatArray]:
    return prices, prices.sum(axis=1) - 1


def _additive(prices: FloatArray) -> tuple[FloatArray, FloatArray]:
    margin = prices.sum(axis=1) - 1
    fair = prices - margin[:, None] / prices.shape[1]
    if fair.min() < 0:
        raise MeasureError(
            f"additive: got {int((fair < 0).any(axis=1).sum())} markets whose long shot becomes negative; "
            "use power or shin there"
        )
    return fair, margin


def _power(prices: FloatArray) -> tuple[FloatArray, FloatArray]:
    # Between the exponents that would make all outcomes as likely as the most and the least likely one.
    ends = np.log(prices.shape[1]) / -np.log(prices)
    return _solve(lambda price, _, exponent: price**exponent, prices, ends)


def _odds_ratio(prices: FloatArray) -> tuple[FloatArray, FloatArray]:
    ends = (prices.shape[1] - 1) * prices / (1 - prices)
    return _solve(lambda price, _, ratio: price / (ratio + price - ratio * price), prices, ends)


def _shin(prices: FloatArray) -> tuple[FloatArray, FloatArray]:
    def fair(price: FloatArray, total: FloatArray, z: FloatArray) -> FloatArray:
        # The textbook form times its conjugate: no 0 / 0 at z = 1, no cancellation at small prices.
        squared = price**2 / total
        return np.asarray(2 * squared / (np.sqrt(z**2 + 4 * (1 - z) * squared) + z))

    return _solve(fair, prices, np.tile([-1.0, 1.0], (prices.shape[0], 1)))


def _solve(
    fair: Callable[[FloatArray, FloatArray, FloatArray], FloatArray], prices: FloatArray, ends: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Fair probabilities, and the parameter between the smallest and largest end that makes them sum to 1."""
    low, high = ends.min(axis=1), ends.max(axis=1)
    slack = 1e-6 * (1 + np.abs(high - low))  # equal prices have equal ends

    def excess(parameter: FloatArray, *columns: FloatArray) -> FloatArray:
        total = np.sum(columns, axis=0)
        return np.asarray(np.sum([fair(column, total, parameter) for column in columns], axis=0) - 1)

    found = elementwise.find_root(excess, (low - slack, high + slack), args=tuple(prices.T))
    if not found.success.all():
        worst = int(np.argmin(found.success))
        raise MeasureError(f"no margin removal for the prices {prices[worst].tolist()}; check these odds")
    parameter = np.asarray(found.x)
    return np.asarray(fair(prices, prices.sum(axis=1, keepdims=True), parameter[:, None])), parameter


def _bet(probabilities: Any, decimal_odds: Any) -> tuple[FloatArray, FloatArray]:
    p, odds = as_probabilities(probabilities), _as_odds(decimal_odds, "decimal odds")
    same_length(probability=p, decimal_odds=odds)
    return p, odds


def _as_odds(values: Any, name: str) -> FloatArray:
    odds = as_finite(values, name=name)
    if odds.min() <= 1:
        raise MeasureError(f"{name}: got {odds.min():g}; decimal odds are above 1; decimal_from_american converts")
    return odds


_METHODS: dict[MarginMethod, Callable[[FloatArray], tuple[FloatArray, FloatArray]]] = {
    "multiplicative": _multiplicative,
    "additive": _additive,
    "power": _power,
    "odds_ratio": _odds_ratio,
    "shin": _shin,
}
