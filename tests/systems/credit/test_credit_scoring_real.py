"""Real statements of every tenth client: the promoted version scores each day, and is archived when it is replaced.

One model of the matrix stands for the factory, another of more features for the next day's; the rest is the system's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import mlflow
import numpy as np
import pandas as pd
import pytest

from assets.scheduled_scoring import build_scoring_sensor
from forecastle.contract.load import LoadedSystem
from forecastle.contract.system import Model, System
from forecastle.learn.build import segment_mask
from forecastle.promote.registry import Promotion
from forecastle.promote.schedules import scoring_schedules
from tests.systems.world import World

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("credit_scoring_real")]

MONDAY = datetime(2005, 9, 5, tzinfo=UTC)
TUESDAY = MONDAY + timedelta(days=1)
SEVEN = timedelta(hours=7)
EVERY = 10
CLIENTS = 30_000 // EVERY


@dataclass
class Book:
    """Two days of the card book: the run that each morning asked for, and who was live."""

    world: World
    cursor: str | None = None
    runs: list[str] = field(default_factory=list)

    def morning(self, now: datetime) -> None:
        """The sensor looks once, as Dagster's daemon would, and what it asks for is carried out."""
        resources = {"platform": self.world.platform(now)}
        context = dg.build_sensor_context(instance=self.world.instance, cursor=self.cursor, resources=resources)
        told = build_scoring_sensor(self.world.system).evaluate_tick(context)
        self.cursor = told.cursor
        self.runs += [str(run.run_key) for run in told.run_requests or ()]
        if told.run_requests:
            self.world.made(["batch_predictions"], now=now)

    @property
    def promotions(self) -> tuple[Promotion, ...]:
        """Newest first."""
        return tuple(self.world.platform(TUESDAY).registry().history("credit"))


def one_model(credit: LoadedSystem, name: str) -> LoadedSystem:
    """Credit with one model of its matrix for all limits, as a plain model: no ensemble, no leaderboard of sixty."""
    declared = credit.declaration
    model = Model.model_validate(declared.models[name].model_dump())
    promote = declared.promote.model_copy(update={"choose": "best"})
    return replace(credit, declaration=declared.model_copy(update={"models": {"boosted": model}, "promote": promote}))


@pytest.fixture(scope="module")
def data(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real files with every tenth client in them."""
    folder = tmp_path_factory.mktemp("tenth")
    (folder / "credit").mkdir()
    with duckdb.connect() as connection:
        for name in ("taiwan_monthly", "taiwan_clients"):
            source, target = (place / "credit" / f"{name}.parquet" for place in (real_data, folder))
            connection.execute(f"COPY (FROM '{source}' WHERE id % {EVERY} = 0) TO '{target}' (FORMAT parquet)")
    return folder


@pytest.fixture(scope="module")
def book(credit: LoadedSystem, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    """On Monday a model of two months is promoted and scores, on Tuesday one of all features."""
    home = tmp_path_factory.mktemp("home")
    with dg.DagsterInstance.ephemeral() as instance:
        lived = Book(World(one_model(credit, "card__1__boosted__two"), home, data, instance))
        lived.world.made([*lived.world.tables, *lived.world.online, *lived.world.training], now=MONDAY)
        lived.morning(MONDAY + SEVEN)
        lived.world = World(one_model(credit, "card__1__boosted__full"), home, data, instance)
        lived.world.made(lived.world.training, now=TUESDAY)
        lived.morning(TUESDAY + SEVEN)
        lived.morning(TUESDAY + SEVEN + timedelta(minutes=5))
        yield lived


def test_each_morning_scores_the_version_that_is_live(book: Book) -> None:
    """One run a tick: Monday's names the first version, Tuesday's the second, and none the replaced one."""
    second, first = book.promotions
    assert book.runs == [
        f"{first.model_version}@2005-09-05T06:00:00+00:00",
        f"{second.model_version}@2005-09-06T06:00:00+00:00",
    ]


def test_each_day_has_its_predictions_by_its_champion(book: Book) -> None:
    """Every client once, each day by another bundle, and somebody accepted, referred and declined."""
    for promotion, day in zip(book.promotions, ("2005_09_06", "2005_09_05"), strict=True):
        rows = book.world.frame(f"batch_predictions/day_{day}")
        assert set(rows["bundle"]) == {promotion.bundle}
        assert rows["client_id"].nunique() == len(rows) == CLIENTS
        assert all(rows["decision"].str.contains(f'"action":"{action}"').any() for action in ("accept", "refer"))


def test_the_replaced_version_is_archived_with_the_moment(book: Book) -> None:
    """In the table of schedules and in MLflow; what is live there has no such tag."""
    second, first = book.promotions
    decisions = book.world.platform(TUESDAY).registry().decisions("credit")
    schedules = scoring_schedules(book.world.system.declaration, book.promotions, decisions)
    assert [(s.state, s.archived_at) for s in schedules] == [("live", None), ("archived", second.promoted_at)]
    client = mlflow.MlflowClient(book.world.platform(TUESDAY).tracking().uri)
    assert client.get_model_version("credit", first.model_version).tags["state"] == "archived"
    assert client.get_model_version("credit", second.model_version).tags.get("state") != "archived"


def test_no_two_of_the_sixty_models_learn_from_equal_columns(book: Book, credit: LoadedSystem) -> None:
    """In July, which teaches in September, no feature set says in any band what another says; a constant says nothing.

    A client had three statements then, so half a year tells as much as three of them.
    """
    rows = book.world.frame("training_set/all")
    july = rows[rows["predict_at"].dt.month == 7]
    thirds = july["late_share_6m"] * 3
    assert np.allclose(thirds, thirds.round())
    declared = credit.declaration
    learned = {(model.estimator, told_columns(july, name, declared)) for name, model in declared.models.items()}
    assert len(learned) == len(declared.models) == 60


def told_columns(rows: pd.DataFrame, model: str, declared: System) -> frozenset[bytes]:
    """The columns of a model's own rows that have several values, without their names and order."""
    own = rows[segment_mask(rows, declared.models[model].segment or {})]
    columns = [own[name].to_numpy(np.float64, na_value=np.nan) for name in declared.model_features(model)]
    return frozenset(column.tobytes() for column in columns if np.unique(column).size > 1)
