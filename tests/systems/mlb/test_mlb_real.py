"""mlb on real lines: no leak, as accurate as the market and not better, and bets that the closing line sees through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem
from forecastle.learn.backtest import Cut, answer_cut, visible_rows
from forecastle.learn.settled_bets import settle_bets
from forecastle.store.leakage import leakage_check
from tests.systems.sources import train_on

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mlb_real")]

END = datetime(2016, 11, 6, tzinfo=UTC)
CUTS = [datetime(2016, month, 1, tzinfo=UTC) for month in (6, 7, 8, 9, 10)] + [END]


@pytest.fixture(scope="module")
def answers(mlb: LoadedSystem, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Walk-forward answers from June on; the leakage check looks at the training set first."""
    warehouse, training = train_on(mlb, real_data, tmp_path_factory.mktemp("real"), now=END)
    report = leakage_check(warehouse, mlb, training, instants=2)
    assert report.ok, report.sentence()
    rows = warehouse.frame(training)
    made = []
    for at, until in pairwise(CUTS):
        cut = Cut(at, until)
        seen = visible_rows(rows, cut, embargo=timedelta(days=1))
        made.append(answer_cut(mlb, seen, cut, model="lightgbm"))
    return pd.concat(made, ignore_index=True)


def brier(answers: pd.DataFrame, forecast: str) -> pd.Series:
    return (answers[forecast] - answers["outcome"]) ** 2


def test_the_model_is_as_good_as_the_market_and_no_better(answers: pd.DataFrame) -> None:
    """On the same games; more than two standard errors better would mean a leak."""
    difference = brier(answers, "probability") - brier(answers, "market_probability")
    error = difference.std() / np.sqrt(len(difference))
    assert len(answers) > 1_600
    assert abs(difference.mean()) < 2 * error
    assert difference.mean() > -0.001


def test_the_controls_of_a_leak_would_be_seen(answers: pd.DataFrame) -> None:
    """A forecast that knows a hundredth of the outcome is far beyond two standard errors."""
    leaked = answers["market_probability"] + 0.01 * (answers["outcome"] - 0.5)
    difference = (leaked - answers["outcome"]) ** 2 - brier(answers, "market_probability")
    assert difference.mean() < -2 * difference.std() / np.sqrt(len(difference))


def test_bets_lose_to_the_closing_line(mlb: LoadedSystem, answers: pd.DataFrame) -> None:
    """Closing line value is certainly below zero: what the bets cost in juice, whatever they happened to win."""
    bets = settle_bets(mlb, answers)
    assert bets is not None
    assert bets.closing_line_value is not None
    assert bets.closing_line_value.high < 0
    assert np.isfinite(bets.bets["closing_line_value"]).all()
