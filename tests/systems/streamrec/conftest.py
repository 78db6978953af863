"""What tests of streamrec share: the system, a simulated world, its training set, and answers for its pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from forecastle.contract.load import LoadedSystem, load_system
from forecastle.learn.backtest import Cut, answer_cut, visible_rows
from tests.systems.sources import train_on

FOLDER = Path(__file__).parents[3] / "platform" / "systems" / "streamrec"
SEED = 5
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def streamrec() -> LoadedSystem:
    """The system as it is declared."""
    return load_system(FOLDER)


@pytest.fixture(scope="session")
def film_world(streamrec: LoadedSystem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one small simulated service."""
    data = tmp_path_factory.mktemp("films")
    streamrec.function("simulate:world")(data / "streamrec", seed=SEED, now=NOW, users=250, films=250, days=120)
    return data


@pytest.fixture(scope="session")
def page_rows(streamrec: LoadedSystem, film_world: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The training set of the simulated service."""
    warehouse, training = train_on(streamrec, film_world, tmp_path_factory.mktemp("pages"), now=NOW)
    return warehouse.frame(training)


@pytest.fixture(scope="session")
def page_answers(streamrec: LoadedSystem, page_rows: pd.DataFrame) -> pd.DataFrame:
    """What the declared model says of the pages of the newest 30 days."""
    return answered(streamrec, page_rows)


def answered(system: LoadedSystem, rows: pd.DataFrame) -> pd.DataFrame:
    """Train on what was known 30 days ago, answer the pages since."""
    cut = Cut(NOW - timedelta(days=30), NOW)
    return answer_cut(system, visible_rows(rows, cut, embargo=timedelta(days=1)), cut, model="lightgbm")
