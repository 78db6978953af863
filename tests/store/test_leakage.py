"""The leakage check: an honest view passes, a view that knows too early is caught."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from forecastle.contract.load import LoadedSystem
from forecastle.store.delta_log import TableName, TableVersion
from forecastle.store.feature_views import publish_view
from forecastle.store.labels import run_label
from forecastle.store.leakage import DIFFERENCE_COLUMNS, leakage_check
from forecastle.store.point_in_time import ViewJoin, point_in_time_join
from forecastle.store.sources import ingest
from forecastle.store.warehouse import Warehouse
from tests.store.weather import START, write_readings, write_system


def train(tmp_path: Path, *, known_at: str, change: str = "") -> tuple[Warehouse, LoadedSystem, TableVersion]:
    """Everything up to a training set, with the view's knowledge time as given; `change` is SQL after the join."""
    system = write_system(tmp_path / "weather", known_at=known_at)
    warehouse = Warehouse(tmp_path / "warehouse", clock=lambda: START)
    write_readings(tmp_path / "data")
    declared = system.declaration
    ingest(warehouse, "weather", "readings", declared.sources["readings"], data=tmp_path / "data")
    publish_view(warehouse, system, "warmth")
    labels = run_label(
        warehouse,
        TableName("weather", "label", "all"),
        declared.label,
        entity=declared.entity["station"],
        text=system.sql[declared.label.sql],
        sources={"readings": "weather/source/readings"},
    )
    with warehouse.connect() as connection:
        warehouse.attach(connection, {"labels": labels, "view": "weather/features/warmth"})
        view = declared.feature_views["warmth"]
        join = ViewJoin("warmth", "view", ("station_id",), view.ttl, tuple(view.features))
        point_in_time_join(connection, "labels", [join], output="joined")
        if change:
            connection.execute(change)
        version = warehouse.publish("weather/training_set/all", "SELECT * FROM joined", connection=connection)
    return warehouse, system, version


def test_an_honest_view_passes(tmp_path: Path) -> None:
    """Late and restated readings are derived again to the very values of the training set."""
    report = leakage_check(*train(tmp_path, known_at="readings.known_at"), instants=3)
    assert report.ok
    assert report.rows_checked > 3
    assert report.values_checked == 2 * report.rows_checked
    assert report.metadata()["first_differences"] == "none"


@pytest.mark.parametrize("known_at", ["readings.known_at - INTERVAL 29 HOUR", "readings.known_at - INTERVAL 12 HOUR"])
def test_a_view_that_knows_too_early_is_caught(tmp_path: Path, known_at: str) -> None:
    """A knowledge time before the source's own shows as values that could not be derived then."""
    report = leakage_check(*train(tmp_path, known_at=known_at), instants=3)
    assert not report.ok
    assert tuple(report.differences.columns) == DIFFERENCE_COLUMNS
    assert set(report.differences["view"]) == {"warmth"}
    assert set(report.differences["feature"]) <= {"celsius", "is_cold"}
    assert report.metadata()["differences"] == len(report.differences)


def test_a_training_row_changed_after_the_join_is_caught(tmp_path: Path) -> None:
    """Even with an honest view, training rows that say something else than their time knew are found."""
    change = "UPDATE joined SET celsius = 50.0 WHERE celsius IS NOT NULL"
    report = leakage_check(*train(tmp_path, known_at="readings.known_at", change=change), instants=3)
    assert not report.ok
    assert set(report.differences["given"]) == {50.0}


def test_the_same_seed_looks_at_the_same_instants(tmp_path: Path) -> None:
    """Instants are drawn from the training rows by the seed and nothing else."""
    warehouse, system, version = train(tmp_path, known_at="readings.known_at")
    first, again, other = (leakage_check(warehouse, system, version, seed=seed).instants for seed in (1, 1, 2))
    assert first == again != other
    assert all(at - START < timedelta(days=21) for at in first)
