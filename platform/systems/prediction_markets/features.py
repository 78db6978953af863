"""On-demand features of prediction markets: functions of other features, the same offline and online.

Belongs here: NumPy ufunc arithmetic on values that arrive by name, arrays in training, scalars in a request.
Does not belong here: anything that reads rows, a clock or a file. Null is NaN, in and out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# A calm market may not have moved at all; one percentage point keeps the ratio finite.
VOLATILITY_FLOOR = 0.01


def market_signals(
    *, days_to_resolution: Any, volume_24h: Any, poll_market_spread: Any, price_volatility_7d: Any
) -> dict[str, Any]:
    """How soon a market closes, how busy it is, and how far polls and price disagree.

    Args:
        days_to_resolution: days until the scheduled close, below zero once it has passed.
        volume_24h: USD, not negative.
        poll_market_spread: poll share minus price, −1 to 1.
        price_volatility_7d: standard deviation of daily prices, not negative.

    Returns:
        `urgency` = 1 / (1 + max(days, 0)), `log_volume` = ln(1 + USD), `spread_vol_ratio` = spread /
        (volatility + 0.01); each of the shape of its inputs, NaN where an input is NaN.
    """
    return {
        "urgency": np.reciprocal(1.0 + np.maximum(_floats(days_to_resolution), 0.0)),
        "log_volume": np.log1p(_floats(volume_24h)),
        "spread_vol_ratio": _floats(poll_market_spread) / (_floats(price_volatility_7d) + VOLATILITY_FLOOR),
    }


def _floats(values: Any) -> Any:
    # A copy in C order: NumPy picks another loop for strided memory, and its last bit may differ.
    return np.array(values, dtype=np.float64, order="C")
