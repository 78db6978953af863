"""On-demand features of mlb: the closed forms are the solvers of measure.market, and gaps keep their side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecastle.contract.load import LoadedSystem
from forecastle.measure.market import decimal_from_american, fair_range, remove_margin


@given(home=st.integers(100, 400), juice=st.integers(1, 40))
def test_closed_forms_are_the_solvers(mlb: LoadedSystem, home: int, juice: int) -> None:
    """Multiplicative, Shin and odds ratio of `remove_margin`; the power method lies within its range."""
    found = mlb.function("features:margin_free")(ml_home=home, ml_away=-(home + juice))
    odds = decimal_from_american([home, -(home + juice)])
    methods = ("multiplicative", "shin", "odds_ratio")
    fair = [remove_margin(odds, method=method).probabilities[0] for method in methods]
    assert found["consensus_probability"] == pytest.approx(np.mean(fair), abs=1e-9)
    assert found["margin_doubt"] == pytest.approx(max(fair) - min(fair), abs=1e-9)
    assert found["juice"] == pytest.approx((1 / odds).sum() - 1)
    low, high = fair_range(odds)
    assert low[0] - 1e-9 <= found["consensus_probability"] <= high[0] + 1e-9


def test_gaps_are_the_home_teams_advantage(mlb: LoadedSystem) -> None:
    """Better form, more rest and a starter who allows fewer runs are above zero; an unknown side is NaN."""
    sides = {
        "win_share_30d_home": 0.6, "win_share_30d_away": 0.5, "run_margin_30d_home": 1.0, "run_margin_30d_away": -0.5,
        "rest_days_home": 1.0, "rest_days_away": 0.0, "starter_runs_home": 3.5, "starter_runs_away": 4.5,
    }  # fmt: skip
    matchup = mlb.function("features:matchup")
    assert {name: float(gap) for name, gap in matchup(**sides).items()} == pytest.approx(
        {"form_gap": 0.1, "run_margin_gap": 1.5, "rest_advantage_days": 1.0, "starter_gap": 1.0}
    )
    assert np.isnan(matchup(**{**sides, "starter_runs_away": np.nan})["starter_gap"])
