"""On-demand features of baseball games: functions of other features, the same offline and online.

Belongs here: NumPy ufunc arithmetic on values that arrive by name, arrays in training, scalars in a request.
Does not belong here: anything that reads rows, a clock or a file. Null is NaN, in and out.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def margin_free(*, ml_home: Any, ml_away: Any) -> dict[str, Any]:
    """The home team's probability without the bookmaker's margin, by several methods, and the margin itself.

    Between two outcomes the methods have closed forms: multiplicative h / (h + a), additive (the same as Shin's)
    (1 + h - a) / 2, odds ratio with odds sqrt(odds(h) / odds(a)), for implied probabilities h and a
    (`forecastle.measure.market.remove_margin`). The power method has none and lies between the others.

    Args:
        ml_home: American moneyline of the home team, at least 100 or at most -100.
        ml_away: of the visitors.

    Returns:
        `consensus_probability`, the mean of the three; `margin_doubt`, the largest less the smallest; `juice` =
        h + a - 1. NaN where an input is NaN.
    """
    home, away = _implied(_floats(ml_home)), _implied(_floats(ml_away))
    multiplicative = home / (home + away)
    additive = (1.0 + home - away) / 2.0
    ratio = np.sqrt(home / (1.0 - home) / (away / (1.0 - away)))
    odds_ratio = ratio / (1.0 + ratio)
    low = np.minimum(np.minimum(multiplicative, additive), odds_ratio)
    high = np.maximum(np.maximum(multiplicative, additive), odds_ratio)
    return {
        "consensus_probability": (multiplicative + additive + odds_ratio) / 3.0,
        "margin_doubt": high - low,
        "juice": home + away - 1.0,
    }


def matchup(
    *,
    win_share_30d_home: Any,
    win_share_30d_away: Any,
    run_margin_30d_home: Any,
    run_margin_30d_away: Any,
    rest_days_home: Any,
    rest_days_away: Any,
    starter_runs_home: Any,
    starter_runs_away: Any,
) -> dict[str, Any]:
    """What the home team has more of than the visitors; each difference is NaN where one side is unknown.

    Returns:
        `form_gap` (win share), `run_margin_gap` (runs a game), `rest_advantage_days`, `starter_gap` (runs that
        opponents score less against the home starter).
    """
    return {
        "form_gap": _floats(win_share_30d_home) - _floats(win_share_30d_away),
        "run_margin_gap": _floats(run_margin_30d_home) - _floats(run_margin_30d_away),
        "rest_advantage_days": _floats(rest_days_home) - _floats(rest_days_away),
        "starter_gap": _floats(starter_runs_away) - _floats(starter_runs_home),
    }


def _implied(moneyline: Any) -> Any:
    """Share of the payout that the stake is: 100 / (100 + m) for m > 0, |m| / (100 + |m|) below."""
    size = np.abs(moneyline)
    return np.where(moneyline > 0, 100.0, size) / (100.0 + size)


def _floats(values: Any) -> Any:
    # A copy in C order: NumPy picks another loop for strided memory, and its last bit may differ.
    return np.array(values, dtype=np.float64, order="C")
